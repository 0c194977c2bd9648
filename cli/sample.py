"""``sample``: draw images."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pvae_zoo.cli.models import choose_model
from pvae_zoo.cli.options import (
    MOST,
    device_option,
    draw_batch_option,
    grid_options,
    json_option,
    latent_temperature_option,
    model_option,
    refuse,
    refuse_idle_grid_options,
    seed_option,
    shard_option,
    temperature_option,
    threads_option,
)
from pvae_zoo.cli.output import echo, echo_json
from pvae_zoo.cli.progress import progress_bar, watched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pvae_zoo.runtime.model import Model
    from pvae_zoo.scale.places import Chosen, OneShard
    from pvae_zoo.scale.sampling import Drawing
    from pvae_zoo.scale.shards import Shard


@click.command("sample")
@model_option
@click.option("--n", "-n", type=click.IntRange(1, MOST), default=16, show_default=True, metavar="N", help="How many.")
@seed_option
@temperature_option
@latent_temperature_option
@click.option(
    "--out", "-o", default="samples.png", show_default=True, metavar="TARGET", help="x.png, x.npy, x.npz or folder/."
)
@grid_options
@click.option("--columns", type=click.IntRange(min=1), metavar="N", help="Images in a row of the PNG.")
@click.option(
    "--order",
    type=click.Choice(["wavefront", "raster"]),
    default="wavefront",
    show_default=True,
    help="Order of the pixels: raster is slower and draws the same.",
)
@click.option("--trace", metavar="FILE", help="Show the first images being painted, in a .gif.")
@draw_batch_option
@shard_option
@device_option
@threads_option
@json_option
def sample_command(
    model: str,
    n: int,
    seed: int,
    temperature: float,
    latent_temperature: float,
    out: str,
    scale: int | None,
    caption: bool,
    columns: int | None,
    order: str,
    trace: str | None,
    batch_size: int | None,
    shard: Shard | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Draw images from a model.

    A .png target is one grid, .npy and .npz are arrays, a folder (with a final /) gets one PNG an image. Image i of a
    seed is the same whatever the other options are; the PNG notes what drew it. With --shard 3/8 the folder gets the
    third eighth of the N images, under the names and with the bytes that they have without it. A folder gets its files
    as they are drawn; what stopped leaves those that stand there, and the same command goes on with the others.

    \b
    Example:
        pvae-zoo sample --n 16
        pvae-zoo sample --model mnist --n 100 --seed 7 --out digits/
        pvae-zoo sample --n 9 --trace painting.gif
        pvae-zoo sample --n 100000 --shard 3/8 --out digits/
    """
    from pvae_zoo.runtime.pictures import check_target, target_kind
    from pvae_zoo.runtime.trace import check_trace
    from pvae_zoo.scale.places import OneShard
    from pvae_zoo.scale.samples import SampleRun
    from pvae_zoo.scale.sampling import Drawing

    kind = target_kind(out)
    if columns is not None and kind != "grid":
        raise click.UsageError("--columns is for a grid: give --out a name that ends in .png")
    if shard is not None and (trace is not None or kind != "folder"):
        raise click.UsageError("--shard writes one PNG an image: give --out a folder with a final /, and no --trace")
    check_target(out)
    refuse_idle_grid_options(out)
    if kind == "folder":
        refuse("scale", because="a folder of samples holds the images themselves: omit it, or write a grid")
    if trace is not None:
        check_trace(trace)
    command = ["pvae-zoo", "sample", "--model", model, "--n", str(n), "--seed", str(seed)]
    command += [] if temperature == 1 else ["--temperature", f"{temperature:g}"]
    command += [] if latent_temperature == 1 else ["--latent-temperature", f"{latent_temperature:g}"]
    chosen = choose_model(model, device, threads)
    runtime = chosen.model
    drawing = Drawing(
        run=SampleRun.of(runtime, n=n, seed=seed, temperature=temperature, latent_temperature=latent_temperature),
        folder=Path(out),
        command=shlex.join(command),
        batch_size=batch_size or runtime.sample_batch,
        order=order,  # type: ignore[arg-type]
        replaces=shard is None,
    )
    if shard is not None:
        _draw_shard(drawing, chosen, OneShard(shard, Path(out)), as_json=as_json)
        return
    grid = {"columns": columns, "scale": scale, "caption": caption} if kind == "grid" else None
    start = time.perf_counter()
    drawn = _draw_folder(drawing, chosen) if kind == "folder" else _draw_file(drawing, runtime, grid)
    seconds = time.perf_counter() - start
    files = [*drawn.files]
    if trace is not None:
        _paint(drawing, runtime, drawn, Path(trace), columns)
        files.append(Path(trace))
    if as_json:
        head = {"model": runtime.name, "model_sha256": runtime.bundle.digest, "provider": runtime.provider}
        echo_json(head | _noise(drawing) | {"seconds": round(seconds, 3), "files": [str(file) for file in files]})
    else:
        where = out if trace is None else f"{out} and {trace}"
        some = f", {n - drawn.kept} drawn now" if drawn.kept else ""
        echo(f"{where}: {n} image{'s' * (n > 1)} of {runtime.name}{some} in {seconds:.1f} s on {runtime.where}")


class _Drawn(NamedTuple):
    """What was drawn: its files, how many of them were there before, and the images if they are in memory."""

    files: list[Path]
    kept: int = 0
    images: NDArray[np.uint8] | None = None


def _draw_file(drawing: Drawing, runtime: Model, grid: dict[str, Any] | None) -> _Drawn:
    """A grid or an array, which is written once all images are there."""
    from pvae_zoo.runtime.captions import Words, caption_of
    from pvae_zoo.runtime.pictures import save_grid, save_images

    path, levels = drawing.folder, runtime.image.levels
    with progress_bar("steps") as progress:
        images = drawing.images(runtime, range(drawing.run.n), progress)
    metadata = drawing.run.notes() | {"command": drawing.command}
    if grid is None:
        save_images(images, path, levels=levels, metadata=metadata)
    else:
        words = Words(caption=caption_of(metadata)) if grid.pop("caption") else None
        save_grid(images, path, levels=levels, metadata=metadata, words=words, **grid)
    return _Drawn([path], images=images)


def _draw_folder(drawing: Drawing, chosen: Chosen) -> _Drawn:
    """A file an image, each written when its batch is drawn."""
    from pvae_zoo.scale.places import Here, run

    files, kept, n = [], 0, drawing.run.n
    try:
        with watched("images") as watch:
            for row in run(drawing, chosen, range(n), Here(), watch):
                files.append(drawing.folder / row.name)
                kept += row.kept
    except KeyboardInterrupt:
        if files:
            echo(f"{len(files)} of {n} images are in {drawing.folder}: the same command draws the others", err=True)
        raise
    return _Drawn(files, kept)


def _draw_shard(drawing: Drawing, chosen: Chosen, place: OneShard, *, as_json: bool) -> None:
    from pvae_zoo.scale.places import run
    from pvae_zoo.scale.samples import read_manifest

    with watched("images") as watch:
        (part,) = run(drawing, chosen, range(drawing.run.n), place, watch)
    have, count, name = part.count, part.count - part.kept, chosen.bundle.name
    if as_json:
        head = {"path": str(part.path), "model": name, "model_sha256": chosen.bundle.digest} | _noise(drawing)
        files = list(read_manifest(part.path).files)
        echo_json(head | {"shard": str(place.shard), "drawn": count, "files": files})
    else:
        echo(f"{part.path}: {have} image{'s' * (have != 1)} of {name}, {count} drawn now, shard {place.shard}")


def _noise(drawing: Drawing) -> dict[str, Any]:
    return {name: getattr(drawing.run, name) for name in ("n", "seed", "temperature", "latent_temperature")}


def _paint(drawing: Drawing, runtime: Model, drawn: _Drawn, path: Path, columns: int | None) -> None:
    """The trace of the first images; those of a folder are read again."""
    import numpy as np

    from pvae_zoo.data.fit import Fit
    from pvae_zoo.data.images import ImageError, ImageSource
    from pvae_zoo.runtime.trace import IMAGES, save_trace

    images = drawn.images
    if images is None:
        found = [Fit().read(ImageSource(str(file), file), runtime.image) for file in drawn.files[:IMAGES]]
        images = np.stack([result[0] for result in found if not isinstance(result, ImageError)])
    slope = runtime.bundle.config.steps["decoder_step"].geometry.slope
    save_trace(images, path, levels=runtime.image.levels, slope=slope, order=drawing.order, columns=columns)
