"""``train`` and ``export``: for those who make models."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.errors import PvaeZooError

if TYPE_CHECKING:
    from pvae_zoo.training.reports import Report


def _needs_torch(error: ImportError) -> PvaeZooError:
    return PvaeZooError(f'{error.name} is not installed: run pip install "pvae-zoo[train]"')


@click.command("train")
@click.argument("recipe")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the data set.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/RECIPE]")
@click.option("--max-minutes", type=click.FloatRange(min=0), help="Stop after this time, with a checkpoint.")
@click.option("--steps", type=click.IntRange(min=1), help="Train that many steps instead of the recipe's.")
@click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Peak learning rate instead of the recipe's."
)
@click.option("--resume", is_flag=True, help="Go on from the run's last checkpoint.")
@click.option("--init", type=click.Path(path_type=Path), help="Start from the weights of another model's checkpoint.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--compile/--no-compile", "compile_model", help="Fuse the network with torch.compile.")
def train_command(
    recipe: str,
    data: Path,
    out: Path | None,
    max_minutes: float | None,
    steps: int | None,
    learning_rate: float | None,
    resume: bool,
    init: Path | None,
    device: str,
    compile_model: bool,
) -> None:
    """Train a model from RECIPE, a shipped name or a .toml file.

    The run's folder holds checkpoint.safetensors (everything to go on from), best.safetensors (the averaged weights
    of the best validation), metrics.jsonl and loss.png. A run may be killed at any moment; --resume takes it up where
    its last checkpoint stands and walks the same path. Several processes train together under torchrun.

    \b
    Example:
        pvae-zoo train mnist --data data/binarized_mnist --out runs/mnist --max-minutes 60
        pvae-zoo train mnist --data data/binarized_mnist --out runs/mnist --resume
        torchrun --nproc-per-node 2 -m pvae_zoo train mnist --data data/binarized_mnist
    """
    from pvae_zoo.training.recipe import load_recipe

    try:
        from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
        from pvae_zoo.training.datasets import load_split
        from pvae_zoo.training.distributed import joined_world
        from pvae_zoo.training.loop import Trainer
        from pvae_zoo.training.plots import plot_run
    except ImportError as error:
        raise _needs_torch(error) from error

    if resume and init is not None:
        raise click.UsageError("--init starts a run and --resume goes on with one: give one of them")
    wanted = load_recipe(recipe)
    out = out or Path("runs") / wanted.name
    if resume:
        wanted = load_checkpoint(out / LATEST).recipe  # a run keeps its recipe, whatever became of the file
    elif (out / LATEST).exists():
        raise PvaeZooError(f"{out} already holds a run: add --resume to go on, or choose another --out")
    given = {"steps": steps, "learning_rate": learning_rate}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    wanted = replace(wanted, training=replace(wanted.training, **changes))
    options: dict[str, Any] = {"binarize": wanted.binarize, "augmentation": wanted.data}
    images = load_split(data, "train", wanted.model.image, **options)
    valid = load_split(data, "valid", wanted.model.image, **options)
    _make_folder(out)
    with joined_world() as world:
        trainer = Trainer(wanted, out, world=world, device=device, compile_model=compile_model, report=print_report)
        if resume:
            trainer.resume()
        elif init is not None:
            trainer.initialise(init)
        finished = trainer.train(images, valid, max_minutes=math.inf if max_minutes is None else max_minutes)
        if world.rank:
            return
        plot_run(out)
    progress = trainer.progress
    click.echo(f"{'finished' if finished else 'stopped'} at step {progress.step} of {wanted.training.steps}")
    if progress.best_step >= 0:
        click.echo(f"best validation ELBO {progress.best_elbo:.3f} nats at step {progress.best_step}: {out / BEST}")
    if not finished:
        click.echo(f"go on with: pvae-zoo train {recipe} --data {data} --out {out} --resume")


def _make_folder(folder: Path) -> None:
    from pvae_zoo.atomic import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error


def print_report(report: Report) -> None:
    """One line on stderr; on a terminal, training lines overwrite each other."""
    line = f"step {report.step}/{report.steps}  elbo {report.elbo:.2f}"
    if report.kl:
        kl = " + ".join(f"{value:.2f}" for value in report.kl)
        line += f"  recon {report.reconstruction:.2f}  kl {kl}"
    if report.kind == "valid":
        click.echo(f"\r\033[K{line}  (validation)" if sys.stderr.isatty() else f"{line}  (validation)", err=True)
        return
    minutes, seconds = divmod(round(report.seconds_left), 60)
    line += f"  {report.images_per_second:.0f} images/s  {minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
    click.echo(f"\r\033[K{line}" if sys.stderr.isatty() else line, err=True, nl=not sys.stderr.isatty())


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Data set to prove parity on, 1,000 validation images of it."
)
@click.option("--half", is_flag=True, help="Round the weights to float16: half the size.")
@json_option
def export_command(run: Path, out: Path, data: Path | None, half: bool, as_json: bool) -> None:
    """Export RUN, a training run's folder or a checkpoint file, as a bundle of ONNX graphs.

    The averaged weights of the best validation are taken. The bundle is then compared with PyTorch: every output must
    agree within 1e-4, every image's ELBO within 1e-4 bits per dimension.

    \b
    Example:
        pvae-zoo export runs/mnist --out bundles/mnist --data data/binarized_mnist
        pvae-zoo export runs/lsun --out bundles/lsun --half
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from pvae_zoo.export.bundle import halved, write_bundle
        from pvae_zoo.export.parity import check_parity
        from pvae_zoo.training.checkpoint import BEST, load_checkpoint
    except ImportError as error:
        raise _needs_torch(error) from error
    from pvae_zoo.atomic import atomic_write
    from pvae_zoo.bundle import CARD, WEIGHTS, Bundle
    from pvae_zoo.card import render_card

    checkpoint = load_checkpoint(run / BEST if run.is_dir() else run)
    checkpoint = halved(checkpoint) if half else checkpoint
    config = write_bundle(checkpoint, out)
    bundle = Bundle(out)
    atomic_write(out / CARD, render_card(bundle).encode())
    parity = check_parity(bundle, out / WEIGHTS, data)
    size = sum(spec.size for spec in bundle.files())
    if as_json:
        click.echo(
            json.dumps({"bundle": str(out), "name": config.name, "bytes": size, **asdict(parity), "ok": parity.ok})
        )
    else:
        click.echo(f"{out}: {config.name}, {len(config.graphs)} graphs, {size / 2**20:.1f} MiB")
        for name, difference in parity.largest_difference.items():
            click.echo(f"  {name:<16} differs from PyTorch by at most {difference:.1e}")
        click.echo(
            f"  ELBO differs by at most {parity.elbo_bits_per_dim_difference:.1e} bits/dim ({parity.images} images)"
        )
    if not parity.ok:
        raise PvaeZooError(f"{out} does not agree with PyTorch within 1e-4: do not publish it")
