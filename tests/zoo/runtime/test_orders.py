"""What ``--order auto`` stands for: the faster order of the nearest measurement, and those of benchmarks/ORDERS.md."""

import importlib.util
from pathlib import Path

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.runtime import fixed_point, orders
from pvae_zoo.runtime.model import Model
from pvae_zoo.runtime.orders import MEASURED, Faster, chosen_order

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location("orders_benchmark", BENCHMARKS / "orders.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "orders_benchmark", module)
    spec.loader.exec_module(module)
    return module


def test_auto_is_the_faster_order_of_the_nearest_measurement(monkeypatch):
    rows = [(784, 1, "wavefront"), (784, 64, "fixed-point"), (4096, 1, "fixed-point"), (4096, 64, "wavefront")]
    monkeypatch.setattr(orders, "MEASURED", tuple(Faster("cuda", *row) for row in rows))
    asked = [(784, 1), (784, 7), (784, 9), (900, 1000), (3000, 2), (10_000, 64)]
    found = [chosen_order("auto", "cuda", *each) for each in asked]
    assert found == ["wavefront", "wavefront", "fixed-point", "fixed-point", "fixed-point", "wavefront"]
    assert chosen_order("auto", "cpu", 784, 64) == "wavefront"
    assert [chosen_order(order, "cuda", 784, 64) for order in ("wavefront", "raster", "fixed-point")] == [
        "wavefront",
        "raster",
        "fixed-point",
    ]
    with pytest.raises(PvaeZooError, match="order 'spiral': choose auto, wavefront, raster, fixed-point"):
        chosen_order("spiral", "cpu", 784, 1)


def test_a_model_draws_in_the_order_that_was_faster(gates, monkeypatch):
    drawn, draw = [], fixed_point.FixedPointSampler.draw
    monkeypatch.setattr(
        fixed_point.FixedPointSampler,
        "draw",
        lambda self, what, **options: drawn.append(len(what.uniforms)) or draw(self, what, **options),
    )
    model = Model(gates.bundle, "cpu", threads=1)
    model.sample(3)
    assert drawn == []
    monkeypatch.setattr(orders, "MEASURED", (Faster("cpu", 784, 1, "wavefront"), Faster("cpu", 784, 16, "fixed-point")))
    model.sample(11, batch_size=8, progress=lambda done, total: None)
    assert drawn == [8]  # and then 3 by a wavefront


def test_the_table_is_what_was_measured(benchmark):
    """The page is written by ``python benchmarks/orders.py``; its rows are copied into the module by hand."""
    text = (BENCHMARKS / "ORDERS.md").read_text("utf-8")
    sections = benchmark.parsed(text)
    assert benchmark.page(sections) == text
    found = {
        Faster(device, int(pixels), int(images), order)
        for device, (_, rows) in sections.items()
        for _, pixels, images, *_, order in rows.values()
    }
    assert found == set(MEASURED)
    assert ("Not measured yet" in text) == (not any(row.device == "cuda" for row in MEASURED))


def test_a_row_is_measured_and_kept_beside_the_others(benchmark, gates, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.pvae_zoo, "load", lambda name, **options: Model(gates.bundle, **options))
    page = tmp_path / "ORDERS.md"
    for row in benchmark.rows("tiny", "cpu", (1, 3)):
        benchmark.record(row, "cpu", page)
    assert row.equal == 3 and 1 < row.passes[0] <= 43 and row.faster in ("wavefront", "fixed-point")
    where, rows = benchmark.parsed(page.read_text())["cpu"]
    assert list(rows) == [("tiny", "1"), ("tiny", "3")] and "onnxruntime" in where
    assert benchmark.UNMEASURED in page.read_text()
