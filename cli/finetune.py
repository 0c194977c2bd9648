"""``finetune``: from a folder of one's own images to a model of them."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.app import ARGUMENTS
from pvae_zoo.cli.options import json_option, training_device_option
from pvae_zoo.cli.output import echo, echo_json, table
from pvae_zoo.cli.survey import print_survey
from pvae_zoo.cli.train import finite, needs_torch

if TYPE_CHECKING:
    from pvae_zoo.training.reports import Report
    from pvae_zoo.tuning.finish import Finished
    from pvae_zoo.tuning.plan import Plan
    from pvae_zoo.tuning.run import FineTuning

_PATH = click.Path(path_type=Path)


@click.command("finetune")
@click.argument("model")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=_PATH)
@click.option("--name", required=True, help="The new model is called so.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    default=30,
    show_default=True,
    metavar="M",
    help="How long it may take, all in all, on this machine as it is now.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Train that many steps, in place of what the minutes buy.")
@click.option("--dry-run", is_flag=True, help="Look at the images and say what would be done; write nothing.")
@click.option("--invert", is_flag=True, help="For a grey model: swap light and dark.")
@click.option(
    "--binarize",
    is_flag=False,
    flag_value=128,
    type=click.IntRange(1, 255),
    metavar="[T]",
    help="For a black-and-white model: values from T on are white, 128 if none is given.",
)
@click.option("--prepare", is_flag=True, help="Make of drawn digits what MNIST has: turned, boxed, centred.")
@click.option(
    "--enlarge-by",
    "enlarge",
    type=click.FloatRange(min=1),
    callback=finite,
    default=1,
    metavar="F",
    help="Let images smaller than the model's be enlarged, by this factor at most.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="Peak learning rate.  [default: 5e-4]",
)
@training_device_option
@click.option("--run", type=_PATH, help="Folder of the run, its checkpoint and pictures.  [default: runs/NAME]")
@click.option("--out", type=_PATH, help="Folder of the bundle.  [default: among the models of this machine]")
@click.option("--force", is_flag=True, help="Begin anew, and replace a model of this name.")
@json_option
@click.pass_context
def finetune_command(
    ctx: click.Context,
    /,
    folders: tuple[Path, ...],
    name: str,
    dry_run: bool,
    run: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL further on the images of FOLDER, and leave a model of them.

    It is looked at, trained, exported, proven and measured, and has a card and pictures. MODEL is of the zoo or of this
    machine, a bundle or a checkpoint. FOLDER is a folder or a zip of images; train/ and valid/ in it are used where
    both are there, otherwise one image in eight is kept to measure on. What cannot be used is said, and the rest goes
    on.

    The run's folder shows how far it is: progress.png has samples, and reconstructions of the same images with the same
    noise, loss.png the curves. Stopped at any moment, the same command goes on where it stood, and ends at the same
    model: how many steps the minutes buy is settled once, at the start.

    \b
    Example:
        pvae-zoo finetune lsun photos/ --name kitchens --dry-run
        pvae-zoo finetune lsun photos/ --name kitchens --minutes 30
        pvae-zoo finetune mnist digits/ --name mine --minutes 10 --invert --binarize
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from pvae_zoo.training.allocation import keep_freed_memory
        from pvae_zoo.tuning.run import FineTuning
        from pvae_zoo.tuning.wish import Wish
    except ImportError as error:
        raise needs_torch(error) from error
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.data.survey_words import fitted_words, hints

    command = shlex.join(["pvae-zoo", *ctx.meta[ARGUMENTS]])
    wish = Wish(folders=folders, name=name, run=run or Path("runs") / name, command=command, **options)
    wish.check(writes=not dry_run)
    keep_freed_memory()
    tuning = FineTuning(wish)
    with progress_bar("images") as progress:
        found = tuning.look(progress)
    print_survey(found, fitted_words(found, tuning.fitting, tuning.base.recipe.data), err=as_json)
    for hint in hints(found):
        echo(f"Note: {hint}", err=True)
    plan = _settled(tuning, writes=not dry_run, err=as_json)
    made, done = None, None if dry_run else tuning.done()
    if not dry_run and done is None:
        try:
            if not tuning.train(print_line):
                echo(f"Note: it did not help: the model is {tuning.base_name} under another name", err=True)
            with progress_bar("images") as progress:
                made = tuning.finish(lambda what: echo(f"{what} ...", err=True), progress)
        except KeyboardInterrupt:
            echo("\nthe same command goes on where this stood", err=True)
            raise
    if as_json:
        echo_json(_facts(tuning, plan, made))
        return
    if done is not None:
        echo(f"{name} is finished already: add --force to make it anew")
    if made is not None:
        _print_figures(tuning, made)
    if not dry_run:
        _print_commands(tuning)


def _facts(tuning: FineTuning, plan: Plan, made: Finished | None) -> dict[str, Any]:
    """What there is to say, as JSON has it."""
    found = tuning.survey
    looked = {
        "images": len(found.store), "train": len(found.train), "valid": len(found.valid), "own_split": found.own_split,
        "refused": [{"image": image, "reason": why} for image, why in found.refused],
        "copies": [{"image": image, "of": of} for image, of in found.copies],
        "near_copies": [{"image": image, "of": of} for image, of in found.near],
    }  # fmt: skip
    facts: dict[str, Any] = {"name": plan.name, "path": str(tuning.wish.place), "looked": looked, "plan": asdict(plan)}
    if made is not None:
        rows: dict[str, Any] = {
            "bound": made.bound,
            "codecs": made.codecs,
            "descent": made.descent,
            "parity": made.parity,
        }
        facts |= {key: None if row is None else asdict(row) for key, row in rows.items()}
        facts["helped"] = made.descent is not None
    return facts


def _settled(tuning: FineTuning, *, writes: bool, err: bool) -> Plan:
    plan, wish = tuning.settle(writes=writes), tuning.wish
    images = plan.steps * plan.batch_size
    each = images / len(tuning.survey.train)
    buys = f"{wish.minutes:g} minutes buy" if not wish.steps else "that is"
    echo(f"{buys} {plan.steps:,} steps of {plan.batch_size} images: every image {each:.1f} times", err=err)
    if wish.steps is None and plan.minutes != wish.minutes:
        echo(f"Note: the run in {wish.run} was planned for {plan.minutes:g} minutes, and stays so", err=True)
    return plan


def print_line(report: Report) -> None:
    """A line of at most 80 columns on stderr; on a terminal, training lines overwrite each other."""
    line = f"step {report.step:,} of {report.steps:,}"
    if report.bits_per_dim is not None:
        line += f"  {report.bits_per_dim:.4f} bits/dim"
    if report.kind == "train":
        minutes, seconds = divmod(round(report.seconds_left), 60)
        line += f"  {report.images_per_second:.1f} images/s  {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
    else:
        line += "  on the validation images" if report.kind == "valid" else f"  {report.note}"
    terminal = sys.stderr.isatty()
    click.echo(f"\r\033[K{line}" if terminal else line, err=True, nl=report.kind != "train" or not terminal)


def _print_figures(tuning: FineTuning, made: Finished) -> None:
    from pvae_zoo.runtime.scoring import bits_per_dim

    bound, image = made.bound, tuning.base.recipe.model.image
    error = float(bits_per_dim(bound.standard_error_nats, image))
    of = f"{bound.images:,} validation images" + (f" of {bound.of:,}" if bound.images < bound.of else "")
    echo(f"bits per dimension on {of}, smaller is better:")
    rows = [[tuning.wish.name, f"{bound.bits_per_dim:.4f} +- {error:.4f}", ""]]
    if made.descent is not None:
        change = made.descent.difference_bits_per_dim / made.descent.bits_per_dim
        gap = f"{100 * abs(change):.2f} % {'less' if change < 0 else 'more'} now"
        gap += f", by {abs(made.descent.difference_bits_per_dim):.4f} +- {made.descent.standard_error_bits_per_dim:.4f}"
        rows.append([tuning.base_name, f"{made.descent.bits_per_dim:.4f}", gap])
    rows += [[name, f"{bits:.4f}", ""] for name, bits in made.codecs.codecs.items()]
    echo(table([["", *row] for row in rows]))


def _print_commands(tuning: FineTuning) -> None:
    wish, found = tuning.wish, tuning.survey
    elsewhere = wish.out if wish.out is None or wish.out.is_absolute() else f"./{wish.out}"
    named = shlex.quote(wish.name if elsewhere is None else str(elsewhere))
    image = tuning.base.recipe.model.image
    other = any(one.size != (image.width, image.height) for one in found.train)
    if wish.prepare:
        other = False
    given = (("--prepare", wish.prepare), ("--resize", other), ("--invert", wish.invert))
    options = [word for word, needed in given if needed]
    options += ["--binarize", str(wish.binarize)] if wish.binarize is not None else []
    echo(f"{wish.name} is the current model now, in {wish.place}")
    echo(f"look at {wish.run / 'progress.png'}, {wish.run / 'reconstructions.png'} and {wish.run / 'loss.png'}")
    echo("try it with")
    echo(f"    pvae-zoo sample --model {named} --n 16")
    echo(f"    pvae-zoo nll --model {named} {' '.join([*options, 'more/'])}")
    echo("and publish it with")
    echo(f"    pvae-zoo push {named} ORG/{wish.name}")
