"""Is what a config says fit to be shown and reckoned with? Asked whenever a bundle is opened, whoever vouches for it.

A config is text that somebody wrote. What it names and describes reaches terminals, file names and cards, and its
numbers are divided and formatted there: so texts are lines of printable characters, numbers are of a size that float64
holds, and what it says of the training has the type that `pvae_zoo.export` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from pvae_zoo.base.printable import shown, spelled

_MOST = 2**63
_COUNTS = ("batch_size", "best_step", "images_seen", "steps")
_NUMBERS = (*_COUNTS, "hours", "learning_rate", "valid_elbo_nats", "weight_decay")
_TEXTS = ("crop", "hardware", "initialised_from")
_MAY_BE_NONE = ("hardware", "initialised_from", "valid_elbo_nats")


def odd_statement(stated: dict[str, Any]) -> str | None:
    """The first thing in a parsed config that is not fit to be shown, in words; None if all is."""
    return next((problem for problem in chain(_odd_training(stated.get("training")), _odd_values(stated))), None)


def _odd_values(stated: Any) -> Iterator[str]:
    waiting = [stated]  # not recursive: a config may be nested as deep as its parser goes
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and spelled(value) != value:
            yield f"it says '{shown(value)}', which is no line of printable characters"
        elif isinstance(value, int | float) and not -_MOST < value < _MOST:
            yield f"it says {shown(value)}, which is no number to reckon with"


def _odd_training(training: Any) -> Iterator[str]:
    if not isinstance(training, dict):
        return  # the types of the config are checked elsewhere
    for key, value in training.items():
        if key in _NUMBERS and not (_is_number(value) or (value is None and key in _MAY_BE_NONE)):
            yield f"training.{key} is {shown(value)}, not a number"
        elif key in _COUNTS and not isinstance(value, int):
            yield f"training.{key} is {shown(value)}, not a whole number"
        elif key in _TEXTS and not (isinstance(value, str) or (value is None and key in _MAY_BE_NONE)):
            yield f"training.{key} is {shown(value)}, not a text"
        elif key == "scale" and not (isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))):
            yield f"training.scale is {shown(value)}, not two numbers"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST < value < _MOST
