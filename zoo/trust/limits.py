"""What a bundle that nobody vouches for may cost, and how the process that tries it is held to that.

The sizes are generous for what the zoo's networks are (PixelVAE's largest has images of 64x64, and graphs of some
300 MiB) and keep a config or a graph from asking for terabytes in a few bytes.
"""

from __future__ import annotations

import sys

GRAPH_BYTES = 1 << 30
"""Of one graph's file; also its constants, as float32."""

BUNDLE_BYTES = 2 << 30
"""Of all files together."""

GOLDEN_BYTES = 512 << 20
"""Of the golden vectors, decompressed."""

METADATA_BYTES = 1 << 20
"""Of a graph's metadata, which a host parses as JSON."""

IMAGE_LOGITS = 1 << 26
"""Decoder outputs for one image: 256 MiB in float32."""

LATENTS = 1 << 20
"""Dimensions of one level."""

DRAWING_BYTES = 1 << 30
"""Canvases and context of one image while it is drawn."""

TENSOR_ELEMENTS = 1 << 28
"""Of any tensor whose size is declared: 1 GiB in float32."""

ENTRIES = 10_000
"""Nodes, constants, inputs or anything else of which a graph has a list."""

MEMORY = 4 << 30
"""Address space of the process that tries a bundle."""

_SECONDS = 10
_BYTES_PER_SECOND = 10 << 20


def seconds_for(size: int) -> int:
    """Seconds of computing that a bundle of ``size`` bytes may take to be looked into and run once."""
    return _SECONDS + size // _BYTES_PER_SECOND


def limit_this_process(seconds: int, memory: int = MEMORY) -> None:
    """Hold this process to so much computing and memory; it can write no file and leaves no core behind.

    The kernel ends a process that computes longer; one that asks for more memory gets a `MemoryError` or its like. On
    Windows this does nothing, and on macOS the limit of memory is not kept: there the parent's clock is what ends a
    trial.
    """
    if sys.platform == "win32":
        return
    import resource

    wanted = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, limit in wanted.items():
        _, hard = resource.getrlimit(what)
        # At the hard limit of time the kernel kills; at the soft one, just before, its signal says why.
        last = limit + 1 if what == resource.RLIMIT_CPU else limit
        last = last if hard == resource.RLIM_INFINITY else min(last, hard)
        try:
            resource.setrlimit(what, (min(limit, last), last))
        except (OSError, ValueError):  # a system that does not know this limit
            continue
