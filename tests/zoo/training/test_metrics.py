import json

import numpy as np
import pytest
from PIL import Image

from pvae_zoo.training.metrics import forget_after, read_reports
from pvae_zoo.training.plots import _curves, _limits, plot_run


def row(kind, step, **values):
    return json.dumps({"kind": kind, "step": step, "bits_per_dim": 3.5, "kl": [5.0, 2.0], "r2": [0.9, None], **values})


def test_what_cannot_be_read_is_passed_over_and_forgotten(tmp_path):
    good = [row("train", 1), row("valid", 5)]
    damaged = [
        b"\xff\xfe\x00",
        b'{"kind": "train", "st',
        b"[1, 2]",
        b"7",
        b'{"step": "x", "kind": "train"}',
        b"[" * 9000,
    ]
    (tmp_path / "metrics.jsonl").write_bytes(
        b"\n".join([damaged[0], good[0].encode(), *damaged[1:], good[1].encode(), row("train", 9).encode()])
    )
    assert [r["step"] for r in read_reports(tmp_path)] == [1, 5, 9]
    forget_after(tmp_path, 5)
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == good
    assert read_reports(tmp_path / "nowhere") == []


def drawn(path):
    """How much of a picture is not white, by third: one panel each."""
    pixels = np.asarray(Image.open(path).convert("L"))
    return [float((part < 250).mean()) for part in np.array_split(pixels, 3, axis=1)]


def test_nothing_reported_is_nothing_drawn(tmp_path):
    assert plot_run(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("damaged\n")
    assert plot_run(tmp_path) is None and [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("rows", [[row("valid", 5)], [row("train", 2), row("valid", 5)], [row("train", 2)]])
def test_a_first_report_can_be_seen(tmp_path, rows):
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    assert plot_run(tmp_path) == tmp_path / "loss.png"
    assert min(drawn(tmp_path / "loss.png")) > 0.02


def test_a_curve_belongs_to_a_kind_and_a_level_and_what_is_no_number_is_left_out():
    rows = [json.loads(line) for line in (row("train", 1), row("valid", 2, bits_per_dim=None), row("rollback", 3))]
    rows.append(json.loads(row("train", 4, bits_per_dim=float("nan"))))
    assert _curves(rows, "bits_per_dim") == {("train", 0): [(1, 3.5)]}
    assert set(_curves(rows, "kl")) == {("train", 0), ("train", 1), ("valid", 0), ("valid", 1)}
    assert _curves(rows, "r2") == {("train", 0): [(1, 0.9), (4, 0.9)], ("valid", 0): [(2, 0.9)]}


def test_the_first_steps_do_not_flatten_the_rest():
    low, high = _limits({("train", 0): [(1, 100.0), (50, 4.0), (100, 3.0)]})
    assert 2.9 < low < 3 and 4 < high < 4.1
    assert _limits({("valid", 0): [(5, 3.0)]}) == pytest.approx((2.85, 3.15))
    assert _limits({("valid", 0): [(5, 0.0)]}) == (-0.05, 0.05)
