"""Finding images, and refusing every one whose pixels would have to be guessed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from pvae_zoo.errors import PvaeZooError
from pvae_zoo.models.architecture import ImageShape
from pvae_zoo.runtime.images import MAX_PIXELS, ImageError, ImageSource, find_images, read_image

GREY = ImageShape(channels=1, height=4, width=6, levels=256)
COLOUR = ImageShape(channels=3, height=4, width=6, levels=256)
BINARY = ImageShape(channels=1, height=4, width=6, levels=2)

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
RAINBOW = np.stack([RAMP, RAMP.T.reshape(4, 6), 255 - RAMP], axis=-1)
CHECKS = (np.indices((4, 6)).sum(axis=0) % 2 * 255).astype(np.uint8)


def saved(path: Path, picture: Image.Image | np.ndarray, **options) -> ImageSource:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, **options)
    return ImageSource(path.name, path)


def source_of(path: Path, data: bytes) -> ImageSource:
    path.write_bytes(data)
    return ImageSource(path.name, path)


def refusal(source: ImageSource, image: ImageShape, **options) -> str:
    with pytest.raises(ImageError) as error:
        read_image(source, image, **options)
    message = str(error.value)
    assert str(source.path) not in message and "\n" not in message
    return message


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, depth: int, colour: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(pixels)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


# Finding


def names(*paths: str) -> list[str]:
    return [source.name for source in find_images(paths)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``digits`` with images, other things and hidden things, as the working directory's child."""
    for name in ("b.png", "a.JPG", "c d [1].png", "sub/ü 数.webp", "sub/deep/x.tif", ".hidden.png", ".git/y.png"):
        path = tmp_path / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not looked at")
    (tmp_path / "digits" / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FOUND = ["digits/a.JPG", "digits/b.png", "digits/c d [1].png", "digits/sub/deep/x.tif", "digits/sub/ü 数.webp"]


@pytest.mark.parametrize("path", ["digits", "digits/", "digits/**", "digit?", "./digits", "digits/../digits/"])
def test_a_folder_gives_its_images_sorted(tree: Path, path: str):
    assert [os.path.normpath(name) for name in names(path)] == FOUND


def test_files_are_taken_as_they_are_and_in_the_order_given(tree: Path):
    assert names("digits/notes.txt", "digits/c d [1].png", "digits/.hidden.png", "digits/b.png") == [
        "digits/notes.txt",
        "digits/c d [1].png",
        "digits/.hidden.png",
        "digits/b.png",
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("digits/*.png", ["digits/b.png", "digits/c d [1].png"]),
        ("digits/[ab].*", ["digits/a.JPG", "digits/b.png"]),
        ("digits/.h*", ["digits/.hidden.png"]),
        ("digits/**/*.[tw][ie]*", FOUND[3:]),
        ("*/sub", FOUND[3:]),
        ("**/x.tif", ["digits/sub/deep/x.tif"]),
    ],
)
def test_globs(tree: Path, pattern: str, found: list[str]):
    assert names(pattern) == found
    assert [os.path.relpath(name, tree) for name in names(str(tree / pattern))] == found


def test_a_name_that_exists_is_no_pattern(tree: Path):
    folder = tree / "set [ab]*"
    folder.mkdir()
    for name in ("1.png", "2.png", "[1].png"):
        (folder / name).touch()
    assert names("set [ab]*/[1].png") == ["set [ab]*/[1].png"]
    assert names("set [ab]*/?.png") == ["set [ab]*/1.png", "set [ab]*/2.png"]
    assert len(names("set [ab]*")) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent", "no file or folder absent: give images, folders, zips or a quoted '*.png'"),
        ("", "no file or folder : give"),
        ("digits/absent/", "no file or folder digits/absent/"),
        ("digits/nul\0", "no file or folder digits/nul\\x00"),
        ("digits/*.bmp", "nothing matches digits/*.bmp"),
        ("absent/*.png", "nothing matches absent/*.png"),
        ("void", "no images in void: expected files ending in .bmp .gif"),
        ("void.zip", "no images in void.zip: expected files"),
        ("bad.zip", "cannot open bad.zip as a zip (File is not a zip file): fetch it again"),
        ("pipe.png", "pipe.png is a broken link, a pipe or a device"),
        ("loop.png", "loop.png is a broken link, a pipe or a device"),
        ("/dev/null", "/dev/null is a broken link, a pipe or a device"),
    ],
)
def test_what_cannot_be_found_is_named(tree: Path, path: str, message: str):
    (tree / "void").mkdir()
    (tree / "void" / "notes.txt").touch()
    (tree / "bad.zip").write_bytes(b"PK\x03\x04 cut short")
    with zipfile.ZipFile(tree / "void.zip", "w") as archive:
        archive.writestr("notes.txt", "")
    os.mkfifo(tree / "pipe.png")
    (tree / "loop.png").symlink_to("loop.png")
    with pytest.raises(PvaeZooError) as error:
        find_images([path])
    assert message in str(error.value)


@pytest.mark.timeout(20)
def test_loops_pipes_and_devices_in_a_folder_are_left_alone(tree: Path):
    os.mkfifo(tree / "digits" / "pipe.png")
    (tree / "digits" / "null.png").symlink_to("/dev/zero")
    (tree / "digits" / "sub" / "up").symlink_to("..")
    (tree / "digits" / "sub" / "again").symlink_to("../sub")
    assert names("digits") == FOUND
    assert names("digits/**/*.tif") == FOUND[3:4]


def test_a_linked_folder_is_searched_and_a_broken_link_gets_its_row(tree: Path):
    (tree / "links").mkdir()
    (tree / "links" / "there").symlink_to("../digits/sub")
    (tree / "links" / "gone.png").symlink_to("nowhere")
    gone, deep, _ = find_images(["links"])
    assert (gone.name, deep.name) == ("links/gone.png", "links/there/deep/x.tif")
    assert "is a link to a missing file" in refusal(gone, GREY)


def test_a_file_that_turns_into_a_pipe_is_not_opened(tree: Path):
    (source,) = find_images(["digits/b.png"])
    source.path.unlink()
    os.mkfifo(source.path)
    assert "is no longer there" in refusal(source, GREY)


def test_names_are_safe_to_print(tmp_path: Path):
    for name in (b"bell\x07.png", b"latin\xe9.png", "turned\u202e.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    sources = find_images([tmp_path])
    assert [Path(source.name).name for source in sources] == ["bell\\x07.png", "latin\\udce9.png", "turned\\u202e.png"]
    assert [source.read(9) for source in sources] == [b"x"] * 3


# Zips


def test_a_zip_is_read_like_the_folder_in_it(tree: Path):
    with zipfile.ZipFile("digits.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(Path("digits").rglob("*"), reverse=True):
            archive.write(path, path.relative_to("digits"))
        archive.writestr("__MACOSX/b.png", "")
    assert names("digits.ZIP") == [name.replace("digits", "digits.ZIP", 1) for name in FOUND]
    assert names("*.ZIP") == names("digits.ZIP")
    assert find_images(["digits.ZIP"])[0].read(100) == b"not looked at"


def test_a_bad_member_costs_only_its_own_row(tmp_path: Path):
    path = tmp_path / "set.zip"
    good = io.BytesIO()
    Image.fromarray(RAMP).save(good, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.writestr(name, good.getvalue())
        start = archive.getinfo("b.png").header_offset + 60
    data = bytearray(path.read_bytes())
    data[start] ^= 255
    path.write_bytes(data)
    first, bad, last = find_images([path])
    assert np.array_equal(read_image(first, GREY), RAMP[None]) and np.array_equal(read_image(last, GREY), RAMP[None])
    assert refusal(bad, GREY).startswith("cannot be read (Bad CRC-32 for file 'b.png'")


def test_an_encrypted_member_says_so(tmp_path: Path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"x")
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    assert "is encrypted, password required" in refusal(find_images([path])[0], GREY)


def test_a_source_reads_no_more_than_allowed(tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(3 << 20))
    for source in (*find_images([path]), source_of(tmp_path / "a.png", bytes(3 << 20))):
        assert len(source.read(3 << 20)) == 3 << 20
        with pytest.raises(ImageError, match="has more than 2 MiB: make it smaller first"):
            source.read(2 << 20)


# Reading what is well formed


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tif", "ppm", "gif", "pgm"])
def test_lossless_formats_keep_every_value(tmp_path: Path, suffix: str):
    options = {"lossless": True} if suffix == "webp" else {}
    source = saved(tmp_path / f"x.{suffix}", RAMP, **options)
    assert np.array_equal(read_image(source, GREY), RAMP[None])
    assert np.array_equal(read_image(source, COLOUR), np.stack([RAMP] * 3))
    if suffix not in ("gif", "pgm"):
        source = saved(tmp_path / f"y.{suffix}", RAINBOW, **options)
        values = read_image(source, COLOUR)
        assert np.array_equal(values, RAINBOW.transpose(2, 0, 1)) and values.dtype == np.uint8
        assert values.flags.c_contiguous


def test_the_suffix_does_not_matter(tmp_path: Path):
    source = saved(tmp_path / "x.jpg", RAMP, format="PNG")
    assert np.array_equal(read_image(source, GREY), RAMP[None])


def test_grey_in_a_colour_or_palette_file_is_grey(tmp_path: Path):
    grey = np.repeat(RAMP[..., None], 3, axis=-1)
    for name, picture in (("rgb", Image.fromarray(grey)), ("palette", Image.fromarray(grey).quantize(256))):
        source = saved(tmp_path / f"{name}.png", picture)
        assert np.array_equal(read_image(source, GREY), RAMP[None]), name
    palette = saved(tmp_path / "colours.png", Image.fromarray(RAINBOW).quantize(24))
    assert np.array_equal(read_image(palette, COLOUR), RAINBOW.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_print_and_video_colours_become_rgb(tmp_path: Path, mode: str):
    picture = Image.new("RGB", (6, 4), (200, 100, 50)).convert(mode)
    values = read_image(saved(tmp_path / "x.tif", picture, compression="packbits"), COLOUR)
    assert np.abs(values.astype(int) - np.array([200, 100, 50]).reshape(3, 1, 1)).max() <= 2


def test_exif_orientation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right shows it upright
    source = saved(tmp_path / "x.png", np.rot90(RAMP).copy(), exif=exif)
    with Image.open(source.path) as picture:
        assert picture.size == (4, 6)
    assert np.array_equal(read_image(source, GREY), RAMP[None])


@pytest.mark.parametrize("levels", [3, 16, 255])
def test_fewer_levels_divide_the_range_evenly(tmp_path: Path, levels: int):
    image = ImageShape(channels=1, height=4, width=6, levels=levels)
    values = read_image(saved(tmp_path / "x.png", RAMP), image)
    assert np.array_equal(values[0], RAMP.astype(int) * levels // 256)


# Transparency


def with_alpha(alpha: int) -> Image.Image:
    picture = Image.fromarray(RAINBOW).convert("RGBA")
    picture.putalpha(alpha)
    return picture


def test_opaque_alpha_is_dropped(tmp_path: Path):
    for name, picture in (("rgba", with_alpha(255)), ("la", Image.fromarray(RAMP).convert("LA"))):
        shape, values = (COLOUR, RAINBOW.transpose(2, 0, 1)) if name == "rgba" else (GREY, RAMP[None])
        assert np.array_equal(read_image(saved(tmp_path / f"{name}.png", picture), shape), values)
    unused_key = saved(tmp_path / "key.png", RAMP, transparency=3)
    assert np.array_equal(read_image(unused_key, GREY), RAMP[None])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("rgba.png", lambda: (with_alpha(254), {})),
        ("rgba.webp", lambda: (with_alpha(10), {"lossless": True})),
        ("rgba.tif", lambda: (with_alpha(254), {})),
        ("la.png", lambda: (with_alpha(0).convert("LA"), {})),
        ("palette.png", lambda: (Image.fromarray(RAINBOW).quantize(24), {"transparency": b"\x80\xff"})),
        ("palette.gif", lambda: (Image.fromarray(RAINBOW).quantize(24), {"transparency": 3})),
        ("key.png", lambda: (Image.fromarray(RAMP), {"transparency": 30})),
        ("colour key.png", lambda: (Image.fromarray(RAINBOW), {"transparency": tuple(map(int, RAINBOW[0, 0]))})),
        ("bit.png", lambda: (Image.fromarray(CHECKS).convert("1"), {"transparency": 0})),
    ],
)
def test_transparency_is_refused(tmp_path: Path, name: str, make: Callable):
    picture, options = make()
    source = saved(tmp_path / name, picture, **options)
    message = "has transparent pixels, and the model knows no background: flatten it onto one first"
    assert refusal(source, COLOUR, resize=True) == message


# Depth, frames, bombs, damage


def deep_files() -> dict[str, bytes]:
    """16-bit and float images; Pillow reads the colour ones as if they had 8 bits."""
    grey = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2000
    files = {}
    for name, array in (("i16.png", grey), ("i16.tif", grey), ("i32.tif", grey.astype(np.int32))):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG" if name.endswith("png") else "TIFF")
        files[name] = buffer.getvalue()
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.float32)).save(buffer, "TIFF")
    files["f32.tif"] = buffer.getvalue()
    for name, colour, samples in (("g16.png", 0, 1), ("rgb16.png", 2, 3), ("la16.png", 4, 2), ("rgba16.png", 6, 4)):
        files[name] = png_of(6, 4, 16, colour, b"".join(b"\0" + b"\xff" * (12 * samples) for _ in range(4)))
    files["g16.pgm"] = b"P5 6 4 65535\n" + grey.astype(">u2").tobytes()
    files["rgb16.ppm"] = b"P6 6 4 65535\n" + np.repeat(grey, 3).astype(">u2").tobytes()
    files["plain.ppm"] = b"P3 6 4 1023\n" + b"1000 " * 72
    files["f.pfm"] = b"Pf\n6 4\n-1.0\n" + grey.astype("<f4").tobytes()
    files["rgb16.tif"] = rgb16_tiff(np.repeat(grey, 3).astype("<u2").tobytes())
    return files


def rgb16_tiff(pixels: bytes) -> bytes:
    entries = [(256, 3, 1, 6), (257, 3, 1, 4), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 256)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, len(pixels))]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    data = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    return data.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16).ljust(56, b"\0") + pixels


@pytest.mark.parametrize("name", sorted(deep_files()))
def test_more_than_8_bits_are_refused(tmp_path: Path, name: str):
    message = refusal(source_of(tmp_path / name, deep_files()[name]), COLOUR)
    assert message == "has more than 8 bits a value: save it with 8 bits"


def test_colour_modes_nobody_asked_for_are_refused(tmp_path: Path):
    source = saved(tmp_path / "x.tif", Image.new("LAB", (6, 4)))
    assert refusal(source, COLOUR) == "has the colour mode LAB: save it as grey or RGB"


@pytest.mark.parametrize("suffix", ["gif", "png", "tif", "webp"])
def test_animations_and_pages_are_refused(tmp_path: Path, suffix: str):
    frames = [Image.fromarray(RAMP + step) for step in (0, 5, 10)]
    source = saved(tmp_path / f"x.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert refusal(source, GREY) == (
        "holds 3 frames (an animation or pages): save the one you mean as a file of its own"
    )


@pytest.mark.parametrize("side", [8001, 10_000, 20_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int):
    """10,000 squared is where Pillow only warns, 20,000 squared where it refuses."""
    assert side * side > MAX_PIXELS
    source = source_of(tmp_path / "bomb.png", png_of(side, side, 8, 0, b""))
    assert refusal(source, GREY, resize=True) == "has more than 64 megapixels: make it smaller first"


def test_what_is_no_image(tmp_path: Path):
    known = "is damaged or no PNG, JPEG, WEBP, BMP, GIF, TIFF or PPM image: convert it first"
    assert refusal(source_of(tmp_path / "a.png", b""), GREY) == "is empty: fetch it again"
    assert refusal(source_of(tmp_path / "b.png", b"a line of text"), GREY) == known
    assert refusal(source_of(tmp_path / "c.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\n"), GREY) == known
    assert refusal(saved(tmp_path / "d.ico", Image.fromarray(CHECKS), format="ICO"), GREY) == known


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif", "ppm"])
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_cut_file_is_refused_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, tolerant: bool
):
    """Grey padding would give a likelihood like any other, whatever the program around us told Pillow."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    source = saved(tmp_path / f"x.{suffix}", np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8))
    image = ImageShape(channels=3, height=28, width=28, levels=256)
    data, whole = source.path.read_bytes(), read_image(source, image)
    for length in range(1, len(data), 1 + len(data) // 60):
        source.path.write_bytes(data[:length])
        assert refusal(source, image).startswith("is damaged or")
    # Without its last bytes, an end mark in some formats, a file may still hold all of the picture.
    source.path.write_bytes(data[:-2])
    try:
        assert np.array_equal(read_image(source, image), whole)
    except ImageError as error:
        assert "is damaged or" in str(error)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


def test_one_flipped_bit_in_a_png_is_noticed(tmp_path: Path):
    source = saved(tmp_path / "x.png", RAMP)
    data = source.path.read_bytes()
    end = len(data) - 12  # the last chunk only says that it is the last
    for bit in range(0, 8 * end, 5):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        source.path.write_bytes(damaged)
        assert "damaged" in refusal(source, GREY)


# What the model takes


def test_colour_for_a_grey_model(tmp_path: Path):
    source = saved(tmp_path / "x.png", RAINBOW)
    assert refusal(source, GREY) == "is in colour, the model takes grey images: add --convert"
    expected = np.asarray(Image.fromarray(RAINBOW).convert("L"))
    assert np.array_equal(read_image(source, GREY, convert=True), expected[None])


def test_size(tmp_path: Path):
    source = saved(tmp_path / "x.png", Image.new("L", (32, 30), 77))
    assert refusal(source, GREY) == "is 32x30, the model takes 6x4: add --resize"
    assert refusal(source, BINARY) == "is 32x30, the model takes 6x4: add --resize --binarize 128"
    assert refusal(source, BINARY, resize=True) == (
        "is 32x30, the model takes 6x4 in black and white, and resizing makes greys: add --binarize 128 to --resize"
    )
    assert (read_image(source, GREY, resize=True) == 77).all()
    assert (read_image(source, BINARY, resize=True, binarize=77) == 1).all()


def test_resizing_crops_the_centre_to_the_aspect_ratio(tmp_path: Path):
    wide = np.zeros((8, 40), np.uint8)
    wide[:, 14:26] = 200  # the centre 12 columns have the model's 6:4
    assert (read_image(saved(tmp_path / "x.png", wide), GREY, resize=True)[0, :, 1:-1] >= 199).all()
    thin = saved(tmp_path / "y.png", Image.new("L", (1, 500), 9))
    assert (read_image(thin, GREY, resize=True) == 9).all()


def test_black_and_white(tmp_path: Path):
    bits = CHECKS[None] // 255
    palette = Image.frombytes("P", (6, 4), (CHECKS // 255).tobytes())
    palette.putpalette([0, 0, 0, 255, 255, 255])
    for name, picture in (
        ("grey.png", Image.fromarray(CHECKS)),
        ("bit.png", Image.fromarray(CHECKS).convert("1")),
        ("bit.pbm", Image.fromarray(CHECKS).convert("1")),
        ("palette.png", palette),
        ("colour.png", Image.fromarray(CHECKS).convert("RGB")),
    ):
        assert np.array_equal(read_image(saved(tmp_path / name, picture), BINARY), bits), name
    for value in (0, 255):
        assert (read_image(saved(tmp_path / "flat.png", Image.new("L", (6, 4), value)), BINARY) == value // 255).all()


def test_grey_for_a_black_and_white_model(tmp_path: Path):
    source = saved(tmp_path / "x.png", RAMP)
    assert refusal(source, BINARY) == "has grey values, the model takes black and white: add --binarize 128"
    assert np.array_equal(read_image(source, BINARY, binarize=50), RAMP[None] >= 50)
    nearly_black = saved(tmp_path / "y.png", CHECKS // 255)
    assert refusal(nearly_black, BINARY) == (
        "has the values 0 and 1 of 255, all nearly black: add --binarize 1 if 1 means white"
    )
    assert np.array_equal(read_image(nearly_black, BINARY, binarize=1), CHECKS[None] // 255)


@pytest.mark.parametrize(
    ("image", "binarize", "message"),
    [
        (GREY, 128, "--binarize is for black-and-white models, this one has 256 levels"),
        (BINARY, 0, "--binarize 0 is no threshold: give one from 1 to 255"),
        (BINARY, 256, "--binarize 256 is no threshold"),
        (ImageShape(channels=2, height=4, width=6, levels=256), None, "the model takes 2 channels"),
    ],
)
def test_options_that_suit_no_image_are_not_the_images_fault(tmp_path: Path, image, binarize, message: str):
    source = saved(tmp_path / "x.png", RAMP)
    with pytest.raises(PvaeZooError) as error:
        read_image(source, image, binarize=binarize)
    assert message in str(error.value) and not isinstance(error.value, ImageError)
