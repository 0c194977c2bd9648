"""The command ``pvae-zoo``: what it knows before a command is chosen, and how it ends.

Help and unknown commands need nothing but click: a command's module is imported when the command is used.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from pvae_zoo import __version__
from pvae_zoo.base.interrupts import INTERRUPTED, terminable
from pvae_zoo.cli.errors import one_line_errors, warnings_as_notes
from pvae_zoo.cli.streams import cannot_write, flushed, open_closed_streams

# In "is not a valid ..." of whatever is no number; theirs are "integer range" and "float range".
click.IntRange.name, click.FloatRange.name = "whole number", "number"

ARGUMENTS = "pvae_zoo.arguments"
"""Key in a context's ``meta``: the command line as it was given, for what a picture notes of its making."""

# Name: (module, command in it, line in the list), in the order of the list.
COMMANDS = {
    "list": ("pvae_zoo.cli.list", "list_command", "The models of the zoo and their figures."),
    "info": ("pvae_zoo.cli.info", "info_command", "One model: graphs, shapes, hashes, training."),
    "pull": ("pvae_zoo.cli.pull", "pull_command", "Bring a model here, whole and verified."),
    "use": ("pvae_zoo.cli.use", "use_command", "Choose the model that commands mean when none is named."),
    "verify": ("pvae_zoo.cli.verify", "verify_command", "Check a bundle: hashes, contract, golden vectors."),
    "sample": ("pvae_zoo.cli.sample", "sample_command", "Draw images."),
    "nll": ("pvae_zoo.cli.nll", "nll_command", "Score images in bits per dimension and nats."),
    "merge": ("pvae_zoo.cli.merge", "merge_command", "Put the parts of a sharded run together."),
    "calibrate": ("pvae_zoo.cli.calibrate", "calibrate_command", "Learn what images that belong look like."),
    "screen": ("pvae_zoo.cli.screen", "screen_command", "Flag images that do not belong."),
    "reconstruct": ("pvae_zoo.cli.reconstruct", "reconstruct_command", "Encode images and draw them again."),
    "vary": ("pvae_zoo.cli.vary", "vary_command", "Change the noise of one level at a time."),
    "interpolate": ("pvae_zoo.cli.interpolate", "interpolate_command", "Draw the path between two latents."),
    "complete": ("pvae_zoo.cli.complete", "complete_command", "Keep a part of images and draw the rest."),
    "train": ("pvae_zoo.cli.train", "train_command", "Train a model from a recipe."),
    "finetune": ("pvae_zoo.cli.finetune", "finetune_command", "From a folder of your images to a model of them."),
    "evaluate": ("pvae_zoo.cli.evaluate", "evaluate_command", "Measure a model on a data set."),
    "export": ("pvae_zoo.cli.export", "export_command", "Export a trained model as a bundle of ONNX graphs."),
    "convert": ("pvae_zoo.cli.convert", "convert_command", "Convert a bundle to float16, int8 or plain float32."),
    "reproduce": ("pvae_zoo.cli.reproduce", "reproduce_command", "Make the figures of the paper again."),
    "register": ("pvae_zoo.cli.push", "register_command", "Let the zoo vouch for a bundle."),
    "push": ("pvae_zoo.cli.push", "push_command", "Publish a bundle on the Hugging Face Hub."),
    "conformance": ("pvae_zoo.cli.conformance", "conformance_command", "Do other runtimes compute what the model is?"),
    "explain": (
        "pvae_zoo.cli.explain",
        "explain_command",
        "Print how a model's graphs are driven, or a program that does it.",
    ),
    "web": ("pvae_zoo.cli.web", "web_command", "Sample, complete and score in the browser."),
    "selftest": ("pvae_zoo.cli.selftest", "selftest_command", "Does this machine compute what was published?"),
    "doctor": ("pvae_zoo.cli.doctor", "doctor_command", "What is installed, and what really loads."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is used and turns users' errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = tuple(args)
        _refuse_empty(ctx, args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no command {args[0]!r}: " + (f"did you mean {near[0]!r}?" if near else "see pvae-zoo --help"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        with one_line_errors(ctx), terminable(), warnings_as_notes():
            return super().invoke(ctx)


def _refuse_empty(ctx: click.Context, args: Sequence[str]) -> None:
    """An empty word is a variable of a script that is not set: as a path it would be the working folder."""
    for before, word in zip(["", *args], args, strict=False):
        option = before if word == "" and before.startswith("-") else word[:-1] if word.endswith("=") else ""
        if option.startswith("-"):
            ctx.fail(f"the value of {option} is empty: give one, or leave {option} out")
        elif word == "":
            ctx.fail("a word of the command is empty: give it, or leave it out")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="pvae-zoo %(version)s")
def cli() -> None:
    """Trained PixelVAEs over onnxruntime: samples, latent codes and a likelihood for every image.

    An error is one line; with PVAE_ZOO_DEBUG=1 in the environment its traceback stands before it.

    \b
    Example:
        pvae-zoo sample --n 16
        pvae-zoo nll images/
    """


def main(args: Sequence[str] | None = None) -> None:
    """The entry point: runs a command and exits."""
    open_closed_streams()
    try:
        cli.main(args, prog_name="pvae-zoo", standalone_mode=True)
    except SystemExit as end:
        sys.exit(flushed(end.code))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:  # `one_line_errors` lets those of the output through
        click.echo(f"Error: {cannot_write(error)}", err=True)
        sys.exit(flushed(1))
