"""``complete``: keep a part of images, draw the rest."""

from __future__ import annotations

from pathlib import Path

import click

from pvae_zoo.cli.drawing_command import DrawingCommand, drawing_options
from pvae_zoo.cli.options import MOST_IN_A_ROW, paths_argument
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
@click.option(
    "--n", "-n", type=click.IntRange(1, MOST_IN_A_ROW), default=4, show_default=True, help="Completions of each image."
)
@drawing_options("completions.png")
def complete_command(
    paths: tuple[str, ...], rows: int | None, mask: Path | None, n: int, drawing: DrawingCommand
) -> None:
    """Keep a part of the images in PATHS (files, folders, globs, zips) and draw the rest.

    A .png target shows each image with its unknown part grey and its completions beside it; other targets get the
    completions, image by image, a folder each as soon as it is drawn.

    \b
    Example:
        pvae-zoo complete digits/ --rows 14
        pvae-zoo complete digit.png --mask mask.png --n 8 --out completions.png
    """
    import numpy as np
    from numpy.typing import NDArray

    from pvae_zoo.cli.progress import progress_bar, share
    from pvae_zoo.runtime.layouts import completions, read_mask, top_rows

    if (rows is None) == (mask is None):
        raise click.UsageError("say what to keep: --rows N or --mask FILE (one of them)")
    runtime = drawing.load()
    image = runtime.image
    keep = top_rows(image, rows) if rows is not None else read_mask(mask or Path(), image)
    inputs = drawing.find(paths, runtime)
    target = drawing.target(runtime, [f"{stem}-{index}" for stem in inputs.stems for index in range(n)])
    batch = drawing.batch_size or runtime.sample_batch
    with progress_bar("steps") as progress:
        for part in inputs.slices(max(1, batch // n)):
            drawn = runtime.complete(
                np.repeat(part.images, n, axis=0),
                keep,
                first=part.first * n,
                progress=share(progress, part.found, inputs.count),
                **drawing.settings,
            )
            target.add(drawn, [f"{stem}-{index}" for stem in part.stems for index in range(n)], part.images)

    def layout(drawn: NDArray[np.uint8], originals: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return completions(originals, keep, drawn.reshape(-1, n, *image.chw), levels=image.levels)

    files = target.finish(n + 1, layout, rows=inputs.usable, heads=["kept"])
    line = f"{target.count} completion{'s' * (target.count > 1)}"
    drawing.report(runtime, files, line, images=inputs.names, notes=inputs.notes, failed=inputs.failed)
    exit_for_failures(inputs.failed, inputs.count)
