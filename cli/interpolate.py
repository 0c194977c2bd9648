"""``interpolate``: the path between two latents."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawing_command import DrawingCommand, drawing_options
from pvae_zoo.cli.options import IMAGE_OPTIONS, MOST_IN_A_ROW, refuse
from pvae_zoo.cli.output import FAILED


@click.command("interpolate")
@click.argument("paths", nargs=-1, metavar="[FROM TO]")
@click.option(
    "--steps",
    type=click.IntRange(2, MOST_IN_A_ROW),
    default=8,
    show_default=True,
    metavar="N",
    help="Images on a path.",
)
@click.option(
    "--n",
    "-n",
    type=click.IntRange(1, MOST_IN_A_ROW),
    default=4,
    show_default=True,
    metavar="N",
    help="Paths, without images.",
)
@drawing_options("interpolation.png")
def interpolate_command(paths: tuple[str, ...], steps: int, n: int, drawing: DrawingCommand) -> None:
    """Draw images along the way between two top latents, all other noise held.

    The ends are the latents of the images FROM and TO, which a .png shows before and after the path, or without images
    those of draws 0 and 1, 2 and 3, ... of the seed, a row for each pair.

    \b
    Example:
        pvae-zoo interpolate --n 4 --steps 10
        pvae-zoo interpolate three.png eight.png --out way.png
    """
    from functools import partial

    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import between

    if len(paths) not in (0, 2):
        raise click.UsageError(f"a path has two ends: give FROM and TO, or no image, not {len(paths)}")
    if paths:
        refuse("n", because="two images are the ends of one path: omit it")
    else:
        refuse(*IMAGE_OPTIONS, because="there is no FROM and TO to be made to fit: give these two images")
    runtime = drawing.load()
    ends = None
    if paths:
        inputs = drawing.find(paths, runtime)
        # Two are read; a folder of many is refused unread.
        ends = next(inputs.slices(2)).images if inputs.count == 2 else None
        usable = inputs.count - inputs.failed
        if usable != 2:
            click.echo(f"Error: a path has two ends, and {usable} images could be used", err=True)
            click.get_current_context().exit(FAILED)
    count = 1 if paths else n
    names = [[f"{row:02}-{index:02}" for index in range(steps)] for row in range(count)]
    target = drawing.target(runtime, [name for row in names for name in row])
    with progress_bar("steps") as progress:
        for row in range(count):
            drawn = runtime.interpolate(ends, steps, first=2 * row, progress=progress, **drawing.settings)
            target.add(drawn, names[row], ends)
    if ends is None:
        files = target.finish(steps, rows=[f"draws {2 * row} and {2 * row + 1}" for row in range(count)])
    else:
        heads = ["given", *[""] * steps, "given"]
        files = target.finish(steps + 2, partial(between, levels=runtime.image.levels), heads=heads)
    line = f"{count} path{'s' * (count > 1)} of {steps} images"
    drawing.report(runtime, files, line, images=list(paths), paths=count, steps=steps)
