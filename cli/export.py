"""``export``: a training run becomes a bundle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import echo
from pvae_zoo.cli.train import needs_torch


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

    The averaged weights of the best validation are taken, or of the last checkpoint where there was none. All graphs
    are then compared with PyTorch, the single steps too: every output must agree within 1e-4, every image's ELBO within
    1e-4 bits per dimension. Only then is the bundle put in place.

    \b
    Example:
        pvae-zoo export runs/mnist --out bundles/mnist --data data/binarized_mnist
        pvae-zoo export runs/lsun --out bundles/lsun --half
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from pvae_zoo.export.bundle import halved
        from pvae_zoo.export.proven import checkpoint_of_run, export_run
    except ImportError as error:
        raise needs_torch(error) from error
    from pvae_zoo.cli.output import bundle_size

    checkpoint, which = checkpoint_of_run(run)
    name = checkpoint.recipe.name
    exported = export_run(halved(checkpoint) if half else checkpoint, out, data)
    parity, size = exported.parity, bundle_size(exported.bundle) if exported.bundle else None
    if as_json:
        report = {"bundle": str(out), "name": name, "weights": which, "bytes": size}
        report |= {} if parity is None else asdict(parity)
        echo(json.dumps(report | {"ok": not exported.problems, "problems": exported.problems}))
    else:
        echo(f"{name}: weights of {which}")
        for output, difference in parity.largest_difference.items() if parity else ():
            echo(f"  {output:<16} differs from PyTorch by at most {difference:.1e}")
        if parity:
            difference = parity.elbo_bits_per_dim_difference
            echo(f"  ELBO differs by at most {difference:.1e} bits/dim ({parity.images} images)")
    if exported.bundle is None:
        raise PvaeZooError(f"{'; '.join(exported.problems)}: nothing was written to {out}")
    if not as_json:
        echo(f"{out}: {len(exported.bundle.config.graphs)} graphs, {size / 2**20:.1f} MiB")  # type: ignore[operator]
