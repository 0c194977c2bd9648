"""Export, prove, and only then put in place: what does not agree with PyTorch replaces nothing."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pvae_zoo.base.atomic import atomic_write, write_error
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.verification import Verification, verify_bundle
from pvae_zoo.contract.folder import CARD, Bundle
from pvae_zoo.export.bundle import write_bundle
from pvae_zoo.export.parity import Parity, check_parity
from pvae_zoo.reporting.card import render_card
from pvae_zoo.sources.pull import copy_bundle
from pvae_zoo.training.checkpoint import BEST, LATEST, Checkpoint, load_checkpoint


@dataclass(frozen=True)
class Exported:
    """A bundle in its folder, and the proof of it; ``bundle`` is None if it does not hold and nothing was written."""

    bundle: Bundle | None
    verification: Verification
    parity: Parity | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold, a line each."""
        if self.parity is None or self.parity.ok:
            return self.verification.problems
        return (*self.verification.problems, "it does not agree with PyTorch within 1e-4")


def export_run(checkpoint: Checkpoint, folder: Path, data: Path | None = None) -> Exported:
    """Export a checkpoint's averaged weights as a bundle in ``folder``, with its card, once all of it is proven.

    The golden images are drawn and scored by every graph, and all outputs compared with PyTorch (`check_parity`).

    Args:
        data: a data set whose validation images are compared too.

    Raises:
        PvaeZooError: if the folder cannot be written or the model cannot be exported.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
    except OSError as error:
        raise write_error(folder, error) from error
    with beside as path:
        write_bundle(checkpoint, Path(path))
        made = Bundle(Path(path))
        verification = verify_bundle(made)
        parity = check_parity(made, checkpoint, data) if verification.ok else None
        if parity is None or not parity.ok:
            return Exported(None, verification, parity)
        copy_bundle(made, folder, force=True)
    bundle = Bundle(folder)
    atomic_write(folder / CARD, render_card(bundle, folder).encode())
    return Exported(bundle, verification, parity)


def checkpoint_of_run(run: Path) -> tuple[Checkpoint, str]:
    """The weights to export of a run's folder or a checkpoint file, and in words which they are.

    The best validation's, or where a run has not come to one the last checkpoint's.

    Raises:
        PvaeZooError: if there is neither.
    """
    if run.is_file():
        return load_checkpoint(run), str(run)
    if (run / BEST).is_file():
        checkpoint = load_checkpoint(run / BEST)
        return checkpoint, f"the best validation, at step {checkpoint.progress.step}"
    if (run / LATEST).is_file():
        checkpoint = load_checkpoint(run / LATEST)
        return checkpoint, f"the last checkpoint, at step {checkpoint.progress.step}: the run has no validation yet"
    what = f"the folder {run} holds no training run" if run.is_dir() else f"there is no {run}"
    raise PvaeZooError(f"{what}: name the folder that pvae-zoo train wrote, or a .safetensors checkpoint")
