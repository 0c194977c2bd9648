"""Opening the model that a command was given: from here on its graphs may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.options import TRUST

if TYPE_CHECKING:
    from pvae_zoo.bundle import Bundle
    from pvae_zoo.runtime.model import PixelVAE


def open_admitted(model: str) -> Bundle:
    """The bundle of a model, checked unless the registry vouches for it or the user does (``--trust``)."""
    from pvae_zoo.registry import open_bundle
    from pvae_zoo.trust.admission import admit

    bundle = open_bundle(model)
    admit(bundle, trust=bool(click.get_current_context().meta.get(TRUST)))
    return bundle


def load_model(model: str, device: str, threads: int | None) -> PixelVAE:
    """The model ready to use."""
    from pvae_zoo.runtime.model import PixelVAE

    return PixelVAE(open_admitted(model), device, threads)  # type: ignore[arg-type]
