"""Labelled digits without a download: scikit-learn's 8 x 8 ones, enlarged to 28 x 28 and written in MNIST's formats."""

import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

COUNTS = {"train": 300, "valid": 60, "test": 80}


def write_idx(path, magic, array):
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(struct.pack(">I", magic) + shape + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def digits():
    """Grey images ``(N, 28, 28)`` in 0..255 and labels."""
    bunch = load_digits()
    large = bunch.images.repeat(3, axis=1).repeat(3, axis=2) * (255 / 16)
    return np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8), bunch.target


@pytest.fixture(scope="session")
def data(digits, tmp_path_factory):
    """A folder with ``binarized_mnist_*.amat`` and one with idx files."""
    root = tmp_path_factory.mktemp("digits")
    binary, idx = root / "binary", root / "idx"
    binary.mkdir()
    idx.mkdir()
    images, labels = digits
    start = 0
    for split, count in COUNTS.items():
        part = slice(start, start + count)
        rows = (images[part] > 127).reshape(count, -1).astype(int)
        (binary / f"binarized_mnist_{split}.amat").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
        if split != "valid":
            stem = "train" if split == "train" else "t10k"
            write_idx(idx / f"{stem}-images-idx3-ubyte", 2051, images[part])
            write_idx(idx / f"{stem}-labels-idx1-ubyte", 2049, labels[part])
        start += count
    return binary, idx


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of colour photos, larger than 64 x 64, 4 to learn from and 3 others."""
    root = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for split, count in (("valid", 3), ("train", 4)):
        (root / split).mkdir(parents=True)
        for number in range(count):
            smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((96, 72))
            smooth.save(root / split / f"{number}.png")
    return root
