"""``interpolate``: the path between two latents."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawn import drawing_options, save_drawn
from pvae_zoo.cli.output import echo_json


@click.command("interpolate")
@click.argument("paths", nargs=-1, metavar="[FROM TO]")
@click.option(
    "--steps", type=click.IntRange(min=2), default=8, show_default=True, metavar="N", help="Images on a path."
)
@click.option(
    "--n", "-n", type=click.IntRange(min=1), default=4, show_default=True, metavar="N", help="Paths, without images."
)
@drawing_options("interpolation.png")
def interpolate_command(
    paths: tuple[str, ...],
    steps: int,
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
    """Draw images along the way between two top latents, all other noise held.

    The ends are the latents of the images FROM and TO, or without images those of draws 0 and 1, 2 and 3, ... of the
    seed, a row for each pair.

    \b
    Example:
        pvae-zoo interpolate --n 4 --steps 10
        pvae-zoo interpolate three.png eight.png --out way.png
    """
    import numpy as np

    import pvae_zoo
    from pvae_zoo.cli.inputs import Fit, read_inputs
    from pvae_zoo.cli.output import FAILED
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import spread
    from pvae_zoo.runtime.pictures import check_target

    if len(paths) not in (0, 2):
        raise click.UsageError(f"a path has two ends: give FROM and TO, or no image, not {len(paths)}")
    check_target(out)
    runtime = pvae_zoo.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    ends = None
    if paths:
        inputs = read_inputs(paths, runtime.image, Fit(resize, binarize, convert))
        if inputs.count != 2 or inputs.failed:
            click.echo(f"Error: a path has two ends, and {len(inputs.names)} images could be used", err=True)
            click.get_current_context().exit(FAILED)
        ends = inputs.images
    rows = []
    with progress_bar("steps") as progress:
        for first in range(0, 1 if paths else 2 * n, 2):
            row = runtime.interpolate(
                ends, steps, seed=seed, temperature=temperature, first=first, progress=progress
            )  # fmt: skip
            rows.append(row)
    drawn = np.concatenate(rows)
    names = [f"{row:02}-{index:02}" for row in range(len(rows)) for index in range(steps)]
    files = save_drawn(out, runtime, drawn, names, spread(drawn, runtime.image.levels), steps, seed, temperature)
    if as_json:
        echo_json({
            "model": runtime.name,
            "provider": runtime.provider,
            "seed": seed,
            "images": list(paths),
            "paths": len(rows),
            "steps": steps,
            "files": [str(file) for file in files],
        })  # fmt: skip
    else:
        path = f"{len(rows)} path{'s' * (len(rows) > 1)}"
        click.echo(f"{out}: {path} of {steps} images by {runtime.name} on {runtime.provider}")
