"""``reconstruct``: what the latents keep of images."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawn import drawing_options, report_drawn, save_drawn
from pvae_zoo.cli.options import paths_argument

PAIRS_IN_A_ROW = 10


@click.command("reconstruct")
@paths_argument
@click.option(
    "--level",
    type=click.Choice(["bottom", "top"]),
    default="bottom",
    show_default=True,
    help="Keep z1, or of a model with two levels z2 alone.",
)
@drawing_options("reconstructions.png")
def reconstruct_command(
    paths: tuple[str, ...],
    level: str,
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
    """Encode the images in PATHS (files, folders, globs, zips) and draw them again from their latents.

    A .png target shows the originals and, below each, its reconstruction; other targets get the reconstructions.

    \b
    Example:
        pvae-zoo reconstruct digits/ --out reconstructions.png
    """
    import pvae_zoo
    from pvae_zoo.cli.inputs import Fit, read_inputs
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.runtime.layouts import pairs
    from pvae_zoo.runtime.pictures import check_target

    check_target(out)
    runtime = pvae_zoo.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    inputs = read_inputs(paths, runtime.image, Fit(resize, binarize, convert))
    with progress_bar("steps") as progress:
        drawn = runtime.reconstruct(
            inputs.images,
            level=level,  # type: ignore[arg-type]
            seed=seed,
            temperature=temperature,
            progress=progress,
        )
    columns = min(PAIRS_IN_A_ROW, len(drawn))
    grid = pairs(inputs.images, drawn, levels=runtime.image.levels, columns=columns)
    files = save_drawn(out, runtime, drawn, inputs.stems(), grid, columns, seed, temperature)
    report_drawn(runtime, out, files, inputs, len(drawn), "reconstruction", seed, as_json)
