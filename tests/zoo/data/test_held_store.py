"""A set in memory is the set: the same bytes from the same draws, whatever it is read from."""

import threading
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data import datasets
from pvae_zoo.data.augmentation import Augmentation, view_generator
from pvae_zoo.data.datasets import ImageSet, load_split
from pvae_zoo.data.image_store import ArrayStore
from pvae_zoo.data.memory import available_memory

MODEL = ImageShape(channels=3, height=16, width=16, levels=256)
GREY = ImageShape(channels=1, height=16, width=16, levels=256)
AUGMENTATIONS = [
    Augmentation(crop="random"),
    Augmentation(crop="random", flip=True),
    Augmentation(crop="random", scale=(0.5, 1.5)),
    Augmentation(crop="random", jpeg=0.5),
    Augmentation(crop="random", flip=True, scale=(0.7, 1.3), jpeg=0.2),
]
SIZES = [(16, 16), (16, 40), (33, 17), (20, 20), (50, 16)]


def fill(folder, count=30, sizes=SIZES, zipped=False):
    """Noise of several sizes, in a folder or a zip."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        values = rng.integers(0, 256, (*sizes[number % len(sizes)], 3), np.uint8)
        Image.fromarray(values).save(folder / f"{number:03}.png")
    if zipped:
        with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
                path.unlink()
        folder.rmdir()


def both(root, image=MODEL, **options):
    streamed = load_split(root, "train", image, **options)
    held = streamed.held()
    assert streamed.pictures is None and held.pictures is not None and len(held) == len(streamed)
    return streamed, held


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("image", [MODEL, GREY])
def test_a_held_set_gives_what_a_streamed_one_gives(tmp_path, augmentation, zipped, image):
    fill(tmp_path / "train", zipped=zipped)
    streamed, held = both(tmp_path, image, augmentation=augmentation)
    order = np.random.default_rng(0).permutation(30)
    for step in range(3):
        draws = [view_generator(7, step) for _ in range(2)]
        np.testing.assert_array_equal(held.read(order, draws[0]), streamed.read(order, draws[1]))
    np.testing.assert_array_equal(held.read(order, None), streamed.read(order, None))
    np.testing.assert_array_equal(held.as_jpeg(75).read(order, None), streamed.as_jpeg(75).read(order, None))
    assert held._store.name(7) == streamed._store.name(7)
    assert held.held() is held


def test_memory_is_as_much_as_the_pixels(tmp_path):
    fill(tmp_path / "train", 200)
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    tracemalloc.start()
    try:
        held = streamed.held()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    pixels = sum(3 * SIZES[number % 5][0] * SIZES[number % 5][1] for number in range(200))
    assert held.pictures.pixels.nbytes == pixels and kept < pixels + 100_000


def test_a_set_that_does_not_fit_is_streamed(tmp_path, monkeypatch):
    fill(tmp_path / "train")
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    pixels = streamed.held().pictures.pixels.nbytes
    for available, processes, fits in ((4 * pixels, 1, True), (4 * pixels - 4, 1, False), (4 * pixels, 2, False)):
        monkeypatch.setattr(datasets, "available_memory", lambda available=available: available)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        held = streamed.held()
        assert (held.pictures is not None) is fits and (fits or held is streamed)
        np.testing.assert_array_equal(held.read(np.arange(30), None), streamed.read(np.arange(30), None))
    assert streamed.held(share=0.0) is streamed


@pytest.mark.parametrize("hidden", [0, 25])
def test_a_set_that_turns_out_larger_than_it_looked_is_held_or_streamed(tmp_path, monkeypatch, hidden):
    """The size is guessed from some of the pictures: here from small ones, or from large ones."""
    sizes = [(16, 16)] * 97
    fill(tmp_path / "train", 97, sizes)
    for number in range(1, 97, 3):  # between those that are looked at
        Image.new("RGB", (60, 60), (number, 0, 0)).save(tmp_path / "train" / f"{number:03}.png")
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    whole = streamed.held()
    np.testing.assert_array_equal(whole.read(np.arange(97), None), streamed.read(np.arange(97), None))
    monkeypatch.setattr(datasets, "available_memory", lambda: 4 * whole.pictures.pixels.nbytes - 4 - 4 * hidden)
    assert streamed.held() is streamed


def test_a_set_that_is_much_too_large_is_not_decoded_to_find_that_out(tmp_path, monkeypatch):
    fill(tmp_path / "train", 300)
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    decoded, image = [], type(streamed._store).image
    monkeypatch.setattr(
        type(streamed._store), "image", lambda store, index: decoded.append(index) or image(store, index)
    )
    monkeypatch.setattr(datasets, "available_memory", lambda: 100_000)
    assert streamed.held() is streamed and len(decoded) <= 32


def test_decoding_is_done_by_several_threads(tmp_path, monkeypatch):
    fill(tmp_path / "train", 300)
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    names, image = set(), type(streamed._store).image

    def watched(store, index):
        names.add(threading.current_thread().name)
        return image(store, index)

    monkeypatch.setattr(type(streamed._store), "image", watched)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(3))
    done = []
    streamed.held(progress=lambda *progress: done.append(progress))
    assert len(names - {"MainThread"}) > 1
    assert done[-1] == (300, 300) and done == sorted(done)


def test_what_cannot_be_used_is_named_before_training(tmp_path):
    fill(tmp_path / "train", 200)
    streamed = load_split(tmp_path, "train", MODEL, augmentation=AUGMENTATIONS[0])
    threads = threading.active_count()
    Image.new("RGB", (15, 99)).save(tmp_path / "train" / "150.png")
    with pytest.raises(PvaeZooError, match=r"train/150\.png is 15x99, the model takes 16x16, and a smaller image"):
        streamed.held()
    (tmp_path / "train" / "140.png").write_bytes(b"cut")
    with pytest.raises(PvaeZooError, match=r"train/140\.png is damaged"):
        streamed.held()
    assert threading.active_count() == threads


def test_other_sizes_are_named_where_nothing_is_cropped(tmp_path):
    fill(tmp_path / "train")
    with pytest.raises(PvaeZooError, match=r'train/001\.png is 40x16, the model takes 16x16: set crop = "random"'):
        load_split(tmp_path, "train", MODEL).held()


def test_a_small_set_is_held_where_it_is():
    values = np.random.default_rng(0).integers(0, 256, (9, *GREY.chw), np.uint8)
    images = ImageSet.of(values, GREY)
    held = images.held(share=0.0)
    assert np.shares_memory(held.pictures.pixels, values)
    order = np.array([3, 8, 3])
    np.testing.assert_array_equal(held.read(order, None), values[order])


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_picture_of_one_colour_is_a_picture(tmp_path, value):
    (tmp_path / "train").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 18), (value,) * 3).save(tmp_path / "train" / f"{number}.png")
    _, held = both(tmp_path, augmentation=Augmentation(crop="random", flip=True, scale=(0.9, 1.1), jpeg=0.5))
    for seen in (held.read(np.arange(3), view_generator(0, 0)), held.as_jpeg(90).read(np.arange(3), None)):
        assert (seen == value).all()
    binary = ImageShape(channels=1, height=16, width=16, levels=2)
    seen = load_split(tmp_path, "train", binary, binarize="threshold", augmentation=AUGMENTATIONS[0]).held()
    assert (seen.read(np.arange(3), None) == (value >= 128)).all()


def test_jpeg_copies_have_256_levels():
    store = ArrayStore(
        np.zeros((1, 1, 16, 16), np.uint8), ImageShape(channels=1, height=16, width=16, levels=2), "refuse", "x"
    )
    images = ImageSet(store, ImageShape(channels=1, height=16, width=16, levels=2), Augmentation())
    with pytest.raises(PvaeZooError, match="JPEG copies have 256 levels, and the model has only 2"):
        images.as_jpeg(75)


# How much memory there is


def test_memory_is_what_the_machine_and_its_groups_leave(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    proc, groups = tmp_path / "proc", tmp_path / "groups"
    write("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert available_memory(proc, groups) == 8000 * 1024
    write("proc/self/cgroup", "0::/a/b\n")
    write("groups/a/b/memory.max", "max\n")
    write("groups/a/b/memory.current", "5000\n")
    write("groups/a/b/memory.stat", "anon 1\ninactive_file 2000\n")
    assert available_memory(proc, groups) == 8000 * 1024
    for name, value in (("max", "1000000"), ("current", "300000"), ("stat", "inactive_file 100000")):
        write(f"groups/a/memory.{name}", value + "\n")
    assert available_memory(proc, groups) == 800_000
    assert available_memory(tmp_path / "nowhere", groups) > 1 << 20
    assert available_memory() > 1 << 20
