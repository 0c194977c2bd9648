"""``vary``: what each level of noise decides."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawing_command import DrawingCommand, drawing_options
from pvae_zoo.cli.options import MOST_IN_A_ROW


@click.command("vary")
@click.option(
    "--level",
    type=click.Choice(["all", "top", "bottom", "pixels"]),
    default="all",
    show_default=True,
    help="Whose noise changes along a row: z2 (or the only z), z1, the pixels'; or a row for each.",
)
@click.option(
    "--n",
    "-n",
    type=click.IntRange(1, MOST_IN_A_ROW),
    default=8,
    show_default=True,
    metavar="N",
    help="Images in a row.",
)
@drawing_options("vary.png", reads_images=False)
def vary_command(level: str, n: int, drawing: DrawingCommand) -> None:
    """Draw rows of images that share all noise but that of one level (PixelVAE, figure 5).

    From top to bottom the rows change z2, z1 and the pixels alone; a model with one level has no row for z1 of its own.
    The first column is the same image.

    \b
    Example:
        pvae-zoo vary --n 10
        pvae-zoo vary --level top --seed 3 --out digits.png
    """
    from pvae_zoo.cli.progress import progress_bar

    runtime = drawing.load()
    levels = runtime.levels if level == "all" else (level,)
    names = {row: [f"{row}-{index:02}" for index in range(n)] for row in levels}
    target = drawing.target(runtime, [name for row in levels for name in names[row]])
    with progress_bar("steps") as progress:
        for row in levels:
            drawn = runtime.vary(row, n, progress=progress, **drawing.settings)  # type: ignore[arg-type]
            target.add(drawn, names[row])
    names_of = {"top": "z" if len(runtime.levels) == 2 else "z2", "bottom": "z1", "pixels": "pixels"}
    files = target.finish(n, rows=[f"{names_of[row]} {'vary' if row == 'pixels' else 'varies'}" for row in levels])
    drawing.report(runtime, files, f"rows that vary {', '.join(levels)},", rows=list(levels), n=n)
