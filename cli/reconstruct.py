"""``reconstruct``: what the latents keep of images."""

from __future__ import annotations

import click

from pvae_zoo.cli.drawing_command import DrawingCommand, drawing_options
from pvae_zoo.cli.options import paths_argument, refuse
from pvae_zoo.cli.output import exit_for_failures

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
def reconstruct_command(paths: tuple[str, ...], level: str, drawing: DrawingCommand) -> None:
    """Encode the images in PATHS (files, folders, globs, zips) and draw them again from their latents.

    A .png target shows the originals and, below each, its reconstruction; other targets get the reconstructions,
    a folder each of them as soon as it is drawn. Details that the latents do not keep are drawn anew: --temperature 0.8
    draws them with less noise.

    \b
    Example:
        pvae-zoo reconstruct digits/ --out reconstructions.png
    """
    from pvae_zoo.cli.progress import progress_bar, share
    from pvae_zoo.runtime.layouts import pairs

    runtime = drawing.load()
    levels = runtime.image.levels
    if level == "bottom" or len(runtime.levels) == 2:
        refuse("latent_temperature", because="no latents are drawn from a prior here: --level top does, of two levels")
    inputs = drawing.find(paths, runtime)
    target = drawing.target(runtime, inputs.stems)
    with progress_bar("steps") as progress:
        for part in inputs.slices(drawing.batch_size or runtime.sample_batch):
            drawn = runtime.reconstruct(
                part.images,
                level=level,  # type: ignore[arg-type]
                first=part.first,
                progress=share(progress, part.found, inputs.count),
                **drawing.settings,
            )
            target.add(drawn, part.stems, part.images)
    columns = min(PAIRS_IN_A_ROW, target.count)
    files = target.finish(
        columns,
        lambda drawn, originals: pairs(originals, drawn, levels=levels, columns=columns),
        rows=["given", "drawn again"] * -(-target.count // columns),
    )
    warmth = f"at temperature {drawing.temperature:g}"
    line = f"{target.count} reconstruction{'s' * (target.count > 1)} {warmth}"
    drawing.report(runtime, files, line, images=inputs.names, notes=inputs.notes, failed=inputs.failed)
    exit_for_failures(inputs.failed, inputs.count)
