"""In what numbers a bundle's graphs keep their weights and compute, and how closely they can be checked.

What the exporter writes is float32, or float16-weights where every large weight is exact in float16. The others come
of ``pvae-zoo convert``.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32, FLOAT16_WEIGHTS, FLOAT16, INT8 = "float32", "float16-weights", "float16", "int8"


TOLERANCE = 2e-4
"""How far float32 may be from itself on other machines: no closer where logits reach several hundred."""

PIXEL_SHARE = 1e-3
"""Share of drawn values that may differ in float32: those whose uniform stands within rounding of a threshold."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """One of them.

    Attributes:
        words: that a card says of it.
        arithmetic: what the networks compute in.
        gap: that outputs may be from the golden vectors, absolute up to 1, relative beyond.
        bits: that the log-likelihood of a golden image may be from its golden one, in bits per dimension.
        draws: share of the golden images' values that may be drawn otherwise; None where that proves nothing.
    """

    words: str
    arithmetic: str
    gap: float
    bits: float
    draws: float | None

    @property
    def is_float32(self) -> bool:
        """Whether it computes what PyTorch does with the weights that the graphs hold."""
        return self.arithmetic == "float32"


PRECISIONS = {
    FLOAT32: Precision(words="float32", arithmetic="float32", gap=TOLERANCE, bits=1e-4, draws=PIXEL_SHARE),
    FLOAT16_WEIGHTS: Precision(
        words="large weights stored as float16, computed with in float32",
        arithmetic="float32", gap=TOLERANCE, bits=1e-4, draws=PIXEL_SHARE,
    ),
    FLOAT16: Precision(
        words="computed with in float16 up to the logits, from there on in float32",
        arithmetic="float16", gap=0.25, bits=0.01, draws=None,
    ),
    INT8: Precision(
        words="large weights stored as int8, and multiplied so in the step graphs",
        arithmetic="int8", gap=0.1, bits=0.01, draws=None,
    ),
}  # fmt: skip
"""By the name that ``pvae-zoo convert --precision`` has for them.

With coarser numbers a sum that another processor rounds otherwise in its last bit can fall to another of them, and a
layer further on the difference is that of two neighbours: a log-probability of one value may be off by as much as
``gap``, that of an image hardly. A value that falls to the other side of its threshold changes all that are drawn after
it.
"""
