import io
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

from pvae_zoo.trust import vectors
from pvae_zoo.trust.vectors import screen_golden


def archive(*entries, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in entries:
            file.writestr(name, data)
    return buffer.getvalue()


def encrypted(data):
    """The archive with the flag of encryption set for its one entry."""
    marked = bytearray(data)
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[marked.index(signature) + at] |= 1
    return bytes(marked)


def test_golden_vectors_of_ours_pass(tiny):
    assert screen_golden(tiny.bundle.read(tiny.bundle.config.golden)) == []


@pytest.mark.parametrize("data", [b"", b"PK", bytes(1000), b"\x93NUMPY" + bytes(100), archive(("a.npy", b"x"))[:-9]])
def test_what_is_no_archive_is_refused(data):
    (problem,) = screen_golden(data)
    assert problem.startswith("it is no archive of arrays: ")


def test_an_archive_that_unpacks_to_much_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(vectors, "GOLDEN_BYTES", 1 << 20)
    bomb = archive(*((f"{i}.npy", bytes(1 << 18)) for i in range(5)))
    assert len(bomb) < 5000
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("an entry was opened"))
    assert screen_golden(bomb) == ["it unpacks to 1 MiB, more than 1"]


def test_a_directory_that_lies_gives_no_more_than_it_says():
    """What the bound counts is what `zipfile` hands out at most."""
    bomb = bytearray(archive(("a.npy", bytes(1 << 20))))
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = bomb.index(signature) + at
        bomb[place : place + 4] = struct.pack("<I", 100)
    checksum = bomb.index(b"PK\x01\x02") + 16
    bomb[checksum : checksum + 4] = struct.pack("<I", zlib.crc32(bytes(100)))
    assert screen_golden(bytes(bomb)) == []
    with zipfile.ZipFile(io.BytesIO(bytes(bomb))) as file, file.open("a.npy") as entry:
        assert len(entry.read()) == 100


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (archive(("a.txt", b"x")), "it holds 'a.txt', which is no array"),
        (archive(("../a", b"x")), "it holds '../a', which is no array"),
        (archive(("a.npy/", b"")), "which is no array"),
        (archive(("\x1b[2J" + "A" * 1000, b"x")), "it holds '\\x1b[2J"),
        (archive(("a.npy", b"x"), method=zipfile.ZIP_LZMA), "'a.npy' is packed in a way that NumPy does not use"),
        (archive(("a.npy", b"x"), method=zipfile.ZIP_BZIP2), "'a.npy' is packed in a way that NumPy does not use"),
        (encrypted(archive(("a.npy", b"x"))), "'a.npy' is packed in a way that NumPy does not use"),
        (archive(*((f"{i}.npy", b"") for i in range(129))), "it holds 129 entries, more than 128"),
    ],
    ids=["text", "parent", "folder", "escape", "LZMA", "BZIP2", "encrypted", "many"],
)
def test_entries_that_are_no_arrays_are_refused(data, fragment):
    problems = screen_golden(data)
    assert any(fragment in problem for problem in problems)
    assert all(problem.isprintable() and len(problem) < 200 for problem in problems)


def test_the_screening_takes_no_time(gates):
    data = gates.bundle.read(gates.bundle.config.golden)
    start = time.process_time()
    screen_golden(data)
    assert time.process_time() - start < 1
    assert np.load(io.BytesIO(data), allow_pickle=False).files
