"""``complete``: keep a part of images, draw the rest."""

from __future__ import annotations

from pathlib import Path

import click

from pvae_zoo.cli.drawn import drawing_options, report_drawn, save_drawn
from pvae_zoo.cli.options import paths_argument


@click.command("complete")
@paths_argument
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Keep the top N rows.")
@click.option("--mask", type=click.Path(path_type=Path), metavar="FILE", help="Keep what is white in this PNG.")
@click.option("--n", "-n", type=click.IntRange(min=1), default=4, show_default=True, help="Completions of each image.")
@drawing_options("completions.png")
def complete_command(
    paths: tuple[str, ...],
    rows: int | None,
    mask: Path | None,
    n: int,
    model: str,
    out: str,
    seed: int,
    temperature: float,
    resize: bool,
    binarize: int | None,
    convert: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Keep a part of the images in PATHS (files, folders, globs, zips) and draw the rest.

    A .png target shows each image with its unknown part grey and its completions beside it; other targets get the
    completions, image by image.

    \b
    Example:
        pvae-zoo complete digits/ --rows 14
        pvae-zoo complete digit.png --mask mask.png --n 8 --out completions.png
    """
    import numpy as np

    import pvae_zoo
    from pvae_zoo.cli.inputs import Fit, read_inputs
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import completions, read_mask, top_rows
    from pvae_zoo.runtime.pictures import check_target

    if (rows is None) == (mask is None):
        raise click.UsageError("say what to keep: --rows N or --mask FILE (one of them)")
    check_target(out)
    runtime = pvae_zoo.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    image = runtime.image
    keep = top_rows(image, rows) if rows is not None else read_mask(mask or Path(), image)
    inputs = read_inputs(paths, image, Fit(resize, binarize, convert))
    repeated = np.repeat(inputs.images, n, axis=0)
    with progress_bar("steps") as progress:
        drawn = runtime.complete(repeated, keep, seed=seed, temperature=temperature, progress=progress)
    grid = completions(inputs.images, keep, drawn.reshape(-1, n, *image.chw), levels=image.levels)
    names = [f"{stem}-{index}" for stem in inputs.stems() for index in range(n)]
    files = save_drawn(out, runtime, drawn, names, grid, n + 1, seed, temperature)
    report_drawn(runtime, out, files, inputs, len(drawn), "completion", seed, as_json)
