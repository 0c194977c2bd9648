"""Are the golden vectors a small archive of plain arrays? Asked of the archive's directory, before it is unpacked."""

from __future__ import annotations

import io
import zipfile

from pvae_zoo.base.printable import shown
from pvae_zoo.trust.limits import GOLDEN_BYTES

_ARRAYS = 128
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def screen_golden(data: bytes) -> list[str]:
    """What is wrong with the bytes of ``golden.npz``, a line each; empty if nothing is.

    The sizes that the directory states are kept by `zipfile`: it hands out no more of an entry than that.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, OSError) as error:
        return [f"it is no archive of arrays: {shown(error)}"]
    problems = []
    if len(entries) > _ARRAYS:
        problems.append(f"it holds {len(entries)} entries, more than {_ARRAYS}")
    for entry in entries[:_ARRAYS]:
        if not entry.filename.endswith(".npy") or entry.is_dir():
            problems.append(f"it holds '{shown(entry.filename)}', which is no array")
        if entry.compress_type not in _METHODS or entry.flag_bits & 1:
            problems.append(f"'{shown(entry.filename)}' is packed in a way that NumPy does not use")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > GOLDEN_BYTES:
        problems.append(f"it unpacks to {unpacked >> 20} MiB, more than {GOLDEN_BYTES >> 20}")
    return problems
