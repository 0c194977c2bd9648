"""``train``: from a recipe and a data set to a model."""

from __future__ import annotations

import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import training_device_option

if TYPE_CHECKING:
    from pvae_zoo.data.datasets import ImageSet
    from pvae_zoo.training.checkpoint import Checkpoint
    from pvae_zoo.training.recipe import Recipe
    from pvae_zoo.training.reports import Report


def needs_torch(error: ImportError) -> PvaeZooError:
    """The remedy where the packages of training are not installed."""
    return PvaeZooError(f'{error.name} is not installed: run pip install "pvae-zoo[train]"')


def _shown(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    if name is not None:
        from pvae_zoo.training.recipe import recipe_text

        click.echo(recipe_text(name), nl=False)
        ctx.exit()


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no number, for an option."""
    # A range lets "nan" through: it is neither below nor above.
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number")
    return value


LOOKED_AT_MOST = 100_000
"""Images of a set that is looked at before training, which takes some minutes."""

_PATH = click.Path(path_type=Path)
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("train")
@click.argument("recipe")
@click.option(
    "--data", type=_PATH, required=True, multiple=True, help="Folder or zip of the data set; several are joined."
)
@click.option("--out", type=_PATH, help="Folder of the run.  [default: runs/RECIPE]")
@click.option(
    "--show",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_shown,
    help="Print the recipe NAME, to be copied, and do nothing else.",
)
@click.option(
    "--minutes",
    type=_POSITIVE,
    callback=finite,
    metavar="M",
    help="Plan the number of steps from the run's own speed, to be finished after this time.",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0),
    callback=finite,
    metavar="M",
    help="Stop after this time wherever it stands, with a checkpoint.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Train that many steps instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a step instead of the recipe's.")
@click.option("--learning-rate", type=_POSITIVE, callback=finite, help="Peak learning rate instead of the recipe's.")
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option(
    "--init",
    metavar="WEIGHTS",
    help="Start from these: a checkpoint, the folder of a run or of a bundle, or a model of the zoo.",
)
@click.option(
    "--only",
    type=click.Choice(["prior"]),
    help="Second stage: z1 and the pixels of --init stand still, q(z2|x) and p(z1|z2) are learnt.",
)
@click.option("--anew", is_flag=True, help="With --only prior: begin what is above z1 at random weights.")
@training_device_option
@click.option("--compile/--no-compile", "compile_model", help="Fuse the network with torch.compile.")
def train_command(
    recipe: str, data: tuple[Path, ...], out: Path | None, max_minutes: float | None, **options: Any
) -> None:
    """Train a model from RECIPE, a shipped name or a .toml file.

    The run's folder holds checkpoint.safetensors (everything to go on from), best.safetensors (the averaged weights
    of the best validation), metrics.jsonl and loss.png. A run may be killed at any moment; --resume takes it up where
    its last checkpoint stands and walks the same path. Several processes train together under torchrun.

    With --minutes the learning rate has come down to zero when the time is up; --max-minutes cuts a run at whatever
    rate it has, to go on another day.

    \b
    Example:
        pvae-zoo train mnist --data data/binarized_mnist --out runs/mnist --minutes 60
        pvae-zoo train mnist --data data/binarized_mnist --out runs/mnist --resume
        pvae-zoo train lsun --data rooms64.zip --data rooms96.zip --init imagenet64 --only prior --minutes 30
        pvae-zoo train --show mnist > mine.toml
        torchrun --nproc-per-node 2 -m pvae_zoo train mnist --data data/binarized_mnist
    """
    try:
        from pvae_zoo.training.allocation import keep_freed_memory
        from pvae_zoo.training.distributed import joined_world
        from pvae_zoo.training.loop import Trainer
        from pvae_zoo.training.plots import plot_run
    except ImportError as error:
        raise needs_torch(error) from error

    keep_freed_memory()
    wish = Wish(recipe, data, **options)
    wanted, out, given = wish.settled(out)

    def report(row: Report) -> None:
        print_report(row)
        if row.kind == "valid":
            plot_run(folder)

    folder = out
    with joined_world() as world:
        images, valid = _looked_at(data, wanted, shown=world.rank == 0)
        trainer = Trainer(
            wanted, out, world=world, device=wish.device, compile_model=wish.compile_model,
            minutes=wish.minutes or 0.0, report=report,
        )  # fmt: skip
        if wish.resume:
            trainer.resume(slower=wish.learning_rate is not None)
        elif given is not None and wish.init is not None:
            trainer.initialise(given, wish.init, anew=wish.anew)
            if world.rank == 0:
                click.echo(f"starting from {trainer.progress.initialised_from}", err=True)
        try:
            finished = trainer.train(images, valid, max_minutes=math.inf if max_minutes is None else max_minutes)
        except KeyboardInterrupt:
            if world.rank == 0:
                click.echo(f"\ngo on with: {wish.going_on(out)}", err=True)
            raise
        if world.rank:
            return
    _conclude(trainer, finished, "" if finished else wish.going_on(out))


def _looked_at(data: tuple[Path, ...], wanted: Recipe, *, shown: bool) -> tuple[ImageSet, ImageSet]:
    """The images to learn from and to measure on. Of image files, what cannot be used is said and left out.

    A set of more than `LOOKED_AT_MOST` of them is not looked at, and its first bad file ends the run.
    """
    from pvae_zoo.cli.progress import progress_bar
    from pvae_zoo.cli.survey import print_survey
    from pvae_zoo.data.datasets import load_split
    from pvae_zoo.data.own_folders import find_stores
    from pvae_zoo.data.picture_store import PictureStore
    from pvae_zoo.data.survey import survey
    from pvae_zoo.data.survey_words import window_words

    image, where = wanted.model.image, " and ".join(map(str, data))
    stores = find_stores(data, image, binarize=wanted.binarize)
    files = all(isinstance(store, PictureStore) for _, store in stores)
    if not files or sum(len(store) for _, store in stores) > LOOKED_AT_MOST:
        train, valid = (
            load_split(data, side, image, binarize=wanted.binarize, augmentation=wanted.data).held()
            for side in ("train", "valid")
        )
        return train, valid
    with progress_bar("images", shown=shown) as progress:
        found = survey(
            stores, image, where, augmentation=wanted.data, least=2, keep_copies=True, progress=progress
        )  # fmt: skip
    if shown:
        print_survey(found, window_words(found, image, wanted.data), err=True)
    return found.images("train", image, wanted.data).held(), found.images("valid", image, wanted.data).held()


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    recipe: str
    data: tuple[Path, ...]
    minutes: float | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    resume: bool
    init: str | None
    only: str | None
    anew: bool
    device: str
    compile_model: bool

    def settled(self, out: Path | None) -> tuple[Recipe, Path, Checkpoint | None]:
        """The recipe to train, the run's folder and the weights to start from; nothing is written."""
        from pvae_zoo.export.given import given_weights
        from pvae_zoo.training.checkpoint import LATEST
        from pvae_zoo.training.recipe import changed, load_recipe

        self._check()
        wanted = load_recipe(self.recipe)
        out = out or Path("runs") / wanted.name
        if self.resume:
            wanted = self._stored(wanted, out)
        elif (out / LATEST).exists():
            raise PvaeZooError(f"{out} already holds a run: add --resume to go on, or choose another --out")
        options: dict[str, Any] = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
        options |= {"learns": self.only}
        wanted = changed(wanted, **{name: value for name, value in options.items() if value is not None})
        return wanted, out, None if self.init is None else given_weights(self.init)

    def _check(self) -> None:
        begins: dict[str, object] = {
            "--init": self.init,
            "--only": self.only,
            "--minutes": self.minutes,
            "--batch-size": self.batch_size,
        }
        for option, value in begins.items():
            if self.resume and value is not None:
                raise click.UsageError(
                    f"{option} belongs to the start of a run, --resume goes on with one: leave it out"
                )
        if self.minutes is not None and self.steps is not None:
            raise click.UsageError("--minutes plans the number of steps and --steps states it: give one of them")
        if self.anew and self.only is None:
            raise click.UsageError("--anew says how --only prior begins: give both")
        if self.only is not None and self.init is None and not self.resume:
            raise click.UsageError("--only prior holds z1 and the pixels as --init has learnt them: give --init")

    def _stored(self, wanted: Recipe, out: Path) -> Recipe:
        """The recipe of the run in ``out``: a run keeps it, whatever became of the file."""
        from pvae_zoo.training.checkpoint import LATEST, NOT_STARTED, load_checkpoint
        from pvae_zoo.training.recipe import differences

        checkpoint = load_checkpoint(out / LATEST, NOT_STARTED)
        stored, step = checkpoint.recipe, checkpoint.progress.step
        if stored.name != wanted.name:
            raise PvaeZooError(f"{out} holds a run of {stored.name}, not of {wanted.name}: choose another --out")
        if self.steps is not None and self.steps < step:
            raise PvaeZooError(f"--steps {self.steps}: the run in {out} stands at step {step} already: give more")
        for key, theirs, ours in differences(stored, wanted):
            click.echo(f"{key} is {theirs} in the run and stays so; the recipe has {ours}", err=True)
        return stored

    def going_on(self, out: Path) -> str:
        """The command that goes on with the run."""
        data = [word for folder in self.data for word in ("--data", str(folder))]
        words = ["pvae-zoo", "train", self.recipe, *data, "--out", str(out), "--resume"]
        words += ["--device", self.device] if self.device != "cpu" else []
        return shlex.join([*words, *(["--compile"] if self.compile_model else [])])


def _conclude(trainer: Any, finished: bool, going_on: str) -> None:
    from pvae_zoo.training.checkpoint import BEST

    progress, steps = trainer.progress, trainer.config.steps
    where = f"step {progress.step}" if progress.awaits_plan else f"step {progress.step} of {steps}"
    click.echo(f"{'finished' if finished else 'stopped'} at {where}")
    if progress.best_step >= 0:
        best = trainer.out / BEST
        click.echo(f"best validation ELBO {progress.best_elbo:.3f} nats at step {progress.best_step}: {best}")
    if going_on:
        click.echo(f"go on with: {going_on}")


def print_report(report: Report) -> None:
    """One line on stderr; on a terminal, training lines overwrite each other."""
    line = f"step {report.step}" + (f"/{report.steps}" if report.steps else "")
    if report.elbo is not None:
        line += f"  elbo {report.elbo:.2f}  {report.bits_per_dim:.4f} bits/dim"
    if report.reconstruction is not None and report.kl:
        line += f"  recon {report.reconstruction:.2f}"
    if report.kl:
        line += f"  kl {' + '.join(f'{value:.2f}' for value in report.kl)}"
    if any(value is not None for value in report.r2):
        line += f"  R2 {', '.join('-' if value is None else f'{value:.3f}' for value in report.r2)}"
    if report.kind == "train":
        minutes, seconds = divmod(round(report.seconds_left), 60)
        line += f"  {report.images_per_second:.0f} images/s  {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
    else:
        line += f"  ({report.note or 'validation'})" if report.kind == "valid" else f"  {report.note}"
    terminal = sys.stderr.isatty()
    click.echo(f"\r\033[K{line}" if terminal else line, err=True, nl=report.kind != "train" or not terminal)
