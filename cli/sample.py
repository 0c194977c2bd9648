"""``sample``: draw images."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.models import load_model
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
from pvae_zoo.cli.output import echo_json

if TYPE_CHECKING:
    from pvae_zoo.runtime.model import Model
    from pvae_zoo.scale.samples import SampleRun
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
    third eighth of the N images, under the names and with the bytes that they have without it.

    \b
    Example:
        pvae-zoo sample --n 16
        pvae-zoo sample --model mnist --n 100 --seed 7 --out digits/
        pvae-zoo sample --n 9 --trace painting.gif
        pvae-zoo sample --n 100000 --shard 3/8 --out digits/
    """
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.captions import Words, caption_of
    from pvae_zoo.runtime.pictures import check_target, save_grid, save_images
    from pvae_zoo.runtime.trace import check_trace, save_trace

    is_grid = out.lower().endswith(".png") and not Path(out).is_dir()
    if columns is not None and not is_grid:
        raise click.UsageError("--columns is for a grid: give --out a name that ends in .png")
    if shard is not None and (is_grid or trace is not None or not (out.endswith("/") or Path(out).is_dir())):
        raise click.UsageError("--shard writes one PNG an image: give --out a folder with a final /, and no --trace")
    check_target(out)
    refuse_idle_grid_options(out)
    if trace is not None:
        check_trace(trace)
    command = ["pvae-zoo", "sample", "--model", model, "--n", str(n), "--seed", str(seed)]
    command += [] if temperature == 1 else ["--temperature", f"{temperature:g}"]
    command += [] if latent_temperature == 1 else ["--latent-temperature", f"{latent_temperature:g}"]
    noise: dict[str, Any] = {"n": n, "seed": seed, "temperature": temperature, "latent_temperature": latent_temperature}
    if shard is not None:
        refuse("scale", because="a shard's files are those of a run without shards: omit it")
        _draw_shard(model, noise, shard, out, shlex.join(command), batch_size, order, device, threads, as_json)
        return
    runtime = load_model(model, device, threads)
    run = _sample_run(runtime, noise)
    start = time.perf_counter()
    with progress_bar("steps") as progress:
        images = runtime.sample(
            **noise,
            batch_size=batch_size,
            order=order,  # type: ignore[arg-type]
            progress=progress,
        )
    seconds = time.perf_counter() - start
    metadata = run.notes() | {"command": shlex.join(command)}
    levels = runtime.image.levels
    if is_grid:
        words = Words(caption=caption_of(metadata)) if caption else None
        save_grid(images, Path(out), levels=levels, metadata=metadata, columns=columns, scale=scale, words=words)
        files = [Path(out)]
    else:
        files = save_images(images, out, levels=levels, metadata=metadata, scale=scale)
    if trace is not None:
        step = runtime.bundle.config.steps["decoder_step"]
        save_trace(images, Path(trace), levels=levels, slope=step.geometry.slope, order=order, columns=columns)  # type: ignore[arg-type]
        files.append(Path(trace))
    if as_json:
        echo_json({
            "model": runtime.name,
            "model_sha256": runtime.bundle.digest,
            "provider": runtime.provider,
            **noise,
            "seconds": round(seconds, 3),
            "files": [str(file) for file in files],
        })  # fmt: skip
    else:
        where = out if trace is None else f"{out} and {trace}"
        click.echo(f"{where}: {n} image{'s' * (n > 1)} of {runtime.name} in {seconds:.1f} s on {runtime.provider}")


def _sample_run(runtime: Model, noise: dict[str, Any]) -> SampleRun:
    from pvae_zoo import __version__
    from pvae_zoo.scale.samples import SampleRun

    return SampleRun(
        model=runtime.name,
        model_sha256=runtime.bundle.digest,
        provider=runtime.provider,
        version=__version__,
        **noise,
    )


def _draw_shard(
    model: str,
    noise: dict[str, Any],
    shard: Shard,
    out: str,
    command: str,
    batch_size: int | None,
    order: str,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    from pvae_zoo.base.interrupts import prompt_stop
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.scale.samples import draw_shard, manifest_path

    with prompt_stop() as check, progress_bar("images") as progress:
        runtime = load_model(model, device, threads)
        manifest, count = draw_shard(
            runtime,
            _sample_run(runtime, noise),
            shard,
            Path(out),
            command=command,
            batch_size=batch_size or runtime.sample_batch,
            order=order,  # type: ignore[arg-type]
            progress=progress,
            check=check,
        )
    path = manifest_path(Path(out), shard)
    if as_json:
        report = {"path": str(path), "model": runtime.name, "model_sha256": runtime.bundle.digest, **noise}
        echo_json(report | {"shard": str(shard), "drawn": count, "files": list(manifest.files)})
    else:
        have = len(manifest.files)
        click.echo(f"{path}: {have} image{'s' * (have != 1)} of {runtime.name}, {count} drawn now, shard {shard}")
