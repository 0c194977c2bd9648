"""The curves of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pvae_zoo.base.atomic import atomic_path
from pvae_zoo.training.metrics import read_reports

_COLOURS = {"train": "#9bb8d3", "valid": "#d1495b"}
_LINES = ("-", "--", ":")

_WINDOW = 9

Points = list[tuple[int, float]]


def plot_run(run: Path, lines: Mapping[str, float] | None = None) -> Path | None:
    """Draw ``loss.png`` of a run: bits per dimension, the KL of each level and the thumbnails' R2 against steps.

    Args:
        run: its folder.
        lines: bits per dimension to compare with, by name: a codec's.

    Returns:
        Its path, or None if nothing was reported yet.
    """
    rows = read_reports(run)
    panels = {
        "-ELBO, bits per dimension": _curves(rows, "bits_per_dim"),
        "KL, nats an image": _curves(rows, "kl"),
        "R2 of the thumbnails": _curves(rows, "r2"),
    }
    panels = {label: curves for label, curves in panels.items() if curves}
    if not panels:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), layout="constrained", squeeze=False)
    for axis, (label, curves) in zip(axes[0], panels.items(), strict=True):
        for (kind, level), points in curves.items():
            style: dict[str, Any] = {"color": _COLOURS[kind], "ls": _LINES[level % len(_LINES)], "ms": 3}
            # A line of one point cannot be seen.
            style["marker"] = "o" if kind == "valid" or len(points) == 1 else None
            several = any(other for _, other in curves)
            label_here = f"{kind}, z{level + 1}" if several else kind
            if kind == "train" and len(points) > 2 * _WINDOW:  # means of few images each: the noise would hide the line
                axis.plot(*zip(*points, strict=True), **style | {"alpha": 0.3, "lw": 0.8})
                points = _means(points)
            axis.plot(*zip(*points, strict=True), label=label_here, **style)
        beside = (lines or {}) if label.startswith("-ELBO") else {}
        for name, bits in beside.items():
            axis.axhline(bits, color="#5a5a5a", ls="--", lw=1, label=name)
        axis.set(xlabel="step", ylabel=label, ylim=_limits(curves, *beside.values()))
        axis.set_xlim(0, max(1, *(step for points in curves.values() for step, _ in points)) * 1.02)
        axis.grid(alpha=0.3)
        axis.legend()
    target = run / "loss.png"
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
    return target


def _curves(rows: list[dict[str, Any]], key: str) -> dict[tuple[str, int], Points]:
    """The numbers under a key by (kind, level); a value that has no levels is one of level 0."""
    curves: dict[tuple[str, int], Points] = {}
    for row in rows:
        value = row.get(key)
        for level, number in enumerate(value if isinstance(value, list) else [value]):
            if row["kind"] in _COLOURS and isinstance(number, int | float) and abs(number) < 1e12:
                curves.setdefault((row["kind"], level), []).append((row["step"], float(number)))
    return curves


def _means(points: Points) -> Points:
    """Means over windows that slide along a curve."""
    parts = [points[start : start + _WINDOW] for start in range(len(points) - _WINDOW + 1)]
    return [(part[_WINDOW // 2][0], sum(value for _, value in part) / _WINDOW) for part in parts]


def _limits(curves: dict[tuple[str, int], Points], *lines: float) -> tuple[float, float]:
    """From the lowest to the highest value; the first tenth of the steps, far off, would flatten the rest."""
    last = max(step for points in curves.values() for step, _ in points)
    seen = [value for points in curves.values() for step, value in points if step >= last / 10]
    seen += lines
    margin = 0.05 * (max(seen) - min(seen)) or 0.05 * abs(seen[0]) or 0.05
    return min(seen) - margin, max(seen) + margin
