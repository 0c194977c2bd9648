"""Drawing images into a folder: what ``sample`` does to each index.

Image i of a seed is the same whoever draws it, so a shard's files carry the names and the bytes of a run without
shards. A picture notes what drew it; whatever stopped the work, a rerun keeps the pictures that are right and draws the
others.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.grid import Progress
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.orders import PixelOrder
from pvae_zoo.runtime.pictures import file_name, read_metadata, save_images
from pvae_zoo.scale.samples import Manifest, SampleRun, file_digest_of, manifest_path, read_manifest, write_manifest
from pvae_zoo.scale.shards import Shard, chunks
from pvae_zoo.scale.tasks import Part, Watch


@dataclass(frozen=True)
class Drawn:
    """An image that is in the folder.

    Attributes:
        name: of its file.
        sha256: of its file.
        kept: it was there before.
    """

    name: str
    sha256: str
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The images of a run as files, a batch at a time: whatever stops it costs one batch.

    Attributes:
        run: what is drawn.
        folder: gets a PNG an image; all machines that share the work may share it.
        command: noted in the pictures.
        batch_size: images drawn at once.
        order: of the pixels.
        replaces: pictures of another run in the folder are drawn over; they are an error otherwise.
        known: hashes that files are known to have, by their names.
    """

    run: SampleRun
    folder: Path
    command: str
    batch_size: int
    order: PixelOrder = "auto"
    replaces: bool = False
    known: Mapping[str, str] = field(default_factory=dict)

    def rows(self, model: Model, items: Sequence[int], watch: Watch) -> Iterator[Drawn]:
        """Draw what is missing of images: see `pvae_zoo.scale.tasks.Task.rows`.

        Raises:
            PvaeZooError: if pictures of another run are in the way, or the folder cannot be written.
        """
        for piece in chunks(range(len(items)), self.batch_size):
            batch = items[piece.start : piece.stop]
            found = {index: self._hash_of(file_name(index)) for index in batch}
            missing = [index for index in batch if found[index] is None]
            drawn = self._drawn(model, missing, piece.start, watch) if missing else {}
            for index in batch:
                yield Drawn(file_name(index), found[index] or drawn[index], kept=index not in drawn)

    def part(self, model: Model, items: Sequence[int], shard: Shard, folder: Path, watch: Watch) -> Part:
        """Draw what is missing of a shard and leave its manifest: see `pvae_zoo.scale.tasks.Task.part`."""
        path, block = manifest_path(folder, shard), shard.block(len(items))
        known: dict[str, str] = {}
        if path.exists():
            before = read_manifest(path)
            self.run.check(path, before.notes())
            known = before.files
        watch = watch.of(len(block))
        shard_rows = replace(self, known=known).rows(model, items[block.start : block.stop], watch)
        rows = list(watch.counted(shard_rows))
        files = {row.name: row.sha256 for row in rows}
        if files != known or not path.exists():
            write_manifest(path, Manifest(**asdict(self.run), shard=shard.number, shards=shard.of, files=files))
        return Part(path=path, count=len(rows), kept=sum(row.kept for row in rows))

    def images(self, model: Model, indices: range, progress: Progress) -> NDArray[np.uint8]:
        """Images ``(N, C, H, W)`` of the run, in memory; ``progress`` is called with (steps done, steps in all)."""
        return model.sample(
            len(indices),
            seed=self.run.seed,
            temperature=self.run.temperature,
            latent_temperature=self.run.latent_temperature,
            first=indices.start,
            batch_size=self.batch_size,
            order=self.order,
            progress=progress,
        )

    def _drawn(self, model: Model, missing: Sequence[int], before: int, watch: Watch) -> dict[int, str]:
        """Draw images, ``before`` of the others being done; the hashes of their files."""
        span = range(missing[0], missing[-1] + 1)
        images = self.images(model, span, lambda done, total: watch.at(before + done * len(missing) // total))
        saved = save_images(
            images[[index - span.start for index in missing]],
            f"{self.folder}/",
            levels=model.image.levels,
            metadata=self.run.notes() | {"command": self.command},
            names=[file_name(index) for index in missing],
        )
        return {index: file_digest_of(file) for index, file in zip(missing, saved, strict=True)}

    def _hash_of(self, name: str) -> str | None:
        """The hash of a picture that is there and right; None if it is to be drawn."""
        path, known = self.folder / name, self.known.get(name)
        if not path.is_file():
            return None
        try:
            notes = read_metadata(path)
            data = path.read_bytes()
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                picture.verify()
        except (PvaeZooError, OSError, SyntaxError):  # damaged
            return None
        if self.replaces and self.run.difference(notes) is not None:
            return None
        self.run.check(path, notes)
        digest = sha256(data).hexdigest()
        return digest if known in (None, digest) else None
