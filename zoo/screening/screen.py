"""A model with a calibration: how strange are these images?

screen = pvae_zoo.calibrate(model, known)      # uint8 (2000, 3, 64, 64)
screen.p_values(images)                        # (N,): small where an image is not like the known ones
screen.calibration.save(Path("rooms.screen.json"))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.fit import Fit
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.networks import Images
from pvae_zoo.screening.calibration import Calibration
from pvae_zoo.screening.conformal import LEAST_FITTED, fitted_of, p_values
from pvae_zoo.screening.evidence import Evidence, joined, measure
from pvae_zoo.screening.reference import Reference, fit_reference
from pvae_zoo.screening.regions import worst_regions
from pvae_zoo.screening.rows import Finding

Array = NDArray[np.float64]

BATCH = 64
LEAST_IMAGES = 2 * LEAST_FITTED
"""Of a calibration."""

_USUAL = 0.999
"""Of the pixels of an image, the share that maps have colours of their own for."""


class Screen:
    """Tells how strange images are.

    Args:
        model: scores them.
        calibration: of that model.

    Raises:
        PvaeZooError: if the calibration is of another model.
    """

    def __init__(self, model: Model, calibration: Calibration) -> None:
        calibration.check_model(model.bundle, "the calibration")
        self.model, self.calibration = model, calibration

    def p_values(self, images: Images) -> Array:
        """Conformal p-values ``(N,)`` of images uint8 ``(N, C, H, W)``.

        For an image that belongs, P(p <= a) <= a, over the draw of the calibration images and of the image.

        Example:
            >>> bool((pvae_zoo.calibrate(model, known).p_values(images) > 0).all())
            True
        """
        return np.array([finding.p_value for finding in self.findings(images)])

    def findings(self, images: Images) -> list[Finding]:
        """How strange each image is, and what says so; in the memory of a slice of them."""
        return [
            finding
            for start in range(0, len(images), BATCH)
            for finding in self._findings(measure(self.model, images[start : start + BATCH]))
        ]

    def _findings(self, evidence: Evidence) -> Iterator[Finding]:
        reference, names = self.calibration.reference, self.calibration.names
        scores = reference.scores(evidence)
        deviations = reference.deviations(scores)
        strangeness = reference.strangeness(deviations)
        spoke = np.nan_to_num(reference.shares(deviations), nan=np.inf).argmax(axis=1)
        p = p_values(self.calibration.ranked, strangeness)
        regions = worst_regions(evidence.surprise_nats, evidence.place_nats)
        for index, region in enumerate(regions):
            yield Finding(
                p_value=float(p[index]),
                strangeness=float(strangeness[index]),
                spoke=names[spoke[index]],
                deviation=float(deviations[index, spoke[index]]),
                scores=dict(zip(names, scores[index].tolist(), strict=True)),
                region=(region.top, region.left, region.side),
            )


@dataclass(frozen=True)
class Split:
    """Which of the calibration images the reference is fitted on, and which are ranked: indices, in no order."""

    fitted: NDArray[np.int64]
    ranked: NDArray[np.int64]


def split(count: int, seed: int = 0) -> Split:
    """A random split of ``count`` calibration images: folders are often sorted.

    Raises:
        PvaeZooError: if there are too few.
    """
    if count < LEAST_IMAGES:
        raise PvaeZooError(f"{count} images are too few to calibrate with: give {LEAST_IMAGES} or more")
    order = np.random.default_rng(seed).permutation(count)
    fitted = fitted_of(count)
    return Split(order[:fitted], order[fitted:])


def calibrate(model: Model, images: Images, *, seed: int = 0) -> Screen:
    """A screen for images like these.

    Args:
        model: scores them; images that it was trained on are closer to it than new ones, so that with them more new
            images are flagged than was asked for.
        images: uint8 ``(N, C, H, W)``, N >= 40; 2,000 for a flagged share within half a point.
        seed: of the split.

    Raises:
        PvaeZooError: if there are too few, or they do not suit the model.
    """
    chosen = split(len(images), seed)

    def slices(part: NDArray[np.int64]) -> Iterator[Images]:
        return (images[part[start : start + BATCH]] for start in range(0, len(part), BATCH))

    return Screen(model, calibrate_slices(model, slices(chosen.fitted), slices(chosen.ranked), Fit()))


def calibrate_slices(model: Model, fitted: Iterable[Images], ranked: Iterable[Images], fit: Fit) -> Calibration:
    """A calibration from slices of images, of which one is in memory.

    Args:
        model: scores them.
        fitted: those that the reference is fitted on.
        ranked: the others; not asked for before the first are done.
        fit: how they were prepared, to be noted.

    Raises:
        PvaeZooError: if there are too few.
    """
    from pvae_zoo import __version__

    parts = [measure(model, images) for images in fitted]
    first = joined(parts) if parts else None
    if first is None or len(first) < LEAST_FITTED:
        raise PvaeZooError(f"too few images to calibrate with: give {LEAST_IMAGES} or more that can be used")
    reference = fit_reference(first)
    ranks = [_ranks(reference, measure(model, images)) for images in ranked]
    if not ranks:
        raise PvaeZooError(f"too few images to calibrate with: give {LEAST_IMAGES} or more that can be used")
    with_codec, without = (np.sort(np.concatenate(column)) for column in zip(*ranks, strict=True))
    return Calibration(
        model=model.name,
        model_sha256=model.bundle.digest,
        image=model.image,
        fit=fit,
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        fitted=len(first),
        reference=reference,
        ranked=with_codec,
        ranked_without_codec=without,
        most_bits=_most_bits(first),
    )


def _ranks(reference: Reference, evidence: Evidence) -> tuple[Array, Array]:
    deviations = reference.deviations(reference.scores(evidence))
    return reference.strangeness(deviations), reference.strangeness(deviations, codec=False)


def _most_bits(evidence: Evidence) -> float:
    """The bright end of maps: what nearly all pixels of nearly all images stay below, to two digits."""
    usual = np.quantile(evidence.surprise_bits.reshape(len(evidence), -1), _USUAL, axis=1)
    return max(0.1, float(f"{np.quantile(usual, 0.95):.2g}"))
