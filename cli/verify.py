"""``verify``: does a bundle compute here what it was published to compute?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.models import open_admitted
from pvae_zoo.cli.options import device_option, json_option, model_argument
from pvae_zoo.cli.output import FAILED, echo, echo_json

if TYPE_CHECKING:
    from pvae_zoo.contract.folder import Bundle
    from pvae_zoo.export.parity import Parity


@click.command("verify")
@model_argument
@click.option("--checkpoint", type=click.Path(path_type=Path), metavar="FILE", help="Compare with these weights too.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR", help="Compare on 1,000 images of its validation split."
)
@device_option
@json_option
def verify_command(model: str, checkpoint: Path | None, data: Path | None, device: str, as_json: bool) -> None:
    """Check MODEL, a name of the zoo or a bundle: hashes, the graphs' contract, and the golden vectors.

    The hashes are those that the bundle itself states; whether the zoo's registry vouches for these is said too.
    Every output must be within 2e-4 of the golden one, and a wavefront must draw the golden images (of a bundle
    that was converted to float16 or int8 within 0.25 or 0.1, and its draws are only shown). Where PyTorch is
    installed, the weights are read out of the graphs, and PyTorch must compute with them what the graphs do: on the
    golden images, or those of --data. With --checkpoint the graphs are compared with the weights of that file.

    \b
    Example:
        pvae-zoo verify mnist
        pvae-zoo verify mnist --data data/binarized_mnist
    """
    from pvae_zoo.checks.verification import verify_bundle
    from pvae_zoo.sources.registry import pinned_configs

    bundle = open_admitted(model)
    found = verify_bundle(bundle, device)
    parity, how = _parity(bundle, checkpoint, data) if found.ok else (None, "not compared")
    pinned = bundle.config_sha256 in pinned_configs()
    ok = found.ok and (parity is None or parity.ok)
    if as_json:
        report: dict[str, Any] = {"name": bundle.name, "path": str(bundle.folder), "ok": ok, "pinned": pinned}
        compared = None if parity is None else asdict(parity) | {"ok": parity.ok, "weights": how}
        echo_json(report | asdict(found) | {"parity": compared})
    else:
        echo(f"{bundle.name} at {bundle.folder}" + (f" on {found.provider}" if found.provider else ""))
        vouches = "vouches for this bundle" if pinned else "does not know this bundle: its own config alone does"
        echo(f"  registry         {vouches}")
        echo(f"  files            {len(found.files)} of {len(bundle.files())} have the size and hash they should")
        for role, difference in found.largest_difference.items():
            echo(f"  {role:<16} differs from the golden vectors by at most {difference:.1e}")
        if found.pixels:
            echo(f"  wavefront        {found.differing_pixels} of {found.pixels} drawn values differ")
        echo(f"  PyTorch          {how}")
        if parity is not None:
            _print_parity(parity)
        for problem in found.problems:
            echo(f"  PROBLEM          {problem}")
        echo("everything holds" if ok else "does not hold")
    if not ok:
        click.get_current_context().exit(FAILED)


def _parity(bundle: Bundle, checkpoint: Path | None, data: Path | None) -> tuple[Parity | None, str]:
    """The comparison with PyTorch, and in words with which weights; None where nobody asked and it cannot be made."""
    try:
        from pvae_zoo.export.parity import check_parity
        from pvae_zoo.export.weights import checkpoint_of
        from pvae_zoo.training.checkpoint import load_checkpoint
    except ImportError as error:
        if checkpoint is None and data is None:
            return None, f"not compared: {error.name} is not installed"
        raise PvaeZooError(f'{error.name} is not installed: run pip install "pvae-zoo[train]"') from error
    if not bundle.config.numbers.is_float32:
        if checkpoint is None and data is None:
            return None, f"not compared: the graphs compute in {bundle.config.precision}, PyTorch in float32"
        raise PvaeZooError(
            f"{bundle.folder} computes in {bundle.config.precision}, PyTorch in float32: leave out --checkpoint and "
            "--data; pvae-zoo convert says how far it is from what it was converted from"
        )
    if checkpoint is not None:
        return check_parity(bundle, load_checkpoint(checkpoint), data), f"with the weights of {checkpoint}"
    if bundle.config.recipe is None and data is None:
        return None, "not compared: the bundle is of an older make and does not hold its recipe"
    return check_parity(bundle, checkpoint_of(bundle), data), "with the weights that the graphs hold"


def _print_parity(parity: Parity) -> None:
    for name, difference in parity.largest_difference.items():
        echo(f"  {name:<16} differs from PyTorch by at most {difference:.1e}")
    elbo = f"differs by at most {parity.elbo_bits_per_dim_difference:.1e} bits/dim ({parity.images:,} images)"
    echo(f"  ELBO             {elbo}")
