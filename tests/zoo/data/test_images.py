"""Finding images: each has its source, whatever it and its folders are called, and nothing else has."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.archives import Archives
from pvae_zoo.data.fit import read_noted
from pvae_zoo.data.images import ImageError, ImageSource, find_images

GREY = ImageShape(channels=1, height=4, width=6, levels=256)
RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def source_of(path: Path, data: bytes) -> ImageSource:
    path.write_bytes(data)
    return ImageSource(path.name, path)


def png(values: np.ndarray = RAMP) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def read_image(source: ImageSource, image: ImageShape) -> np.ndarray:
    return read_noted(source, image)[0]


def refusal(source: ImageSource, image: ImageShape) -> str:
    with pytest.raises(ImageError) as error:
        read_image(source, image)
    message = str(error.value)
    assert str(source.path) not in message and "\n" not in message
    return message


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
        (
            "void",
            "no images in void: it holds 2 .txt, 1 without an ending, 1 .json; give PNG, JPEG, WebP or other images",
        ),
        ("void/sub", "no images in void/sub: it is empty; give"),
        ("void/*", "no images in void/*: it holds 2 .txt, 1 without an ending"),
        ("void.zip", "no images in void.zip: it holds 1 .txt; give"),
        ("bad.zip", "cannot open bad.zip as a zip (File is not a zip file): fetch it again"),
        ("pipe.png", "pipe.png is a broken link, a pipe or a device"),
        ("loop.png", "loop.png is a broken link, a pipe or a device"),
        ("/dev/null", "/dev/null is a broken link, a pipe or a device"),
    ],
)
def test_what_cannot_be_found_is_named(tree: Path, path: str, message: str):
    for name in ("sub", "a", "b"):
        (tree / "void" / name).mkdir(parents=True)
    for name in ("a/notes.txt", "a/README", "b/x.json", "b/MORE.TXT"):
        (tree / "void" / name).write_text("no image")
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


def test_names_that_are_shown_alike_all_count(tmp_path: Path):
    for name in (b"a\xff.png", b"a\xfe.png", b"b.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    for path in (tmp_path, tmp_path / "*.png", tmp_path / "*"):
        assert sorted(source.read() for source in find_images([path])) == [b"a\xfe.png", b"a\xff.png", b"b.png"]


def test_what_turns_the_direction_of_a_terminal_is_not_shown(tmp_path: Path):
    for name in ("gnp.\u202egnp", "line\u2028end.png", "\u2066x.png", "שלום 数 é.png"):
        (tmp_path / name).write_bytes(png())
    shown = {os.path.basename(source.name) for source in find_images([tmp_path])}
    assert shown == {"gnp.\\u202egnp", "line\\u2028end.png", "\\u2066x.png", "שלום 数 é.png"}


def test_a_glob_goes_on_past_an_empty_folder(tree: Path):
    (tree / "digits" / "void").mkdir()
    (tree / "digits" / "void.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    assert names("digits/*") == [*FOUND[:3], "digits/notes.txt", *FOUND[3:]]


def test_a_file_that_several_paths_lead_to_counts_once(tree: Path):
    (tree / "link").symlink_to("digits/sub")
    (tree / "digits" / "copy.png").symlink_to("b.png")  # another name is another image
    found = sorted([*FOUND, "digits/copy.png"])
    for paths, left_out in (
        (["digits"], 0),
        (["digits", "digits/"], 6),
        (["./digits", str(tree / "digits")], 6),
        (["digits", "link"], 2),
        (["digits/b.png", "digits/../digits/b.png", "digits/*.png"], 2),
    ):
        counts: list[int] = []
        sources = find_images(paths, counts.append)
        assert sum(counts) == left_out and len(counts) <= 1
        assert sorted({os.path.normpath(source.name) for source in sources} - {*found}) == []
        assert len(sources) == len({source.name for source in sources})
    assert [source.name for source in find_images(["link", "digits/sub"])] == ["link/deep/x.tif", "link/ü 数.webp"]


def test_members_of_a_zip_given_twice_count_once(tree: Path):
    with zipfile.ZipFile("set.zip", "w") as archive:
        archive.writestr("a.png", png())
        archive.writestr("b.png", png())
    counts: list[int] = []
    assert len(find_images(["set.zip", str(tree / "set.zip")], counts.append)) == 2
    assert counts == [2]


def test_images_are_known_by_their_content(tmp_path: Path):
    picture = Image.fromarray(RAMP)
    for kind, name in (("PNG", "a"), ("JPEG", "b.data"), ("WEBP", "c.bin"), ("GIF", "d.x"), ("BMP", "e.y"),
                       ("TIFF", "f.z"), ("PPM", "g.txt"), ("AVIF", "h.jpeg2")):  # fmt: skip
        picture.save(tmp_path / name, kind)
    for name, data in (("raw.cr2", b"II*\0\x10\0\0\0CR\2\0"), ("x.heics", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
                       ("y", b"\xff\x0a\0\0"), ("z.jp2", b"\0\0\0\x0cjP  \r\n\x87\n")):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    images = sorted(entry.name for entry in tmp_path.iterdir())
    for name, text in (("notes.txt", "BMW is a car\nand P3 a colour space"), ("data.json", "{}"), ("none", ""),
                       ("RIFF.wav", "RIFF1234WAVE"), ("film.mp4", "\0\0\0\x18ftypisom")):  # fmt: skip
        (tmp_path / name).write_text(text)
    assert [Path(source.name).name for source in find_images([tmp_path])] == images
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in os.listdir(tmp_path):
            if name != "set.zip":
                archive.write(tmp_path / name, name)
    assert [Path(source.name).name for source in find_images([tmp_path / "set.zip"])] == images


def test_a_tower_of_folders_is_climbed(tmp_path: Path):
    """More folders in each other than Python has stack for."""
    tower = [tmp_path / "tower"]
    for _ in range(1100):
        tower.append(tower[-1] / "a")
    for folder in tower:
        folder.mkdir()
    (tower[-1] / "x.png").write_bytes(png())
    try:
        for path in (tower[0], f"{tower[0]}/**/*.png"):
            assert [source.read() for source in find_images([path])] == [png()]
    finally:
        (tower[-1] / "x.png").unlink()
        for folder in reversed(tower):  # shutil.rmtree would run out of stack
            folder.rmdir()


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


def test_a_member_that_leaves_the_zip_has_its_row(tmp_path: Path):
    path = tmp_path / "set.zip"
    bad = ("../up.png", "/etc/root.png", "a/../../b.png", "..\\w.png", "C:\\c.png")
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*bad, "../notes.txt", "ok/a..b.png"):
            archive.writestr(name, b"no image" if name.endswith("txt") else png())
        archive.writestr("esc\x1b[31m\u202e.png", png())
    reasons = {}
    for source in find_images([path]):
        assert source.name.isprintable()
        try:
            read_image(source, GREY)
            reasons[source.name.removeprefix(f"{path}/")] = None
        except ImageError as error:
            reasons[source.name.removeprefix(f"{path}/")] = str(error)
    leaves = "has a name that leads out of the zip: pack it again"
    assert reasons == dict.fromkeys(bad, leaves) | {"ok/a..b.png": None, "esc\\x1b[31m\\u202e.png": None}


def test_more_zips_than_files_may_be_open(tmp_path: Path):
    for number in range(300):
        with zipfile.ZipFile(tmp_path / f"{number:03}.zip", "w") as archive:
            archive.writestr("a.png", png(np.full((4, 6), number % 256, np.uint8)))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, limits[0]), limits[1]))
    try:
        sources = find_images([tmp_path / "*.zip"])
        with ThreadPoolExecutor(8) as threads:
            seen = list(threads.map(lambda source: int(read_image(source, GREY)[0, 0, 0]), sources * 2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert seen == [number % 256 for number in range(300)] * 2


def test_threads_share_a_zip_that_others_push_out(tmp_path: Path):
    archives = Archives(most=1)
    for name in "abcd":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("x", name * 1000)

    def read(name: str) -> bool:
        with archives.lend(tmp_path / f"{name}.zip") as archive:
            return archive.read("x").decode() == name * 1000

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, "abcdaabbccdd" * 50))
    a, b = tmp_path / "a.zip", tmp_path / "b.zip"
    with archives.lend(a) as first, archives.lend(b), archives.lend(a, anew=True) as second:
        assert second is not first and first.read("x") == second.read("x")
    assert first.fp is None  # closed by the last who read it


def test_a_zip_that_was_written_anew_is_read_anew(tmp_path: Path):
    for value in (1, 2):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            archive.writestr("a" * value + ".png", png(np.full((4, 6), value, np.uint8)))
        assert read_image(find_images([tmp_path / "set.zip"])[0], GREY).max() == value
