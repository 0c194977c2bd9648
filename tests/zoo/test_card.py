import pytest
from huggingface_hub import ModelCard

from pvae_zoo.bundle import Bundle
from pvae_zoo.card import readme_row, render_card, training_time
from pvae_zoo.evaluation import Evaluation, save_evaluation, stored_evaluations


@pytest.fixture
def measured(gates, copy_bundle):
    bundle = Bundle(copy_bundle(gates.bundle))
    row = {
        "of": 10_000, "seed": 0, "standard_error_nats": 0.273, "reconstruction_nats": 74.125, "kl_nats": (6.251,),
        "provider": "CPUExecutionProvider", "model_sha256": bundle.digest,
    }  # fmt: skip
    save_evaluation(bundle, Evaluation(
        split="test", images=10_000, samples=1, nll_nats=80.376, bits_per_dim=0.14791, iwae_nll_nats=None,
        command="pvae-zoo evaluate tiny --data d --split test", **row,
    ))  # fmt: skip
    save_evaluation(bundle, Evaluation(
        split="valid", images=1_000, samples=64, nll_nats=81.502, bits_per_dim=0.14998, iwae_nll_nats=79.913,
        command="pvae-zoo evaluate tiny --data d --split valid --samples 64", **row,
    ))  # fmt: skip
    return bundle


def test_a_card_renders_without_figures(tiny):
    card = render_card(tiny.bundle)
    assert card.count("Not measured yet.") == 2 and "(none yet)" in card
    assert "$" not in card and "None" not in card and "nan" not in card.lower().split()


def test_the_hub_reads_the_front_matter(tiny):
    data = ModelCard(render_card(tiny.bundle)).data
    assert data.license == "mit" and data.pipeline_tag == "unconditional-image-generation" and "onnx" in data.tags
    assert data.eval_results is None


def test_the_model_index_has_every_figure(measured):
    results = ModelCard(render_card(measured)).data.eval_results
    found = {(r.dataset_split, r.metric_type): (r.metric_value, r.metric_args["samples"]) for r in results}
    assert found == {
        ("test", "bits_per_dim"): (0.1479, 1), ("test", "nll_nats"): (80.376, 1),
        ("valid", "bits_per_dim"): (0.15, 64), ("valid", "nll_nats"): (81.502, 64),
        ("valid", "iwae_nll_nats"): (79.913, 64),
    }  # fmt: skip
    assert {(r.dataset_name, r.dataset_type) for r in results} == {("made up", "made-up")}


def test_a_card_holds_every_figure_and_the_command_that_made_it(measured):
    card = render_card(measured)
    assert "| test | 10,000 | 80.38 +- 0.27 | 0.1479 | 74.12 | 6.25 |  |" in card
    assert (
        "| valid | 1,000 of 10,000, drawn at random | 81.50 +- 0.27 | 0.1500 | 74.12 | 6.25 | 79.91 (K = 64) |" in card
    )
    assert "    pvae-zoo evaluate tiny --data d --split test\n    pvae-zoo evaluate tiny --data d --split valid" in card
    assert measured.digest[:16] in card
    assert card.count("Not measured yet.") == 1  # in other runtimes


def test_a_card_states_the_contract(tiny):
    config, card = tiny.bundle.config, render_card(tiny.bundle)
    image = config.image
    assert f"# {config.title}\n" in card and config.dataset in card
    assert f"uint8 (N, {image.channels}, {image.height}, {image.width}) with values 0 to {image.levels - 1}." in card
    assert (
        f"{config.parameters:,} parameters" in card
        and f"x + {config.steps['decoder_step'].geometry.slope} y = t" in card
    )
    for role in config.roles:
        (row,) = [line for line in card.splitlines() if line.startswith(f"| `{role}.onnx` |")]
        for spec in (*config.graphs[role].inputs, *config.graphs[role].outputs):
            assert f"`{spec.name}`" in row or spec.name.startswith("canvas_")


def test_a_card_says_how_the_model_was_trained(gates):
    card = " ".join(render_card(gates.bundle).split())
    for text in ("48 images seen in 2.0 hours on 2 cores", "weight decay 0.01", "learning rate 0.01", "batch 4",
                 "(12.25 nats, step 10 of 12)", "zoo/training/recipes/tiny.toml"):  # fmt: skip
        assert text in card


@pytest.mark.parametrize(
    ("hours", "words"),
    [(0.0, "less than a minute"), (0.02, "1 minute"), (0.11, "7 minutes"), (1.0, "1.0 hours"), (2.94, "2.9 hours")],
)
def test_a_short_training_is_told_in_minutes(hours, words):
    assert training_time(hours) == words


def test_figures_of_other_weights_stand_on_no_card(measured, gates):
    (measured.folder / "config.json").write_text(gates.bundle.config.to_json().replace(
        gates.bundle.config.graphs["decoder"].sha256, "0" * 64
    ))  # fmt: skip
    assert render_card(Bundle(measured.folder)).count("Not measured yet.") == 2


def test_pictures_that_lie_beside_a_card_are_shown(levels, tmp_path):
    assert "What it draws" not in render_card(levels.bundle, tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "tiny-levels.png").touch()
    card = render_card(levels.bundle, tmp_path)
    words = "Rows in which the noise of one level alone changes: z2, z1, the pixels"
    assert f"{words} (`pvae-zoo vary --model tiny`):\n\n![{words}](pictures/tiny-levels.png)" in card
    assert "samples.png" not in card and "What it draws" not in render_card(levels.bundle)


def test_the_readme_s_row_says_when_its_importance_weighted_figure_is_of_other_images(measured):
    (whole,) = (row for row in stored_evaluations(measured) if row["split"] == "test")
    of_all = {**whole, "samples": 5, "iwae_nll_nats": 79.5}
    save_evaluation(measured, Evaluation(**of_all))
    assert readme_row(measured).endswith("| 79.50 (K = 5, 10,000 images) |")
    save_evaluation(measured, Evaluation(**of_all | {"samples": 9, "images": 40, "nll_nats": 81.25}))
    assert readme_row(measured).endswith("| 79.50 (K = 9, 40 images; -ELBO of those: 81.25) |")
    assert "| 80.38 +- 0.27 |" in readme_row(measured)
