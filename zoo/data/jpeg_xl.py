"""What a JPEG XL file says of itself before it is decoded: its decoder has no such step, and a bomb fits in a kilobyte.

References:
    ISO/IEC 18181-1, annex D.2 (size header) and D.3 (image metadata), and 18181-2 (boxes).
"""

from __future__ import annotations

from dataclasses import dataclass

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height
_CODESTREAM = b"\xff\x0a"


@dataclass(frozen=True)
class JpegXlHeader:
    """The size that will be decoded, and whether there is more than one frame."""

    width: int
    height: int
    is_animated: bool


def read_header(data: bytes) -> JpegXlHeader:
    """The header of a codestream, bare or in a container.

    Raises:
        ValueError: if there is none.
    """
    stream = data if data.startswith(_CODESTREAM) else _contained(data)
    if not stream.startswith(_CODESTREAM):
        raise ValueError("no JPEG XL codestream")
    bits = _Bits(stream[2:40])
    width, height = _size(bits)
    is_animated = False
    if not bits.take(1) and bits.take(1):  # neither all defaults nor without further fields
        bits.take(3)  # orientation
        if bits.take(1):
            _size(bits)  # the size that it is meant to be shown in
        # A preview, whose header nobody writes, is taken for an animation: both have more than one picture.
        is_animated = bool(bits.take(1) or bits.take(1))
    return JpegXlHeader(width, height, is_animated)


def _contained(data: bytes) -> bytes:
    """The beginning of the codestream in a file of boxes, each a length, a name and its content."""
    place = 0
    while place + 16 <= len(data):
        length, name, start = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], place + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if name in (b"jxlc", b"jxlp"):
            start += 4 if name == b"jxlp" else 0  # the number of the part
            return data[start : start + 40]
        if length < 8:
            break
        place += length
    return b""


class _Bits:
    """Numbers from bytes, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the header is cut short")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def _size(bits: _Bits) -> tuple[int, int]:
    """Width and height of a size header."""
    is_small = bits.take(1)

    def length() -> int:
        return 8 * (bits.take(5) + 1) if is_small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    height = length()
    ratio = bits.take(3)
    if not ratio:
        return length(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height
