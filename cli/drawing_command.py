"""What the commands that draw share: their options, where their images go, and what is said of them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.app import ARGUMENTS
from pvae_zoo.cli.models import load_model
from pvae_zoo.cli.options import (
    Command,
    device_option,
    draw_batch_option,
    fit_options,
    grid_options,
    json_option,
    latent_temperature_option,
    model_option,
    refuse_idle_fits,
    refuse_idle_grid_options,
    seed_option,
    temperature_option,
    threads_option,
)
from pvae_zoo.cli.output import echo_json

if TYPE_CHECKING:
    from pvae_zoo.base.devices import Device
    from pvae_zoo.cli.inputs import Inputs
    from pvae_zoo.cli.target import Target
    from pvae_zoo.data.fit import Fit
    from pvae_zoo.runtime.model import Model


def out_option(default: str) -> Callable[[Command], Command]:
    """``--out``, by whose form the kind of file is chosen."""
    return click.option(
        "--out", "-o", default=default, show_default=True, metavar="TARGET", help="x.png, x.npy, x.npz or folder/."
    )


@dataclass(frozen=True, kw_only=True)
class DrawingCommand:
    """What every command that draws was asked for: the options of `drawing_options` by name."""

    model: str
    out: str
    seed: int
    temperature: float
    latent_temperature: float
    batch_size: int | None
    device: Device
    threads: int | None
    as_json: bool
    scale: int | None
    caption: bool
    fit: Fit | None = None
    """Of a command that reads images."""

    def load(self) -> Model:
        """The model, once it is known that the target can be written."""
        from pvae_zoo.runtime.pictures import check_target

        check_target(self.out)
        refuse_idle_grid_options(self.out)
        return load_model(self.model, self.device, self.threads)

    def find(self, paths: Sequence[str], runtime: Model) -> Inputs:
        """The images to draw from, to be read a slice at a time and made to fit as the options allow."""
        from pvae_zoo.cli.inputs import Inputs

        refuse_idle_fits(runtime.image)
        assert self.fit is not None
        return Inputs(paths, runtime.image, self.fit)

    def target(self, runtime: Model, names: Sequence[str]) -> Target:
        """What takes the drawn images; names that it cannot give to any are refused before they are drawn."""
        from pvae_zoo import __version__
        from pvae_zoo.cli.target import Target
        from pvae_zoo.runtime.pictures import check_names

        check_names(self.out, names)
        metadata = {
            "model": runtime.name,
            "model_sha256": runtime.bundle.digest,
            "seed": str(self.seed),
            "temperature": f"{self.temperature:g}",
            "latent_temperature": f"{self.latent_temperature:g}",
            "provider": runtime.provider,
            "version": __version__,
            "command": shlex.join(["pvae-zoo", *click.get_current_context().meta[ARGUMENTS]]),
        }
        return Target(self.out, runtime.image.levels, metadata, self.scale, self.caption)

    @property
    def settings(self) -> dict[str, Any]:
        """Seed, temperatures and batch size, as the methods of a model take them."""
        return {
            "seed": self.seed,
            "temperature": self.temperature,
            "latent_temperature": self.latent_temperature,
            "batch_size": self.batch_size,
        }

    def report(self, runtime: Model, files: Sequence[Path], line: str, **facts: Any) -> None:
        """Say what was drawn: as JSON with these facts, or in one line after the target's name."""
        if self.as_json:
            head = {"model": runtime.name, "provider": runtime.provider, "seed": self.seed}
            files_of = {"files": [str(file) for file in files]}
            echo_json(head | {key: fact for key, fact in facts.items() if key != "notes" or fact} | files_of)
        else:
            click.echo(f"{self.out}: {line} by {runtime.name} on {runtime.where}")


def drawing_options(default_out: str, *, reads_images: bool = True) -> Callable[[Command], Command]:
    """All options of a command that draws, in the order of its help, handed to it as one ``drawing``."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(**options: Any) -> Any:
            asked = {field.name: options.pop(field.name) for field in fields(DrawingCommand) if field.name in options}
            return command(drawing=DrawingCommand(**asked), **options)

        decorated: Any = gathered
        fitting = (fit_options,) if reads_images else ()
        choices = (
            *(seed_option, temperature_option, latent_temperature_option, *fitting),
            *(grid_options, draw_batch_option, device_option, threads_option, json_option),
        )
        for option in reversed((model_option, out_option(default_out), *choices)):
            decorated = option(decorated)
        result: Command = decorated
        return result

    return decorate
