"""What real folders hold: every candidate has its row, and none of them changes the figures of another."""

import io
import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

GOOD = 500
SIDE = 8


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width, height):
    """A PNG of which only the header is large."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def odd_files(picture):
    """Files that must be refused, by name: ``picture`` is black and white, of the right size."""
    grey = Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE))
    colour = Image.merge("RGB", [grey, picture, grey])
    frames = [picture, picture.point(lambda value: 255 - value)]
    png, jpeg, gif = (encoded(picture, kind) for kind in ("PNG", "JPEG", "GIF"))
    clear = picture.convert("RGBA")
    clear.putalpha(10)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inner:
        inner.writestr("a.png", png)
    floats = Image.fromarray(np.full((SIDE, SIDE), np.nan, np.float32))
    files = {
        "size9x8.png": encoded(picture.resize((9, 8)), "PNG"),
        "size1x1.png": encoded(picture.resize((1, 1)), "PNG"),
        "size8x800.png": encoded(picture.resize((8, 800)), "PNG"),
        "turned.jpg": encoded(
            picture.resize((8, 9)), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0" + bytes(6)
        ),
        "grey.png": encoded(grey, "PNG"),
        "grey.jpg": encoded(grey, "JPEG"),
        "grey.webp": encoded(grey, "WEBP", lossless=True),
        "grey.pgm": encoded(grey, "PPM"),
        "colour.png": encoded(colour, "PNG"),
        "colour.bmp": encoded(colour, "BMP"),
        "colour.ppm": encoded(colour, "PPM"),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        "cmyk.tif": encoded(colour.convert("CMYK"), "TIFF"),
        "lab.tif": encoded(Image.new("LAB", (SIDE, SIDE)), "TIFF"),
        "palette.png": encoded(colour.quantize(16), "PNG"),
        "palette.gif": encoded(colour.quantize(16), "GIF"),
        "alpha.png": encoded(clear, "PNG"),
        "alpha.webp": encoded(clear, "WEBP", lossless=True),
        "alpha.tif": encoded(clear, "TIFF"),
        "key.png": encoded(picture, "PNG", transparency=255),
        "key.gif": encoded(picture, "GIF", transparency=255),
        "key1.png": encoded(picture.convert("1"), "PNG", transparency=1),
        "deep.png": encoded(Image.fromarray(np.full((SIDE, SIDE), 65535, np.uint16)), "PNG"),
        "deep.tif": encoded(Image.fromarray(np.full((SIDE, SIDE), 65535, np.uint16)), "TIFF"),
        "deep.pgm": b"P5 8 8 65535\n" + b"\xff" * 128,
        "deep.ppm": b"P6 8 8 65535\n" + b"\xff" * 384,
        "nan.tif": encoded(floats, "TIFF"),
        "inf.tif": encoded(floats.point(lambda value: value * 0 + 1e39), "TIFF"),
        "int32.tif": encoded(Image.fromarray(np.zeros((SIDE, SIDE), np.int32)), "TIFF"),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "pages.tif": encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]),
        "cut.png": png[:-20],
        "cut-early.png": png[:30],
        "cut.jpg": jpeg[:-20],
        "cut-early.jpg": jpeg[:50],
        "cut.gif": gif[:-20],
        "cut.bmp": encoded(picture, "BMP")[:-20],
        "cut.tif": encoded(picture, "TIFF")[:60],
        "cut.webp": encoded(picture, "WEBP", lossless=True)[:-10],
        "cut.ppm": b"P6 8 8 255\n" + b"\xff" * 20,
        "flipped.png": png[:45] + bytes([png[45] ^ 16]) + png[46:],
        "zero.png": b"\0" * 500,
        "empty.png": b"",
        "empty.jpg": b"",
        "text.png": b"a line of text\n",
        "page.jpg": b"<!doctype html><title>404</title>",
        "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "zip.png": archive.getvalue(),
        "icon.png": encoded(picture, "ICO"),
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>",
        "pickle.png": b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x05posix\x94.",
        "bomb8001.png": bomb(8001, 8001),
        "bomb60000.png": bomb(60_000, 60_000),
        "bomb-wide.png": bomb(2**31 - 1, 1),
        "bomb0.png": bomb(0, 8),
        "bomb.pgm": b"P5 99999 99999 255\n\0",
        "n" * 251 + ".png": b"a name as long as names may be",
    }
    files = {os.fsencode(name): data for name, data in files.items()}
    return files | {
        b"new\nline.png": b"x",
        b"bell\x07 and \x1b[31mred.png": b"x",
        b"latin\xe9.png": b"x",
        "right\u202eto left.png".encode(): b"x",
        b"quote'\"\\ %s {} $HOME.png": b"x",
        b"-rf.png": b"x",
    }


def fine_files(picture):
    """Unusual files that hold the same picture."""
    opaque = picture.convert("RGBA")
    return {
        "fine-bit.png": encoded(picture.convert("1"), "PNG"),
        "fine-rgb.png": encoded(picture.convert("RGB"), "PNG"),
        "fine-opaque.png": encoded(opaque, "PNG"),
        "fine-grey-alpha.png": encoded(picture.convert("LA"), "PNG"),
        "fine-palette.png": encoded(picture.convert("RGB").quantize(2), "PNG"),
        "fine-group4.tif": encoded(picture.convert("1"), "TIFF", compression="group4"),
        "fine-bit.pbm": encoded(picture.convert("1"), "PPM"),
        "fine-lossless.webp": encoded(picture.convert("RGB"), "WEBP", lossless=True),
        "fine-wrong-name.jpg": encoded(picture, "PNG"),
        "fine-junk-after.png": encoded(picture, "PNG") + b"junk",
        "fine-upright.png": encoded(picture.transpose(Image.Transpose.ROTATE_90), "PNG", exif=turned()),
    }


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right shows it upright
    return exif


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(9).integers(0, 2, (SIDE, SIDE), np.uint8) * 255)


@pytest.fixture
def folder(tmp_path):
    """Good images only."""
    path = tmp_path / "images"
    path.mkdir()
    values = np.random.default_rng(0).integers(0, 2, (GOOD, SIDE, SIDE), np.uint8) * 255
    for index, image in enumerate(values):
        Image.fromarray(image).save(path / f"good{index:03}.png")
    return path


@pytest.mark.timeout(120)
def test_every_odd_file_has_a_row_and_changes_no_other(run, model, folder, picture):
    alone = json.loads(run("nll", "--model", model, folder, "--json").stdout)
    assert alone["mean"]["count"] == GOOD
    odd = odd_files(picture)
    for name, data in odd.items():
        (folder / os.fsdecode(name)).write_bytes(data)
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    # No candidates: never opened, and no rows.
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "folder.png").mkdir()
    (folder / "folder.png" / "up").symlink_to("..")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"x")
    refused = len(odd) + 2
    assert refused >= 60

    result = run("nll", "--model", model, folder, "--json")
    assert result.exit_code == 3
    assert result.stderr == f"Error: {refused} of {GOOD + refused} images could not be used\n"
    found = json.loads(result.stdout)
    bad = [row for row in found["images"] if row["status"] == "error"]
    assert len(bad) == refused and all(row["reason"] for row in bad)
    assert [row for row in found["images"] if row["status"] == "ok"] == alone["images"]
    assert found["mean"] == alone["mean"] | {"failed": refused}

    table = run("nll", "--model", model, folder)
    assert table.exit_code == 3 and "\x1b" not in table.stdout and "\x07" not in table.stdout
    assert len(table.stdout.splitlines()) == 1 + GOOD + refused + 1


def test_an_unusual_file_of_the_same_picture_has_the_same_figures(run, model, picture, tmp_path):
    folder = tmp_path / "fine"
    folder.mkdir()
    picture.save(folder / "a.png")
    for name, data in fine_files(picture).items():
        (folder / name).write_bytes(data)
    result = run("nll", "--model", model, folder, "--json")
    assert result.exit_code == 0, result.stdout
    rows = json.loads(result.stdout)["images"]
    assert len(rows) == 12 and len({json.dumps(row | {"path": ""}) for row in rows}) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_has_a_row(run, model, folder):
    (folder / "good000.png").chmod(0)
    result = run("nll", "--model", model, folder, "--json")
    assert result.exit_code == 3 and "Permission denied" in json.loads(result.stdout)["images"][0]["reason"]
