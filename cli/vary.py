"""``vary``: what each level of noise decides."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawn import drawing_options, save_drawn
from pvae_zoo.cli.output import echo_json


@click.command("vary")
@click.option(
    "--level",
    type=click.Choice(["all", "top", "bottom", "pixels"]),
    default="all",
    show_default=True,
    help="Whose noise changes along a row: z2 (or the only z), z1, the pixels'; or a row for each.",
)
@click.option(
    "--n", "-n", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Images in a row."
)
@drawing_options("vary.png", reads_images=False)
def vary_command(
    level: str,
    n: int,
    model: str,
    out: str,
    seed: int,
    temperature: float,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Draw rows of images that share all noise but that of one level (PixelVAE, figure 5).

    From top to bottom the rows change z2, z1 and the pixels alone; a model with one level has no row for z1 of its own.
    The first column is the same image.

    \b
    Example:
        pvae-zoo vary --n 10
        pvae-zoo vary --model lsun --level top --seed 3 --out rooms.png
    """
    import numpy as np

    import pvae_zoo
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import spread
    from pvae_zoo.runtime.pictures import check_target

    check_target(out)
    runtime = pvae_zoo.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    levels = runtime.levels if level == "all" else [level]
    rows = []
    with progress_bar("steps") as progress:
        for row in levels:
            rows.append(runtime.vary(row, n, seed=seed, temperature=temperature, progress=progress))  # type: ignore[arg-type]
    drawn = np.concatenate(rows)
    names = [f"{row}-{index:02}" for row in levels for index in range(n)]
    files = save_drawn(out, runtime, drawn, names, spread(drawn, runtime.image.levels), n, seed, temperature)
    if as_json:
        echo_json({
            "model": runtime.name,
            "provider": runtime.provider,
            "seed": seed,
            "rows": list(levels),
            "n": n,
            "files": [str(file) for file in files],
        })  # fmt: skip
    else:
        click.echo(f"{out}: rows that vary {', '.join(levels)}, by {runtime.name} on {runtime.provider}")
