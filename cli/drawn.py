"""What the commands that draw share: their options, where their images go, and what is said of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.app import ARGUMENTS
from pvae_zoo.cli.options import (
    Command,
    device_option,
    image_options,
    json_option,
    model_option,
    seed_option,
    temperature_option,
    threads_option,
)
from pvae_zoo.cli.output import echo_json, exit_for_failures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pvae_zoo.cli.inputs import Inputs
    from pvae_zoo.runtime.model import PixelVAE


def out_option(default: str) -> Callable[[Command], Command]:
    """``--out``, by whose form the kind of file is chosen."""
    return click.option(
        "--out", "-o", default=default, show_default=True, metavar="TARGET", help="x.png, x.npy, x.npz or folder/."
    )


def drawing_options(default_out: str, *, reads_images: bool = True) -> Callable[[Command], Command]:
    """All options of a command that draws, in the order of its help."""

    def decorate(command: Command) -> Command:
        fitting = (image_options,) if reads_images else ()
        options = (seed_option, temperature_option, *fitting, device_option, threads_option, json_option)
        for option in reversed((model_option, out_option(default_out), *options)):
            command = option(command)
        return command

    return decorate


def save_drawn(
    out: str,
    runtime: PixelVAE,
    drawn: NDArray[np.uint8],
    names: Sequence[str],
    grid: NDArray[np.uint8],
    columns: int,
    seed: int,
    temperature: float,
) -> list[Path]:
    """The grid as a PNG, or the drawn images as any other target."""
    from pvae_zoo import __version__
    from pvae_zoo.runtime.layouts import LEVELS
    from pvae_zoo.runtime.pictures import save_grid, save_images

    metadata = {
        "model": runtime.name,
        "model_sha256": runtime.bundle.digest,
        "seed": str(seed),
        "temperature": f"{temperature:g}",
        "provider": runtime.provider,
        "version": __version__,
        "command": shlex.join(["pvae-zoo", *click.get_current_context().meta[ARGUMENTS]]),
    }
    if out.lower().endswith(".png") and not Path(out).is_dir():
        save_grid(grid, Path(out), levels=LEVELS, metadata=metadata, columns=columns)
        return [Path(out)]
    return save_images(drawn, out, levels=runtime.image.levels, metadata=metadata, names=names)


def report_drawn(
    runtime: PixelVAE, out: str, files: list[Path], inputs: Inputs, count: int, what: str, seed: int, as_json: bool
) -> None:
    if as_json:
        echo_json({
            "model": runtime.name,
            "provider": runtime.provider,
            "seed": seed,
            "images": inputs.names,
            "failed": inputs.failed,
            "files": [str(file) for file in files],
        })  # fmt: skip
    else:
        click.echo(f"{out}: {count} {what}{'s' * (count > 1)} by {runtime.name} on {runtime.provider}")
    exit_for_failures(inputs.failed, inputs.count)
