"""``export``: a training run becomes a bundle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.train import needs_torch
from pvae_zoo.errors import PvaeZooError


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
        raise needs_torch(error) from error
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
