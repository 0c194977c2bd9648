"""The matrix stands in the bundle and on its card; what did not come from a measurement does not."""

import json
from dataclasses import replace

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.conformance.results import GraphResult, Matrix, RuntimeResult
from pvae_zoo.conformance.stored import conformance_table, save_matrix, share, stored_matrix
from pvae_zoo.contract.folder import CONFIG, CONFORMANCE, Bundle
from pvae_zoo.publishing.push import contents_of
from pvae_zoo.reporting.card import render_card
from pvae_zoo.sources import registry
from pvae_zoo.sources.pull import copy_bundle as copy_files


@pytest.fixture
def bundle(gates, copy_bundle):
    return Bundle(copy_bundle(gates.bundle))


def graphs(bundle, **changed):
    sound = {"difference": 1.5e-6, "ok": True, "problem": None, "operator": None}
    return tuple(GraphResult(role=role, **sound | changed.get(role, {})) for role in bundle.config.roles)


@pytest.fixture
def matrix(bundle):
    row = RuntimeResult(
        name="tract", version="0.23.9", graphs=graphs(bundle), equal=1.0, time_ratio=4.24, problem=None, remedy=None
    )
    broken = {"difference": None, "ok": False, "problem": "no such layer", "operator": "Conv"}
    failing = replace(row, name="opencv", graphs=graphs(bundle, decoder=broken), equal=0.99996)
    missing = replace(row, name="openvino", version="", graphs=(), equal=None, time_ratio=None, remedy="pip install x")
    return Matrix(
        model_sha256=bundle.digest, pvae_zoo="0.1.0", date="2026-11-24T13:00:00+00:00", machine="Linux x86_64, 2 cores",
        images=4, values=168, runtimes=(row, failing, missing),
    )  # fmt: skip


def test_states(matrix):
    assert [row.state for row in matrix.runtimes] == ["passed", "failed", "not installed"]
    assert not matrix.ok and replace(matrix, runtimes=matrix.runtimes[::2]).ok
    assert not replace(matrix, runtimes=matrix.runtimes[2:]).ok


def test_a_matrix_is_read_as_it_was_written(bundle, matrix):
    assert stored_matrix(bundle) is None
    save_matrix(bundle, matrix)
    assert stored_matrix(bundle) == replace(matrix, runtimes=matrix.runtimes[:2])


def test_rows_that_were_not_measured_again_stay(bundle, matrix):
    save_matrix(bundle, matrix)
    again = replace(matrix.runtimes[1], equal=1.0)
    first = replace(matrix.runtimes[0], name="onnxruntime")
    save_matrix(bundle, replace(matrix, date="2026-12-01T13:00:00+00:00", runtimes=(first, again)))
    rows = (first, matrix.runtimes[0], again)
    assert stored_matrix(bundle) == replace(matrix, date="2026-12-01T13:00:00+00:00", runtimes=rows)
    save_matrix(bundle, replace(matrix, machine="Darwin arm64, 8 cores", runtimes=(again,)))
    assert stored_matrix(bundle).runtimes == (again,)


def test_the_card_has_the_matrix(bundle, matrix):
    assert render_card(bundle).count("Not measured yet.") == 2
    save_matrix(bundle, matrix)
    card = render_card(bundle)
    assert "| tract | 0.23.9 | 5 of 5 pass | 1.5e-06 | all | 4.2 x |" in card
    assert "| opencv | 0.23.9 | 4 of 5 pass | - | 99.99% | 4.2 x |" in card
    assert "- opencv: `decoder` (Conv): no such layer" in card and "openvino" not in card
    assert "pvae-zoo 0.1.0 on 2026-11-24 (Linux x86_64, 2 cores), 4 images, by" in card
    assert conformance_table(stored_matrix(bundle)) in card


def test_a_share_never_rounds_to_all():
    assert [share(value) for value in (1.0, 0.999999, 0.5)] == ["all", "99.99%", "50.00%"]


def test_the_matrix_of_other_graphs_is_on_no_card(bundle, matrix):
    save_matrix(bundle, matrix)
    path = bundle.folder / CONFIG
    path.write_text(path.read_text().replace(bundle.config.graphs["decoder"].sha256, "0" * 64))
    assert stored_matrix(Bundle(bundle.folder)) is None


@pytest.mark.parametrize(
    "spoilt",
    [
        {"machine": "\x1b[2J"},
        {"machine": "x" * 2000},
        {"extra": 1},
        {"images": "4"},
        {"date": None},
        {"runtimes": [{"name": "tract"}]},
        {"name": "a | b"},
        {"version": "1\n2"},
        {"equal": "all"},
    ],
)
def test_what_is_no_matrix_is_not_shown(bundle, matrix, spoilt):
    save_matrix(bundle, matrix)
    path = bundle.folder / CONFORMANCE
    stated = json.loads(path.read_text())
    target = stated["runtimes"][0] if spoilt.keys() <= stated["runtimes"][0].keys() else stated
    target |= spoilt
    path.write_text(json.dumps(stated))
    assert stored_matrix(bundle) is None and render_card(bundle).count("Not measured yet.") == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"runtimes": 3}', '{"runtimes": [1]}'])
def test_a_damaged_file_says_how_to_mend_it(bundle, content):
    (bundle.folder / CONFORMANCE).write_text(content)
    with pytest.raises(PvaeZooError, match=r"conformance\.json .*run pvae-zoo conformance --save again"):
        stored_matrix(bundle)


def test_the_matrix_goes_where_the_bundle_goes(bundle, matrix, tmp_path):
    save_matrix(bundle, matrix)
    entry = registry.register(bundle, license="MIT")
    assert CONFORMANCE in {file.file for file in entry.files} and CONFORMANCE in contents_of(bundle)
    copy_files(bundle, tmp_path / "there")
    assert stored_matrix(Bundle(tmp_path / "there")) == stored_matrix(bundle)
