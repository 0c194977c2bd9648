"""``complete``: keep a part of images, draw the rest."""

from __future__ import annotations

from pathlib import Path

import click

from pvae_zoo.cli.drawing_command import DrawingCommand, drawing_options
from pvae_zoo.cli.options import paths_argument
from pvae_zoo.cli.output import exit_for_failures


@click.command("complete")
@paths_argument
@click.option("--rows", type=click.IntRange(min=1), metavar="N", help="Keep the top N rows.")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep what is white in this picture.",
)
@click.option("--n", "-n", type=click.IntRange(min=1), default=4, show_default=True, help="Completions of each image.")
@drawing_options("completions.png")
def complete_command(
    paths: tuple[str, ...], rows: int | None, mask: Path | None, n: int, drawing: DrawingCommand
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

    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import completions, read_mask, top_rows

    if (rows is None) == (mask is None):
        raise click.UsageError("say what to keep: --rows N or --mask FILE (one of them)")
    runtime = drawing.load()
    image = runtime.image
    keep = top_rows(image, rows) if rows is not None else read_mask(mask or Path(), image)
    inputs = drawing.read(paths, runtime)
    names = [f"{stem}-{index}" for stem in inputs.stems() for index in range(n)]
    drawing.check_names(names)
    repeated = np.repeat(inputs.images, n, axis=0)
    with progress_bar("steps") as progress:
        drawn = runtime.complete(
            repeated, keep, progress=progress, **drawing.noise
        )  # fmt: skip
    grid = completions(inputs.images, keep, drawn.reshape(-1, n, *image.chw), levels=image.levels)
    files = drawing.save(runtime, drawn, names, n + 1, grid)
    line = f"{len(drawn)} completion{'s' * (len(drawn) > 1)}"
    drawing.report(runtime, files, line, images=inputs.names, failed=inputs.failed)
    exit_for_failures(inputs.failed, inputs.count)
