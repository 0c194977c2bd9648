"""What a likelihood is computed in: float32, TF32 on a GPU, or float16, without a conversion of the bundle."""

from __future__ import annotations

from typing import Literal, get_args

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.sessions import CUDA

ScorePrecision = Literal["float32", "tf32", "float16"]
"""float32; TF32, whose products have 10 bits of mantissa, on NVIDIA GPUs since Ampere; float16 up to the logits."""

FLOAT32: ScorePrecision = "float32"
SCORE_PRECISIONS: tuple[ScorePrecision, ...] = get_args(ScorePrecision)


def check_precision(precision: ScorePrecision, bundle: Bundle, provider: str | None = None) -> None:
    """Refuse a precision that a bundle or a device does not have.

    Args:
        precision: what is asked for; "float32" takes any bundle as it is.
        bundle: whose graphs compute.
        provider: what runs them, where that is known.

    Raises:
        PvaeZooError: saying what would do.
    """
    if precision not in SCORE_PRECISIONS:
        raise PvaeZooError(
            f"--precision {precision}: choose {', '.join(SCORE_PRECISIONS[:-1])} or {SCORE_PRECISIONS[-1]}"
        )
    if precision == FLOAT32:
        return
    config = bundle.config
    if not config.numbers.is_float32:
        source = config.conversion.source if config.conversion else "the bundle that it was made of"
        raise PvaeZooError(
            f"--precision {precision}: {bundle.name} is converted to {config.precision} and computes in that: leave "
            f"out --precision, or score {source}, which it was made of"
        )
    if precision == "tf32" and provider not in (None, CUDA):
        raise PvaeZooError(
            f"--precision tf32 is for NVIDIA GPUs, and this runs on {provider}: add --device cuda, or leave it out"
        )


def in_float16(data: bytes, where: str) -> bytes:
    """A graph that computes in float16, as ``pvae-zoo convert --precision float16`` makes it.

    Args:
        data: a graph of a bundle in float32, verified.
        where: it lies, for errors.

    Raises:
        PvaeZooError: if a weight is too large for float16.
    """
    from pvae_zoo.graphs.half import as_float16
    from pvae_zoo.graphs.rewriting import checked, parsed

    return checked(as_float16(parsed(data, where)), where)
