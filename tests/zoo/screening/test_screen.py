"""A model with a calibration: its p-values, its file, and files that are none."""

import json

import numpy as np
import pytest

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime.model import Model
from pvae_zoo.screening.calibration import read_calibration
from pvae_zoo.screening.screen import Screen


@pytest.fixture(scope="module")
def model(levels):
    return Model(levels.bundle, "cpu", 1)


@pytest.fixture(scope="module")
def screen(model):
    return pvae_zoo.calibrate(model, model.sample(60, seed=1))


@pytest.fixture
def stored(screen, tmp_path):
    """The calibration's file, and a function that writes it with something changed and gives what is said of that."""
    path = tmp_path / "x.screen.json"
    screen.calibration.save(path)

    def changed(change):
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(PvaeZooError) as caught:
            read_calibration(path)
        return str(caught.value)

    return path, changed


def test_an_image_has_its_own_p_value_and_other_images_a_small_one(screen, model):
    images = model.sample(70, seed=2)
    p = screen.p_values(images)
    assert p.shape == (70,) and len(set(p.tolist())) > 5 and ((p > 0) & (p <= 1)).all()
    assert (screen.p_values(images[::-1])[::-1] == p).all() and screen.p_values(images[5:6])[0] == p[5]
    odd = np.zeros_like(images[:2])
    odd[1] = np.indices(odd.shape[1:]).sum(axis=0) % 2 * 3  # a chess board
    finding = screen.findings(odd)[1]
    assert finding.p_value == pytest.approx(1 / (len(screen.calibration.ranked) + 1))
    assert finding.spoke in finding.scores and abs(finding.deviation) > 3


def test_the_file_gives_the_calibration_back_to_the_bit(screen, model, stored):
    path, _ = stored
    found = read_calibration(path)
    assert found.to_json() == screen.calibration.to_json() and found.digest == screen.calibration.digest
    images = model.sample(8, seed=4)
    assert Screen(model, found).findings(images) == screen.findings(images)
    assert found.images == 60 and len(found.ranked) == 40 and (np.diff(found.ranked) >= 0).all()


def test_a_calibration_of_another_model_is_refused(screen, colour):
    with pytest.raises(PvaeZooError, match="was made with another model"):
        Screen(Model(colour.bundle, "cpu", 1), screen.calibration)


def test_too_few_images_are_refused(model):
    with pytest.raises(PvaeZooError, match="39 images are too few to calibrate with: give 40 or more"):
        pvae_zoo.calibrate(model, model.sample(39))


HOSTILE = {
    "another kind": (lambda d: d.update(kind="x"), "is no calibration"),
    "another format": (lambda d: d.update(format=2), "is a calibration of format 2, and this version reads 1"),
    "unknown key": (lambda d: d.update(path="/etc/passwd"), "is damaged"),
    "missing key": (lambda d: d.pop("ranked"), "is damaged"),
    "text for numbers": (lambda d: d.update(ranked=["1", "2"]), "is damaged"),
    "not sorted": (lambda d: d["ranked"].reverse(), "not sorted"),
    "none ranked": (lambda d: d.update(ranked=[], ranked_without_codec=[]), "number of images"),
    "no numbers": (lambda d: d["ranked"].__setitem__(-1, float("nan")), "no valid JSON"),
    "too large": (lambda d: d["scores"][0].update(middle=1e300), "statistics of reconstruction"),
    "no width": (lambda d: d["scores"][0].update(width=0.0), "statistics of reconstruction"),
    "other scores": (lambda d: d["scores"][0].update(name="\x1b[2J"), "names of the scores"),
    "ragged": (lambda d: d["latents"][0]["precision"].pop(), "size of points"),
    "not symmetrical": (lambda d: d["latents"][0]["precision"][0].__setitem__(1, 3e9), "not symmetrical"),
    "not positive": (lambda d: d["latents"][0]["precision"][0].__setitem__(0, -1.0), "not positive"),
    "a path": (lambda d: d.update(model_sha256="../../x"), "model_sha256"),
    "escapes": (lambda d: d.update(model="\x1b]0;x\x07"), "a text is no short line"),
    "impossible image": (lambda d: d["image"].update(levels=0), "is damaged"),
    "impossible fit": (lambda d: d["fit"].update(binarize=999), "is damaged"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_line(stored, change, said):
    path, changed = stored
    line = changed(change)
    assert said in line and str(path) in line and line.isprintable()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"3", b'{"kind": "pvae-zoo screen", "format": 1}'])
def test_what_is_no_calibration_is_one_line(tmp_path, data):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(PvaeZooError) as caught:
        read_calibration(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
