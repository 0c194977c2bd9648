"""Drawing one shard of the images of a seed, and the manifest that says what its files hold.

Image i of a seed is the same whoever draws it, so a shard's files carry the names and the bytes of a run without
shards. ``samples-0003-of-0008.json`` is written when all files of the shard are there; it has their hashes. A rerun
keeps the files that are right and draws the others.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import file_digest, sha256
from pathlib import Path

import dacite
from PIL import Image

from pvae_zoo.base.atomic import atomic_write
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.pictures import file_name, read_metadata, save_images
from pvae_zoo.runtime.wavefront import Order
from pvae_zoo.scale.merge import complete_set
from pvae_zoo.scale.shards import Shard, chunks

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class SampleRun:
    """What a run draws: the same for all shards."""

    model: str
    model_sha256: str
    n: int
    seed: int
    temperature: float
    latent_temperature: float
    provider: str
    version: str

    def notes(self) -> dict[str, str]:
        """As a picture notes it."""
        values = {field.name: getattr(self, field.name) for field in fields(SampleRun)}
        return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}


@dataclass(frozen=True, kw_only=True)
class Manifest(SampleRun):
    """What is in the files of one shard: their SHA-256 by name, in the order of the images."""

    format: int = FORMAT
    shard: int
    shards: int
    files: dict[str, str]


def manifest_path(folder: Path, shard: Shard) -> Path:
    return folder / f"samples-{shard.name}.json"


def read_manifest(path: Path) -> Manifest:
    """A shard's manifest.

    Raises:
        PvaeZooError: if it is none.
    """
    try:
        manifest = dacite.from_dict(Manifest, json.loads(path.read_bytes()), dacite.Config(strict=True))
    except OSError as error:
        raise PvaeZooError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise PvaeZooError(f"{path} is no manifest of samples: delete it and draw its shard again") from error
    if manifest.format != FORMAT:
        raise PvaeZooError(f"{path} has format {manifest.format}; this version reads format {FORMAT}")
    return manifest


def draw_shard(
    runtime: Model,
    run: SampleRun,
    shard: Shard,
    folder: Path,
    *,
    command: str,
    batch_size: int,
    order: Order = "wavefront",
    progress: Callable[[int, int], None] = lambda done, total: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Manifest, int]:
    """Draw what is missing of a shard, a batch at a time: whatever stops it costs one batch.

    Args:
        runtime: draws; the model that ``run`` names.
        run: what is drawn.
        shard: which piece of the ``run.n`` images.
        folder: gets a PNG an image and the manifest; all machines that share the work may share it.
        command: noted in the pictures.
        batch_size: images drawn at once.
        order: of the pixels.
        progress: called with (images done, images of the shard).
        check: called at each step of drawing.

    Returns:
        The manifest, and how many images were drawn.

    Raises:
        PvaeZooError: if files of another run are in the way, or the folder cannot be written.
    """
    path, block = manifest_path(folder, shard), shard.block(run.n)
    known: dict[str, str] = {}
    if path.exists():
        before = read_manifest(path)
        _check(path, run, before.notes())
        known = before.files
    files: dict[str, str] = {}
    count = 0
    for chunk in chunks(block, batch_size):
        names = {index: file_name(index) for index in chunk}
        found = {index: _hash_of(folder / name, run, known.get(name)) for index, name in names.items()}
        missing = [index for index in chunk if found[index] is None]
        if missing:
            span = range(missing[0], missing[-1] + 1)
            images = runtime.sample(
                len(span),
                seed=run.seed,
                temperature=run.temperature,
                latent_temperature=run.latent_temperature,
                first=span.start,
                order=order,
                progress=lambda done, total: check(),
            )
            saved = save_images(
                images[[index - span.start for index in missing]],
                f"{folder}/",
                levels=runtime.image.levels,
                metadata=run.notes() | {"command": command},
                names=[names[index] for index in missing],
            )
            found |= {index: _sha256(file) for index, file in zip(missing, saved, strict=True)}
            count += len(missing)
        files |= {names[index]: digest for index, digest in found.items() if digest is not None}
        progress(chunk.stop - block.start, len(block))
        check()
    manifest = Manifest(**asdict(run), shard=shard.number, shards=shard.of, files=files)
    if files != known or not path.exists():
        atomic_write(path, (json.dumps(asdict(manifest), indent=1) + "\n").encode())
    return manifest, count


def check_samples(folder: Path) -> Manifest:
    """See that all shards are there and every file holds what its manifest says.

    Returns:
        The manifest of the first shard.

    Raises:
        PvaeZooError: if not, naming the shard to draw again.
    """
    first: Manifest | None = None
    for number, path in enumerate(paths := complete_set(folder, "samples", ".json", "sample"), start=1):
        manifest, shard = read_manifest(path), Shard(number, len(paths))
        first = first or manifest
        _check(path, first, manifest.notes())
        again = f"run --shard {shard} again"
        if list(manifest.files) != [file_name(index) for index in shard.block(manifest.n)]:
            raise PvaeZooError(f"{path} does not list the images of its shard: delete it and {again}")
        for name, digest in manifest.files.items():
            try:
                same = _sha256(folder / name) == digest
            except OSError as error:
                raise PvaeZooError(f"cannot read {folder / name} ({error.strerror}): {again}") from error
            if not same:
                raise PvaeZooError(f"{folder / name} is not what was drawn: {again}")
    assert first is not None  # a set has a part
    return first


def _check(path: Path, run: SampleRun, notes: Mapping[str, str]) -> None:
    for name, mine in run.notes().items():
        theirs = notes.get(name, "unknown")
        if mine != theirs:
            raise PvaeZooError(
                f"{path} is of another run, {name} {theirs} there and {mine} here: choose another --out or delete it"
            )


def _hash_of(path: Path, run: SampleRun, known: str | None) -> str | None:
    """The hash of a picture that is there and right; None if it is to be drawn."""
    if not path.is_file():
        return None
    try:
        notes = read_metadata(path)
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.verify()
    except (PvaeZooError, OSError, SyntaxError):  # damaged
        return None
    _check(path, run, notes)
    digest = sha256(data).hexdigest()
    return digest if known in (None, digest) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
