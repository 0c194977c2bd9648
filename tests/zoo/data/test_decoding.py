"""Reading images, and refusing every one whose pixels would have to be guessed."""

from __future__ import annotations

import importlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, TiffImagePlugin

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data import image_kinds
from pvae_zoo.data.decoding import MAX_PIXELS
from pvae_zoo.data.fit import Fit, read_noted
from pvae_zoo.data.images import ImageError, ImageSource, find_images
from pvae_zoo.data.jpeg_xl import JpegXlHeader, read_header

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


def read_image(source: ImageSource, image: ImageShape, **options) -> np.ndarray:
    return read_noted(source, image, Fit(**options))[0]


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
    assert refusal(source, GREY) == "is in colour, the model takes grey: add --convert"
    expected = np.asarray(Image.fromarray(RAINBOW).convert("L"))
    assert np.array_equal(read_image(source, GREY, convert=True), expected[None])


def test_size(tmp_path: Path):
    source = saved(tmp_path / "x.png", Image.new("L", (32, 30), 77))
    assert refusal(source, GREY) == "is 32x30, the model takes 6x4: add --resize"
    size = "is 32x30, the model takes 6x4"
    assert refusal(source, BINARY) == f"{size} in black and white: add --prepare, or --resize --binarize 128"
    assert refusal(source, BINARY, resize=True) == f"{size} in black and white: add --binarize 128"
    assert (read_image(source, GREY, resize=True) == 77).all()
    assert (read_image(source, BINARY, resize=True, binarize=77) == 1).all()


def test_resizing_crops_the_centre_to_the_aspect_ratio(tmp_path: Path):
    wide = np.zeros((8, 40), np.uint8)
    wide[:, 14:26] = 200  # the centre 12 columns have the model's 6:4
    assert (read_image(saved(tmp_path / "x.png", wide), GREY, resize=True)[0, :, 1:-1] >= 199).all()
    thin = saved(tmp_path / "y.png", Image.new("L", (1, 500), 9))
    assert (read_image(thin, GREY, resize=True, enlarge=True) == 9).all()


def test_what_is_tiny_is_blown_up_only_when_asked(tmp_path: Path):
    half, less = (saved(tmp_path / f"{w}.png", Image.new("L", (w, 4), 9)) for w in (3, 2))
    assert (read_image(half, GREY, resize=True) == 9).all()
    sizes = "is 2x4, the model takes 6x4"
    assert refusal(less, GREY, resize=True) == f"{sizes}: add --enlarge"
    assert refusal(less, GREY) == f"{sizes}: add --resize --enlarge"
    both = f"{sizes} in black and white: add"
    assert refusal(less, BINARY) == f"{both} --prepare --enlarge, or --resize --enlarge --binarize 128"
    assert refusal(less, BINARY, resize=True) == f"{both} --enlarge --binarize 128"
    assert (read_image(less, GREY, resize=True, enlarge=True) == 9).all()
    assert (Fit(resize=True, enlarge=True).read(less, GREY)[0] == 9).all()
    with pytest.raises(PvaeZooError, match="--enlarge lets --resize and --prepare blow up tiny images: add one"):
        Fit(enlarge=True)


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
    assert refusal(source, BINARY) == "is in greys, the model takes black and white: add --binarize 128"
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


# Cameras and the web


def test_the_first_picture_of_a_stereo_camera_is_read(tmp_path: Path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((200, 10, 10), (10, 200, 10))]
    source = saved(tmp_path / "x.jpg", frames[0], format="MPO", save_all=True, append_images=frames[1:])
    values, note = read_noted(source, COLOUR)
    assert note == "first of 2 pictures"
    assert values[0].min() > 150 and values[1].max() < 60


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x", "x.dat"])
def test_endings_do_not_matter(tmp_path: Path, name: str):
    saved(tmp_path / name, RAMP, format="JPEG", quality=100)
    (source,) = find_images([tmp_path])
    assert np.abs(read_image(source, GREY)[0].astype(int) - RAMP).max() < 12


@pytest.mark.parametrize(("kind", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl"), ("AVIF", None)])
def test_codecs_of_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str | None):
    if module is not None:
        pytest.importorskip(module)
        source_of(tmp_path / "empty.avif", b"")
    if kind == "HEIF":
        importlib.import_module("pillow_heif").register_heif_opener()
    picture = Image.new("RGB", (64, 48), (200, 100, 50))
    picture.save(tmp_path / "photo.bin", kind)
    source = ImageSource("photo.bin", tmp_path / "photo.bin")
    values = read_image(source, ImageShape(channels=3, height=48, width=64, levels=256))
    assert np.abs(values.astype(int) - np.array([200, 100, 50]).reshape(3, 1, 1)).max() <= 6
    if module is not None:
        monkeypatch.setitem(sys.modules, module, None)
        remedy = 'which is not read: run pip install "pvae-zoo[images]"'
    else:
        monkeypatch.setattr(image_kinds.features, "check", lambda name: False)
        remedy = "which is not read: run pip install --upgrade pillow"
    assert refusal(source, COLOUR).endswith(remedy)


@pytest.mark.parametrize(("kind", "module"), [("HEIF", "pillow_heif"), ("JXL", "pillow_jxl"), ("AVIF", "PIL")])
def test_what_plugins_read_is_refused_like_the_rest(tmp_path: Path, kind: str, module: str):
    plugin = pytest.importorskip(module)
    if kind == "HEIF":
        plugin.register_heif_opener()
    source = saved(tmp_path / "x", np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8), format=kind)
    data = source.path.read_bytes()
    for length in range(1, len(data), 1 + len(data) // 50):
        source.path.write_bytes(data[:length])
        assert refusal(source, COLOUR).startswith("is damaged or")
    clear = with_alpha(10)
    assert "has transparent pixels" in refusal(saved(tmp_path / "clear", clear, format=kind), COLOUR)


def test_more_than_8_bits_of_plugins_are_refused(tmp_path: Path):
    deep = "has more than 8 bits a value: save it with 8 bits"
    heif = pytest.importorskip("pillow_heif")
    values = np.full((16, 16), 60_000, np.uint16)
    heif.encode("I;16", (16, 16), values.tobytes(), tmp_path / "x.heic")
    assert refusal(ImageSource("x.heic", tmp_path / "x.heic"), GREY) == deep
    pytest.importorskip("pillow_jxl")
    assert refusal(saved(tmp_path / "x.jxl", Image.fromarray(values), format="JXL", lossless=True), GREY) == deep
    source = saved(tmp_path / "x.avif", RAINBOW)
    data = bytearray(source.path.read_bytes())
    data[data.index(b"av1C") + 6] |= 0x40
    depths = data.index(b"pixi") + 8  # a number of channels, then the bits of each
    data[depths + 1 : depths + 1 + data[depths]] = [10] * data[depths]
    source.path.write_bytes(data)
    assert refusal(source, COLOUR) == deep


@pytest.mark.parametrize("size", [(8, 8), (64, 48), (1, 1), (7, 300), (600, 11), (9000, 2), (256, 256), (320, 180)])
def test_the_size_of_jpeg_xl_is_known_before_it_is_decoded(size: tuple[int, int]):
    pytest.importorskip("pillow_jxl")
    for options in ({}, {"use_container": True}, {"lossless": True}):
        file = io.BytesIO()
        Image.new("RGB", size).save(file, "JXL", effort=1, **options)
        assert read_header(file.getvalue()) == JpegXlHeader(*size, is_animated=False), options


def test_a_bomb_in_jpeg_xl_is_refused_by_its_header(tmp_path: Path):
    pytest.importorskip("pillow_jxl")
    side = 2**30 - 1  # of 30 bits each, and all defaults
    bits = (side << 3 | 3 << 1) | ((side << 2 | 3) << 3) << 33
    source = source_of(tmp_path / "x", b"\xff\x0a" + bits.to_bytes(9, "little") + bytes(9))
    assert read_header(source.read()).width == 2**30
    assert refusal(source, COLOUR) == "has more than 64 megapixels: make it smaller first"
    small = (0b1 | 0b00111 << 1 | 1 << 6) | (0b0 | 1 << 1 | 0 << 2 | 0 << 5 | 0 << 6 | 1 << 7) << 9  # 64x64, animated
    source = source_of(tmp_path / "y", b"\xff\x0a" + small.to_bytes(4, "little") + bytes(9))
    assert read_header(source.read()) == JpegXlHeader(64, 64, is_animated=True)
    assert refusal(source, COLOUR).startswith("holds several frames (an animation)")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "is a JPEG 2000 image, which is not read: save it as PNG first"),
        (b"8BPS\0\1" + bytes(20), "is a Photoshop document, which is not read: save it as PNG first"),
        (b"II*\0\x10\0\0\0CR\2\0", "is a camera's raw picture, which is not read: develop it and save it as PNG"),
    ],
)
def test_kinds_that_nobody_reads_are_named(tmp_path: Path, data: bytes, message: str):
    assert refusal(source_of(tmp_path / "x.jpg", data), COLOUR).startswith(message)


def test_the_thumbnail_of_a_raw_picture_is_not_taken_for_it(tmp_path: Path):
    for name, tags in (("a.nef", {254: 1}), ("b.dng", {50706: b"\1\4\0\0"})):
        info = TiffImagePlugin.ImageFileDirectory_v2()
        for tag, value in tags.items():
            info[tag] = value
        source = saved(tmp_path / name, RAINBOW, format="TIFF", tiffinfo=info)
        assert refusal(source, COLOUR).startswith("is a camera's raw picture, which is not read")


# Colour management


def matrix_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float, name: str = "wide gamut") -> bytes:
    """An ICC profile (version 2) of three primaries, in XYZ under D50, and a gamma."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    text = name.encode()
    described = b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(78)
    tags = {b"desc": described, b"wtpt": xyz((0.9642, 1.0, 0.8249))}
    tags |= {key: xyz(value) for key, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    place, table, body = 132 + 12 * len(tags), b"", b""
    for key, data in tags.items():
        data += bytes(-len(data) % 4)
        table += key + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s12x4s", place + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (
        (head.ljust(68, b"\0") + b"".join(map(number, (0.9642, 1.0, 0.8249)))).ljust(128, b"\0")
        + struct.pack(">I", len(tags))
        + table
        + body
    )


ADOBE = matrix_profile(((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.2)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_a_colour_profile_is_converted_to_srgb(tmp_path: Path, suffix: str):
    colour = Image.new("RGB", (6, 4), (60, 200, 60))
    options = {"png": {}, "jpg": {"quality": 100}, "tif": {}, "webp": {"lossless": True}}[suffix]
    values, note = read_noted(saved(tmp_path / f"x.{suffix}", colour, icc_profile=ADOBE, **options), COLOUR)
    assert note == "wide gamut, converted to sRGB"
    linear = (np.array([60, 200, 60]) / 255) ** 2.2
    to_srgb = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]]) @ linear  # of Adobe RGB, D65
    expected = np.clip(1.055 * np.clip(to_srgb, 0.0031308, 1) ** (1 / 2.4) - 0.055, 0, 1) * 255
    expected[to_srgb <= 0] = 0
    assert np.abs(values[:, 0, 0] - expected).max() < 6, (values[:, 0, 0], expected)


def test_a_profile_that_means_srgb_changes_nothing(tmp_path: Path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    values, note = read_noted(saved(tmp_path / "x.png", RAINBOW, icc_profile=profile), COLOUR)
    assert note is None and np.array_equal(values, RAINBOW.transpose(2, 0, 1))


def test_grey_stays_grey_under_a_profile(tmp_path: Path):
    grey = np.repeat(RAMP[..., None], 3, axis=-1)
    tinted = matrix_profile(
        ((0.7, 0.3, 0.0), (0.1, 0.65, 0.0), (0.16, 0.05, 0.82)), 1.8
    )  # adds up to a white of its own
    values, note = read_noted(saved(tmp_path / "x.png", grey, icc_profile=tinted), COLOUR)
    assert (values[0] == values[1]).all() and (values[0] == values[2]).all() and note is not None
    assert np.array_equal(read_image(saved(tmp_path / "y.png", grey, icc_profile=tinted), GREY)[0], values[0])


@pytest.mark.parametrize("profile", [b"no profile at all", ADOBE[:200]])
def test_a_damaged_profile_is_noted(tmp_path: Path, profile: bytes):
    values, note = read_noted(saved(tmp_path / "x.png", RAINBOW, icc_profile=profile), COLOUR)
    assert note == "colour profile that cannot be used, taken as sRGB"
    assert np.array_equal(values, RAINBOW.transpose(2, 0, 1))
    values, note = read_noted(
        saved(tmp_path / "y.png", RAMP, icc_profile=ADOBE), COLOUR
    )  # of colour, in a grey picture
    assert note == "colour profile that cannot be used, taken as sRGB; grey, converted to RGB"


def test_the_name_of_a_profile_is_safe_to_print(tmp_path: Path):
    wide = ((0.7, 0.3, 0.0), (0.1, 0.65, 0.0), (0.16, 0.05, 0.82))
    note = read_noted(
        saved(tmp_path / "x.png", RAINBOW, icc_profile=matrix_profile(wide, 1.8, "a\x1b[31m\nb" + "c" * 99)), COLOUR
    )[1]
    assert note is not None and note.isprintable() and len(note) < 70


# Threads


def test_any_number_of_threads_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow's settings are the process's: they hold as long as one thread decodes, and then are what they were."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    values = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    image = ImageShape(channels=3, height=28, width=28, levels=256)
    sources = []
    for number in range(40):
        source = saved(tmp_path / f"{number}.jpg", values)
        if number % 2:
            source.path.write_bytes(source.path.read_bytes()[:-300])
        sources.append(source)

    def is_refused(source: ImageSource) -> bool:
        return isinstance(Fit().read(source, image), ImageError)

    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(is_refused, sources * 5)) == [bool(number % 2) for number in range(40)] * 5
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True and warnings.filters == filters
