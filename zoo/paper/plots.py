"""Figures 3 and 4, and the probe, as plots: ours in colour, the paper's values in grey where it printed any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pvae_zoo.base.atomic import atomic_path
from pvae_zoo.paper.reference import FIGURE_4
from pvae_zoo.paper.results import StudyResult

_VAE, _CNN, _KL, _PAPER = "#1f6f8b", "#d1495b", "#edae49", "#8a8a8a"


def plot_figure3(results: Sequence[StudyResult], path: Path) -> None:
    """NLL against the number of masked layers, with latents and without."""
    figure, axis = _canvas()
    for kind, label, colour in (
        ("pixelvae", "PixelVAE, bound -ELBO", _VAE),
        ("pixelcnn", "PixelCNN alone, exact", _CNN),
    ):
        rows = [row for row in results if row.kind == kind]
        axis.errorbar(
            [row.layers for row in rows], [row.nll_nats for row in rows],
            yerr=[2 * row.standard_error_nats for row in rows], color=colour, marker="o", capsize=3, label=label,
        )  # fmt: skip
    axis.set(xlabel="masked layers", ylabel="test NLL, nats an image", xticks=sorted({row.layers for row in results}))
    axis.legend(frameon=False)
    _save(figure, path)


def plot_figure4(results: Sequence[StudyResult], path: Path) -> None:
    """KL and reconstruction of the PixelVAEs, beside the paper's."""
    rows = [row for row in results if row.kl_nats is not None]
    figure, axis = _canvas()
    places = list(range(len(rows)))
    reconstruction, kl = [row.reconstruction_nats for row in rows], [row.kl_nats for row in rows]
    ours: dict[str, Any] = {"width": 0.36, "align": "edge"}
    axis.bar(places, reconstruction, color=_VAE, label="reconstruction", **ours)
    axis.bar(places, kl, bottom=reconstruction, color=_KL, label="KL", **ours)
    paper = [(place, *FIGURE_4[row.layers]) for place, row in zip(places, rows, strict=True) if row.layers in FIGURE_4]
    theirs: dict[str, Any] = {"width": -0.36, "align": "edge"}
    axis.bar([p for p, _, _ in paper], [r for _, r, _ in paper], color="#b5b5b5", label="paper", **theirs)
    axis.bar([p for p, _, _ in paper], [k for _, _, k in paper], bottom=[r for _, r, _ in paper], color="#dcdcdc",
             **theirs)  # fmt: skip
    for place, row in zip(places, rows, strict=True):
        axis.annotate(f"{row.kl_nats:.1f}", (place + 0.18, row.nll_nats), ha="center", va="bottom", fontsize=8)
    for place, first, second in paper:
        axis.annotate(f"{second:.1f}", (place - 0.18, first + second), ha="center", va="bottom", fontsize=8,
                      color=_PAPER)  # fmt: skip
    lowest = min([*reconstruction, *(r for _, r, _ in paper)])
    axis.set(xlabel="masked layers", ylabel="nats an image (numbers: KL)", ylim=(lowest - 8, None))
    axis.set_xticks(places, [str(row.layers) for row in rows])
    axis.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _save(figure, path)


def plot_probe(results: Sequence[StudyResult], path: Path) -> None:
    """Accuracy of the linear probe, beside the KL."""
    rows = [row for row in results if row.probe_accuracy is not None]
    figure, axis = _canvas()
    layers = [row.layers for row in rows]
    axis.plot(layers, [100 * (row.probe_accuracy or 0) for row in rows], color=_VAE, marker="o")
    axis.set(xlabel="masked layers", xticks=layers)
    axis.set_ylabel("accuracy of a linear probe of z, %", color=_VAE)
    other = axis.twinx()
    other.plot(layers, [row.kl_nats for row in rows], color=_CNN, marker="s", linestyle="--")
    other.set_ylabel("KL, nats an image", color=_CNN)
    _save(figure, path)


def _canvas() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    axis.grid(alpha=0.3, axis="y")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    return figure, axis


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
