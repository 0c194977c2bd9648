"""How well screening tells what does not belong, and whether it keeps its promise: benchmarks/SCREENING.md.

usage: python benchmarks/screening.py --data DATA --fashion FASHION [--only mnist,lsun,imagenet64] [--quick]

What is measured of the images is kept in .data/screening/, so that the statistics can be made again in seconds. DATA
and FASHION are those of benchmarks/screening_sets.py. The curves in docs/screening/ need matplotlib.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from screening_sets import PATCH, Images, patched, sets_of, valid_photos

import pvae_zoo
from pvae_zoo.base.atomic import atomic_path, atomic_write
from pvae_zoo.runtime.model import Model
from pvae_zoo.screening.conformal import p_values, ranked_of
from pvae_zoo.screening.evidence import Evidence, joined, measure
from pvae_zoo.screening.reference import RATIO, Reference, fit_reference
from pvae_zoo.screening.regions import worst_regions
from pvae_zoo.screening.screen import BATCH, split

Array = NDArray[np.float64]

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".data" / "screening"
RESULTS = Path(__file__).with_name("SCREENING.md")
CURVES = ROOT / "docs" / "screening"
CALIBRATION = {"mnist": 2000}
"""Of the known images; all where there are fewer."""

SPLITS, TRIALS = 4, 200
WANTED = {
    "Fashion-MNIST": 0.995,
    **dict.fromkeys(("digits turned by 90 degrees", "mirrored letters", "noise of the same ink", "blank"), 0.97),
    "photos that are no rooms": 0.90,
    **dict.fromkeys(("one colour", "gradients", "text pages", "noise"), 0.98),
}


def auroc(known: Array, odd: Array) -> float:
    """The chance that an odd image has the larger score, ties counted half."""
    order = np.sort(known)
    below, upto = np.searchsorted(order, odd, "left"), np.searchsorted(order, odd, "right")
    return float(((below + upto) / 2).mean() / len(known))


def chosen(evidence: Evidence, part: NDArray[np.int64]) -> Evidence:
    values = {field.name: getattr(evidence, field.name) for field in fields(Evidence) if field.name != "pooled"}
    return Evidence(
        **{name: value[part] for name, value in values.items()}, pooled=tuple(level[part] for level in evidence.pooled)
    )


def measured(model: Model, name: str, images: Images) -> Evidence:
    """The evidence of a set, from the cache if it is there."""
    path = CACHE / f"{model.name}-{model.bundle.digest[:12]}-{name.replace(' ', '-')}-{len(images)}.npz"
    if not path.is_file():
        start, parts = time.perf_counter(), []
        for first in range(0, len(images), BATCH):
            parts.append(measure(model, images[first : first + BATCH]))
            print(f"\r{model.name}, {name}: {first + len(parts[-1])} of {len(images)}", end="", flush=True)
        print(f" in {time.perf_counter() - start:.0f} s")
        evidence = joined(parts)
        levels = {f"pooled{number}": level for number, level in enumerate(evidence.pooled)}
        plain = {field.name: getattr(evidence, field.name) for field in fields(Evidence) if field.name != "pooled"}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **plain, **levels)
    with np.load(path) as stored:
        pooled = tuple(stored[key] for key in sorted(stored) if key.startswith("pooled"))
        return Evidence(**{key: stored[key] for key in stored if not key.startswith("pooled")}, pooled=pooled)


def combinations(reference: Reference, fitted: Array, deviations: Array) -> dict[str, Array]:
    """Scores of images ``(N, K)`` put together in other ways than screening does, fitted on ``(n, K)``."""
    names = reference.names
    ratio = names.index(RATIO)
    others = [index for index in range(len(names)) if index != ratio]
    bounded = np.clip(fitted[:, others], -4, 4)
    covariance = np.cov(bounded.T) + 1e-3 * np.eye(len(others))
    gap = deviations[:, others] - bounded.mean(axis=0)
    found = {
        "all but the ratio alike": np.sqrt((deviations[:, others] ** 2).mean(axis=1)),
        "all alike": np.sqrt((deviations**2).mean(axis=1)),
        "the largest": np.abs(deviations).max(axis=1),
        "Gaussian with covariances": np.einsum("ni,ij,nj->n", gap, np.linalg.inv(covariance), gap),
    }
    try:
        from sklearn.ensemble import IsolationForest
    except ImportError:
        return found
    forest = IsolationForest(n_estimators=300, random_state=0).fit(fitted)
    return found | {"isolation forest": -forest.score_samples(deviations)}


def areas(model: Model, sets: dict[str, Evidence]) -> tuple[list[str], dict[str, list[tuple[Array, Array]]]]:
    """Rows of a table of AUROCs, scores by sets, mean over splits; and by set, for each split, the combined scores of
    the known images and of those that do not belong."""
    (_, known), *odd = sets.items()
    table: dict[str, dict[str, list[float]]] = {}
    curves: dict[str, list[tuple[Array, Array]]] = {}
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(known))
        calibration = order[: CALIBRATION.get(model.name, len(known))]
        parts = split(len(calibration), seed)
        rest = np.concatenate([calibration[parts.ranked], order[len(calibration) :]])
        fitted = chosen(known, calibration[parts.fitted])
        reference = fit_reference(fitted)
        of_fitted = reference.deviations(reference.scores(fitted, themselves=True))

        def scored(evidence: Evidence) -> dict[str, Array]:
            deviations = reference.deviations(reference.scores(evidence))  # noqa: B023 - used at once
            each = {
                name: column if name.startswith("distance") else np.abs(column)
                for name, column in zip(reference.names, deviations.T, strict=True)  # noqa: B023
            }
            each |= combinations(reference, of_fitted, deviations)  # noqa: B023
            each["combined, without codec"] = reference.strangeness(deviations, codec=False)  # noqa: B023
            return each | {"combined": reference.strangeness(deviations)}  # noqa: B023

        inside = scored(chosen(known, rest))
        for name, evidence in odd:
            outside = scored(evidence)
            curves.setdefault(name, []).append((inside["combined"], outside["combined"]))
            for score, values in outside.items():
                table.setdefault(score, {}).setdefault(name, []).append(auroc(inside[score], values))
    heads = [name for name, _ in odd]
    lines = ["| score | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for score, row in table.items():
        bold = "**" if score == "combined" else ""
        lines.append(
            f"| {bold}{score}{bold} | " + " | ".join(f"{bold}{np.mean(row[name]):.3f}{bold}" for name in heads) + " |"
        )
    wanted = [f"{WANTED[name]:.3f}" if name in WANTED else "stated" for name in heads]
    lines.append("| wanted | " + " | ".join(wanted) + " |")
    return lines, curves


def promise(known: Evidence, count: int) -> list[str]:
    """The share of images that belong which is flagged, over random splits into a calibration and new images."""
    shares: dict[float, list[float]] = {0.01: [], 0.05: []}
    for seed in range(TRIALS):
        order = np.random.default_rng(1000 + seed).permutation(len(known))
        parts = split(count, seed)
        reference = fit_reference(chosen(known, order[:count][parts.fitted]))

        def strangeness(part: NDArray[np.int64]) -> Array:
            return reference.strangeness(reference.deviations(reference.scores(chosen(known, part))))  # noqa: B023

        p = p_values(np.sort(strangeness(order[:count][parts.ranked])), strangeness(order[count:]))
        for rate, found in shares.items():
            found.append(float((p <= rate).mean()))
    lines = ["| `--fpr` | flagged, mean | standard deviation | within half a point |", "|---|---|---|---|"]
    for rate, found in shares.items():
        off = np.abs(np.array(found) - rate)
        lines.append(
            f"| {rate:.0%} | {np.mean(found):.2%} | {np.std(found):.2%} | {np.mean(off <= 0.005):.0%} of {TRIALS} |"
        )
    return lines


def patches(evidence: Evidence, corners: NDArray[np.int64]) -> list[str]:
    """Where the worst region lies, beside the patch that was painted in."""
    regions = worst_regions(evidence.surprise_nats, evidence.place_nats)
    side = regions[0].side
    places = np.array([(region.top, region.left) for region in regions])
    gaps = np.maximum(np.maximum(corners - (places + side), places - (corners + PATCH)), 0).max(axis=1)
    centres = np.abs((places + side / 2) - (corners + PATCH / 2)).max(axis=1)
    draws = np.random.default_rng(0).integers(0, 64 - side + 1, (20, *places.shape))
    by_chance = np.maximum(np.maximum(corners - (draws + side), draws - (corners + PATCH)), 0).max(axis=2)
    return [
        f"The worst region is within 8 pixels of the patch in {np.mean(gaps <= 8):.0%} of {len(gaps)} photos (a region "
        f"anywhere: {np.mean(by_chance <= 8):.0%}), touches it in {np.mean(gaps <= 0):.0%} and has its centre within 8 "
        f"pixels of the patch's in {np.mean(centres <= 8):.0%}. Wanted: 70 %."
    ]


def speed(model: Model, images: Images) -> str:
    """CPU time of screening over that of `nll`, the best of turns about."""
    from pvae_zoo.screening.calibration import Calibration  # noqa: F401 - so that its import is not measured

    reference = fit_reference(measure(model, images))
    least = [float("inf")] * 2

    def screened() -> None:
        evidence = measure(model, images)
        reference.strangeness(reference.deviations(reference.scores(evidence)))
        worst_regions(evidence.surprise_nats, evidence.place_nats)

    for _ in range(5):
        for place, work in enumerate((lambda: model.nll(images), screened)):
            start = time.process_time()
            work()
            least[place] = min(least[place], time.process_time() - start)
    return f"Screening takes {least[1] / least[0]:.3f} times the CPU time of `nll` on {len(images)} images."


def draw_curves(model: str, known_name: str, scores: dict[str, list[tuple[Array, Array]]]) -> None:
    """The share of others that is flagged where a share of known images is, the mean over splits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 4.6), layout="constrained")
    axes = figure.subplots()
    false = np.concatenate([[0], np.geomspace(1e-3, 1, 400)])
    for name, splits in scores.items():
        found = [
            (odd[:, np.newaxis] > np.quantile(known, 1 - false, method="higher")).mean(axis=0) for known, odd in splits
        ]
        mean = np.mean([auroc(known, odd) for known, odd in splits])
        axes.plot(false, np.mean(found, axis=0), label=f"{name} ({mean:.3f})")
    axes.plot(false, false, color="0.7", linewidth=0.8, linestyle="--", label="chance")
    axes.set(xlabel=f"flagged of {known_name}", ylabel="flagged of the others", title=f"{model}: combined score")
    axes.set_xscale("symlog", linthresh=0.01, linscale=0.5)
    axes.set_xticks([0, 0.01, 0.05, 0.1, 0.5, 1], ["0", "1 %", "5 %", "10 %", "50 %", "100 %"])
    axes.set_xlim(0, 1)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, frameon=False)
    CURVES.mkdir(parents=True, exist_ok=True)
    with atomic_path(CURVES / f"roc-{model}.png") as path:
        figure.savefig(path, dpi=110, format="png")


def section(name: str, data: Path, fashion: Path, *, quick: bool) -> Iterator[str]:
    model = pvae_zoo.load(name, device="cpu", threads=1)
    makers = sets_of(name, data, fashion)
    images = {key: (maker()[:60] if quick else maker()) for key, maker in makers.items()}
    sets = {key: measured(model, key, value) for key, value in images.items()}
    known_name = next(iter(sets))
    known = sets[known_name]
    count = min(CALIBRATION.get(name, len(known)), len(known))
    yield f"## `{name}`: {', '.join(f'{len(value):,} {key}' for key, value in images.items())}"
    yield ""
    yield (
        f"Calibrated on {count:,} {known_name}, {count - ranked_of(count)} of them to fit the reference; AUROC against "
        f"the {known_name} that it was not fitted on, the mean of {SPLITS} random splits. A score alone counts by how "
        f"far it is from its middle, on either side but for distances, which count where they are large."
    )
    yield ""
    lines, curves = areas(model, sets)
    yield from [*lines, ""]
    if not quick:
        draw_curves(name, known_name, curves)
    if len(known) >= 2 * count:
        yield from ["Flagged of images that belong:", "", *promise(known, count), ""]
    elif len(known) >= 400:
        half = len(known) // 2
        yield from [f"Flagged of images that belong, {half} to calibrate and the others new:", ""]
        yield from [*promise(known, half), ""]
    if name == "imagenet64":
        corners = patched(valid_photos(data))[1][::2][: len(sets["photos with a patch"])]
        yield from [*patches(sets["photos with a patch"], corners), ""]
    yield from [speed(model, images[known_name][: 128 if name == "mnist" else 32]), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, default=ROOT / ".data/fashion-mnist/data/fashion")
    parser.add_argument("--only", default="mnist,lsun,imagenet64")
    parser.add_argument("--quick", action="store_true", help="few images: to see that it runs, not to publish")
    asked = parser.parse_args()
    lines = ["# Screening", "", f"`python benchmarks/screening.py --data DATA`, pvae-zoo {pvae_zoo.__version__}.", ""]
    for name in asked.only.split(","):
        for line in section(name, asked.data, asked.fashion, quick=asked.quick):
            lines.append(line)
            print(line, flush=True)
    if not asked.quick and asked.only == parser.get_default("only"):
        atomic_write(RESULTS, ("\n".join(lines)).encode())


if __name__ == "__main__":
    main()
