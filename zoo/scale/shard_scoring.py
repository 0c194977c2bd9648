"""Scoring one shard of many images into its part file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pvae_zoo import __version__
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.fit import Fit
from pvae_zoo.data.images import ImageSource
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.score_files import BATCH, Row, score_files
from pvae_zoo.scale.headers import Header, names_digest
from pvae_zoo.scale.parts import Part, write_part
from pvae_zoo.scale.shards import Shard


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How images are scored; ``batch_size`` changes no figure."""

    samples: int = 1
    seed: int = 0
    fit: Fit = field(default_factory=Fit)
    batch_size: int = BATCH


def header_of(bundle: Bundle, provider: str, sources: Sequence[ImageSource], scoring: Scoring, shard: Shard) -> Header:
    """What the part of a shard of ``sources``, all of them, begins with."""
    return Header(
        model=bundle.name,
        model_sha256=bundle.digest,
        levels=len(bundle.config.latents),
        samples=scoring.samples,
        seed=scoring.seed,
        resize=scoring.fit.resize,
        binarize=scoring.fit.binarize,
        convert=scoring.fit.convert,
        enlarge=scoring.fit.enlarge,
        invert=scoring.fit.invert,
        prepare=scoring.fit.prepare,
        shard=shard.number,
        shards=shard.of,
        sources=len(sources),
        sources_sha256=names_digest([source.name for source in sources]),
        provider=provider,
        version=__version__,
    )


def score_sources(runtime: Model, sources: Sequence[ImageSource], scoring: Scoring) -> Iterator[Row]:
    """A row for every image, in their order; see `pvae_zoo.runtime.score_files.score_files`."""
    return score_files(
        runtime,
        sources,
        lambda source: scoring.fit.read(source, runtime.image),
        samples=scoring.samples,
        seed=scoring.seed,
        batch_size=scoring.batch_size,
    )


def score_part(
    runtime: Model,
    header: Header,
    sources: Sequence[ImageSource],
    scoring: Scoring,
    folder: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Part:
    """Write the part of a shard, or what is missing of it.

    Args:
        runtime: scores; the one that ``header`` names.
        header: from `header_of`.
        sources: the images of the shard, ``header.block`` of all.
        scoring: the options that ``header`` names.
        folder: where parts are written; all machines that share the work share it.
        progress: called with the number of images that are done.

    Raises:
        PvaeZooError: if a part of another run is in the way, or the folder cannot be written.
    """
    return write_part(
        folder,
        header,
        lambda done: score_sources(runtime, sources[done:], scoring),
        batch_size=scoring.batch_size,
        progress=progress,
    )
