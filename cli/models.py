"""Opening the model that a command was given: from here on its graphs may run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.options import TRUST

if TYPE_CHECKING:
    from pvae_zoo.contract.folder import Bundle
    from pvae_zoo.runtime.model import Model
    from pvae_zoo.scale.places import Chosen


def open_named(model: str) -> Bundle:
    """The bundle of a model; one that was not named on the command line is an error that says who named it."""
    from pvae_zoo.sources.current import VARIABLE
    from pvae_zoo.sources.registry import open_bundle

    try:
        return open_bundle(model)
    except PvaeZooError as error:
        source = click.get_current_context().get_parameter_source("model")
        if source is ParameterSource.ENVIRONMENT:
            raise PvaeZooError(f"{error} ({VARIABLE} names it)") from error
        if source is ParameterSource.DEFAULT:
            raise PvaeZooError(f"{error} (it is the current model: pvae-zoo use NAME changes that)") from error
        raise


def open_admitted(model: str) -> Bundle:
    """The bundle of a model, checked unless the registry vouches for it or the user does (``--trust``)."""
    from pvae_zoo.trust.admission import admit

    bundle = open_named(model)
    admit(bundle, trust=bool(click.get_current_context().meta.get(TRUST)))
    return bundle


def choose_model(model: str, device: str, threads: int | None) -> Chosen:
    """The model as a value, checked as `open_admitted` does and opened by whoever works with it."""
    from pvae_zoo.scale.places import Chosen

    return Chosen(name=model, bundle=open_admitted(model), device=device, threads=threads)


def load_model(model: str, device: str, threads: int | None) -> Model:
    """The model ready to use."""
    from pvae_zoo.runtime.model import Model

    return Model(open_admitted(model), device, threads)
