"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.app import ARGUMENTS
from pvae_zoo.cli.output import echo

if TYPE_CHECKING:
    from pvae_zoo.contract.architecture import ImageShape

Command = TypeVar("Command", bound=Callable[..., Any])

MOST_IN_A_ROW = 100_000
"""Images that are asked for beside each other: more than a picture or a person holds, and few enough to be named."""

MOST = 10**9
"""Images of a run, whose names and slices are lists."""

TRUST = "pvae_zoo.trust"
"""Key in a context's ``meta``: whether the user vouches for the model."""


class FiniteRange(click.FloatRange):
    """A number in a range; infinity and what is no number are in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no number to reckon with", param, ctx)
        return number


def _checked_seed(ctx: click.Context, param: click.Parameter, seed: int) -> int:
    # Not a range type: help would spell out 9223372036854775807.
    if not 0 <= seed < 2**63:
        raise click.BadParameter(f"{seed} is out of range: choose one from 0 to 2^63 - 1")
    return seed


def _noted_trust(ctx: click.Context, param: click.Parameter, trust: bool) -> None:
    ctx.meta[TRUST] = trust


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_noted_trust,
    help="I know where the model comes from: do not check its graphs.",
)


def _current_model() -> str:
    from pvae_zoo.sources.current import current_model

    current = current_model()
    if current.note:
        echo(f"Note: {current.note}", err=True)
    return current.name


def _noted_model(ctx: click.Context, param: click.Parameter, model: str) -> str:
    """Let what a picture notes of its making name the model, whoever chose it."""
    if not given(ctx, "model") and not ctx.resilient_parsing:
        ctx.meta[ARGUMENTS] = (*ctx.meta.get(ARGUMENTS, ()), "--model", model)
    return model


def model_option(command: Command) -> Command:
    """``--model``, by default the current one, with ``--trust`` for one that nobody vouches for."""
    named = click.option(
        "--model",
        "-m",
        default=_current_model,
        envvar="PVAE_ZOO_MODEL",
        callback=_noted_model,
        metavar="MODEL",
        help="A model of the zoo, one that was pulled, or a folder.  [default: the current one, see pvae-zoo use]",
    )
    return named(trust_option(command))


named_model = click.argument("model", default=_current_model, envvar="PVAE_ZOO_MODEL", metavar="[MODEL]")
"""``MODEL``, by default the current one, of a command that runs none of its graphs."""


def model_argument(command: Command) -> Command:
    """``MODEL``, by default the current one, with ``--trust`` for one that nobody vouches for."""
    return named_model(trust_option(command))


def given(ctx: click.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def refuse(*names: str, because: str) -> None:
    """Refuse options that would do nothing, where one of them stands on the command line.

    Args:
        names: of the parameters of the command.
        because: why they do nothing, and what would make them do something: the message after ``--option``.

    Raises:
        click.UsageError: naming the options.
    """
    ctx = click.get_current_context()
    idle = [param.opts[0] for param in ctx.command.params if param.name in names and given(ctx, param.name)]
    if idle:
        raise click.UsageError(f"{' and '.join(idle)} would do nothing: {because}")


seed_option = click.option(
    "--seed", type=int, callback=_checked_seed, default=0, show_default=True, metavar="N", help="Seed of all noise."
)


def _checked_device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from pvae_zoo.base.devices import device_parts

    try:
        kind, _ = device_parts(value)
    except PvaeZooError:
        kind = None
    if kind is None or (kind == "auto" and param.metavar == _TRAINS_ON):
        choices = "cpu, cuda" if param.metavar == _TRAINS_ON else "auto, cpu, cuda"
        raise click.BadParameter(f"{value!r} is no device: choose {choices}, or cuda:1 for the second of several GPUs")
    return value


_RUNS_ON, _TRAINS_ON = "[auto|cpu|cuda|cuda:N]", "[cpu|cuda|cuda:N]"
device_option = click.option(
    "--device", callback=_checked_device, default="auto", show_default=True, metavar=_RUNS_ON, help="Where to compute."
)
training_device_option = click.option(
    "--device", callback=_checked_device, default="cpu", show_default=True, metavar=_TRAINS_ON, help="Where to train."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: all cores]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _checked_temperature(ctx: click.Context, param: click.Parameter, value: float) -> float:
    from pvae_zoo.runtime.drawing import COLDEST, HOTTEST

    mode = value == 0 and param.name == "temperature"
    if not mode and not COLDEST <= value <= HOTTEST:  # "nan" passes a range type: it is neither below nor above
        raise click.BadParameter(f"{value:g} is out of range: choose one from {COLDEST:g} to {HOTTEST:g}")
    return value


temperature_option = click.option(
    "--temperature",
    type=float,
    callback=_checked_temperature,
    default=1.0,
    show_default=True,
    metavar="T",
    help="Divides the pixels' logits: below 1 smoother, 1 is the model itself, 0 the likeliest value of each pixel.",
)
latent_temperature_option = click.option(
    "--latent-temperature",
    type=float,
    callback=_checked_temperature,
    default=1.0,
    show_default=True,
    metavar="T",
    help="Widens what latents are drawn from: below 1 nearer to the mean image, 1 is the model itself.",
)
paths_argument = click.argument("paths", nargs=-1, required=True)


def batch_size_option(default: int | None, what: str) -> Callable[[Command], Command]:
    """``--batch-size``, which bounds the memory and changes no result."""
    return click.option(
        "--batch-size", type=click.IntRange(min=1), default=default, show_default=True, metavar="N", help=what
    )


draw_batch_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images drawn at once, which changes none.  [default: by memory]",
)


IMAGE_OPTIONS = ("prepare", "resize", "enlarge", "binarize", "convert", "invert")
"""The parameters that `image_options` adds."""


def image_options(command: Command) -> Command:
    """How images are made to fit the model; nothing is changed silently."""
    for option in (
        click.option("--invert", is_flag=True, help="For a grey model: swap light and dark."),
        click.option("--convert", is_flag=True, help="Turn colour into grey for a grey model."),
        click.option(
            "--binarize",
            type=click.IntRange(1, 255),
            metavar="T",
            help="For a black-and-white model: values from T on are white.",
        ),
        click.option("--enlarge", is_flag=True, help="With --resize or --prepare: images of less than half the size."),
        click.option("--resize", is_flag=True, help="Crop to the model's shape and resample."),
        click.option(
            "--prepare",
            is_flag=True,
            help="Do all that is needed and say what was done. Digits become as MNIST's are: grey, light on dark, ink "
            "in a box of 20x20, centred, black and white (by --binarize T). For other models: cropped and resampled.",
        ),
    ):
        command = option(command)
    return command


def fit_options(command: Command) -> Command:
    """`image_options`, handed to the command as one ``fit``."""

    @functools.wraps(command)
    def fitted(**options: Any) -> Any:
        from pvae_zoo.data.fit import Fit

        allowed = {name: options.pop(name) for name in IMAGE_OPTIONS}
        return command(fit=Fit(**allowed), **options)

    decorated: Any = image_options(fitted)
    result: Command = decorated
    return result


def grid_options(command: Command) -> Command:
    """How a grid of images is shown."""
    for option in (
        click.option(
            "--caption/--no-caption",
            default=True,
            show_default=True,
            help="Words beside the images of a grid: model, seed, temperatures, what its rows are.",
        ),
        click.option(
            "--scale",
            type=click.IntRange(1, 64),
            metavar="N",
            help="Show a pixel as N x N of them.  [default: a grid fills a screen; in a folder 1]",
        ),
    ):
        command = option(command)
    return command


def refuse_idle_grid_options(out: str) -> None:
    """Refuse what `grid_options` allow where no grid, or no PNG, is written.

    Raises:
        click.UsageError: naming the options.
    """
    from pvae_zoo.runtime.pictures import target_kind

    kind = target_kind(out)
    if kind != "grid":
        refuse("caption", because="it is for a grid: give --out a name that ends in .png, or omit it")
    if kind not in ("grid", "folder"):
        refuse("scale", because="arrays hold the pixels themselves: omit it, or write .png or a folder")


def refuse_idle_fits(image: ImageShape) -> None:
    """Refuse what `image_options` allow and images of a model's shape never need.

    Raises:
        click.UsageError: naming the options.
    """
    if image.levels != 2:
        refuse("binarize", because=f"it is for black-and-white models, and this one has {image.levels} levels: omit it")
    if image.channels != 1:
        refuse("invert", because="it swaps light and dark of grey images, and this model takes colour: omit it")
        refuse("convert", because="it turns colour into grey, and this model takes colour: omit it")


def _parsed_shard(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
    from pvae_zoo.scale.shards import parse_shard

    try:
        return None if text is None else parse_shard(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


shard_option = click.option(
    "--shard", callback=_parsed_shard, metavar="I/N", help="Do piece I of N, such as 3/8, and write a part of its own."
)
