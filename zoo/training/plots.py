"""The loss curve of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pvae_zoo.atomic import atomic_path


def plot_run(run: Path) -> Path | None:
    """Draw ``loss.png`` from a run's ``metrics.jsonl``: -ELBO and KL against steps; None if nothing was reported."""
    metrics = run / "metrics.jsonl"
    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()] if metrics.is_file() else []
    if not rows:
        return None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (loss, kl) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for kind, colour in (("train", "#9bb8d3"), ("valid", "#d1495b")):
        chosen = [row for row in rows if row["kind"] == kind]
        if not chosen:
            continue
        style: dict[str, Any] = {"color": colour, "label": kind, "marker": "o" if kind == "valid" else None, "ms": 3}
        loss.plot([r["step"] for r in chosen], [-r["elbo"] for r in chosen], **style)
        kl.plot([r["step"] for r in chosen], [sum(r["kl"]) for r in chosen], **style)
    best = min((-row["elbo"] for row in rows), default=0.0)
    loss.set_ylim(best - 1.5, best + 14)  # the first steps, far above, would flatten the rest
    kl.set_ylim(0, 1.5 * max(sum(row["kl"]) for row in rows[len(rows) // 3 :]) + 0.1)
    for axis, label in ((loss, "-ELBO, nats an image"), (kl, "KL, nats an image")):
        axis.set(xlabel="step", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend()
    target = run / "loss.png"
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
    return target
