import json
import re

import numpy as np
import onnx
import pytest
from huggingface_hub import ModelCard

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import CONFIG, Bundle
from pvae_zoo.explain.tensors import tensor_words
from pvae_zoo.export.bundle import halved, write_bundle
from pvae_zoo.reporting.card import render_card
from pvae_zoo.reporting.card_training import training_time
from pvae_zoo.reporting.evaluation import CodecSizes, Evaluation, Thumbnails, save_evaluation, stored_evaluations
from pvae_zoo.runtime.pictures import save_grid


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


def test_weights_made_of_photos_for_research_are_for_research(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"dataset": "Photos (for research and education)"}))
    card = render_card(Bundle(folder))
    assert ModelCard(card).data.license == "other" and ModelCard(card).data.license_name == "research-and-education"
    assert "MIT licence; the weights are for research and education" in card
    assert "recipes: MIT licence.\n" in render_card(gates.bundle)


def test_the_model_index_has_every_figure(measured):
    results = ModelCard(render_card(measured)).data.eval_results
    found = {(r.dataset_split, r.metric_type): (r.metric_value, r.metric_args["samples"]) for r in results}
    assert found == {
        ("test", "bits_per_dim"): (0.1479, 1), ("test", "nll_nats"): (80.376, 1),
        ("valid", "bits_per_dim"): (0.15, 64), ("valid", "nll_nats"): (81.502, 64),
        ("valid", "iwae_nll_nats"): (79.913, 64),
    }  # fmt: skip
    assert {(r.dataset_name, r.dataset_type) for r in results} == {("d", "d")}


@pytest.fixture
def rooms(levels, copy_bundle):
    """A bundle that was measured on two sets, one of them as JPEG copies too, with codecs and thumbnails."""
    bundle = Bundle(copy_bundle(levels.bundle))
    of = {"split": "valid", "of": 400, "seed": 0, "model_sha256": bundle.digest, "command": "pvae-zoo evaluate tiny"}
    figures = {"samples": 1, "nll_nats": 10.0, "standard_error_nats": 0.5, "reconstruction_nats": 7.0,
               "kl_nats": (2.25, 0.75), "iwae_nll_nats": None, "provider": "CPU"}  # fmt: skip
    sets = (("rooms64.zip", None, 400, 3.0), ("rooms64.zip", 75, 400, 2.5), ("rooms96.zip", None, 162, 3.5))
    for dataset, jpeg, images, bits in sets:
        where = of | {"dataset": dataset, "jpeg": jpeg, "images": images}
        save_evaluation(bundle, Evaluation(bits_per_dim=bits, **where, **figures))
        save_evaluation(bundle, CodecSizes(codecs={"PNG": 5.0, "WebP lossless": 4.0}, **where))
    where = of | {"dataset": "rooms64.zip", "images": 200}
    save_evaluation(bundle, Thumbnails(sizes=("16x16", "8x8"), r2=(0.9876, None), rms=(0.02, 0.0753), **where))
    return bundle


def test_each_set_has_its_bound_beside_codecs_on_the_same_pixels(rooms):
    card = render_card(rooms)
    kept = "| valid | 400 | 10.00 +- 0.50 |"
    assert f"| rooms64.zip {kept} 3.0000 | 7.00 | 2.25 + 0.75 |  |" in card
    assert f"| rooms64.zip, as JPEG of quality 75 {kept} 2.5000 |" in card
    assert "| images of | split | number | PNG | WebP lossless | tiny | of WebP lossless |" in card
    assert "| rooms64.zip | valid | 400 | 5.000 | 4.000 | 3.000 | 0.750 |" in card
    assert "| rooms64.zip, as JPEG of quality 75 | valid | 400 | 5.000 | 4.000 | 2.500 | 0.625 |" in card
    assert "| rooms96.zip | valid | 162 | 5.000 | 4.000 | 3.500 | 0.875 |" in card
    assert card.count("    pvae-zoo evaluate tiny\n") == 1  # one command made them all


def test_codecs_without_the_bound_of_their_pixels_stand_on_no_card(rooms):
    (row,) = (r for r in stored_evaluations(rooms) if r["dataset"] == "rooms96.zip")
    (rooms.folder / "evaluation.json").unlink()
    save_evaluation(rooms, Evaluation(**row | {"kl_nats": (2.25, 0.75), "seed": 1, "images": 99}))
    of = {key: row[key] for key in ("dataset", "split", "of", "model_sha256", "command", "jpeg")}
    save_evaluation(rooms, CodecSizes(codecs={"PNG": 5.0}, images=99, seed=0, **of))
    assert "lossless codecs" not in render_card(rooms)


def test_what_each_level_carries_is_told_in_nats_and_thumbnails(rooms, gates):
    card = render_card(rooms)
    assert "## What each level carries" in card and "What each level carries" not in render_card(gates.bundle)
    assert "| rooms64.zip | 200 | z1 | 2.2 | 16x16 | 0.988 | 2.0 % |" in card
    assert "| rooms64.zip | 200 | z2 | 0.8 | 8x8 | they do not vary | 7.5 % |" in card


def test_the_model_index_tells_sets_and_jpeg_copies_apart(rooms):
    results = ModelCard(render_card(rooms)).data.eval_results
    found = {(r.dataset_type, r.dataset_config): r.metric_value for r in results if r.metric_type == "bits_per_dim"}
    assert found == {("rooms64", None): 3.0, ("rooms64", "jpeg-75"): 2.5, ("rooms96", None): 3.5}


def test_a_card_holds_every_figure_and_the_command_that_made_it(measured):
    card = render_card(measured)
    assert "| d | test | 10,000 | 80.38 +- 0.27 | 0.1479 | 74.12 | 6.25 |  |" in card
    assert (
        "| d | valid | 1,000 of 10,000, drawn at random | 81.50 +- 0.27 | 0.1500 | 74.12 | 6.25 | 79.91 (K = 64) |"
        in card
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
        rows = [line for line in card.splitlines() if line.startswith(f"| `{role}.onnx` |")]
        for spec in (*config.graphs[role].inputs, *config.graphs[role].outputs):
            (row,) = [line for line in rows if f"| `{spec.name}` | {spec.dtype} (" in line]
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            assert len(cells) == 5 and cells[4].replace("\\|", "|") == tensor_words(config, role)[spec.name]


@pytest.fixture
def trained(gates, copy_bundle):
    """A function from what a bundle says of its training, where it differs, to the card's words."""
    folder = copy_bundle(gates.bundle)

    def words(*without, size=None, **training):
        config = json.loads((gates.bundle.folder / CONFIG).read_text())
        for graph in config["graphs"].values():
            graph["size"] = size or graph["size"]
        kept = {key: value for key, value in config["training"].items() if key not in without}
        (folder / CONFIG).write_text(json.dumps(config | {"training": kept | training}))
        return " ".join(render_card(Bundle(folder)).split())

    return words


def test_a_card_says_how_the_model_was_trained(trained):
    card = trained()
    for text in ("Trained on: made up.", "48 images seen in 2.0 hours on 2 cores -", "weight decay 0.01",
                 "learning rate 0.01, batch 4;", "validation bound (-ELBO 12.25 nats, step 10 of 12)"):  # fmt: skip
        assert text in card
    for text in ("started from", "second stage", "views", "aids", "safetensors", "tiny.toml", "free"):
        assert text not in card


def test_a_card_says_what_training_did_to_images_and_in_which_stages(trained):
    thumbnails = [{"size": 16, "sigma": 0.1}, {"size": 8, "sigma": 0.15}]
    card = trained(crop="random", flip=True, jpeg=0.07, scale=[0.5, 1.0], initialised_from="photos at step 9",
                   learns="prior", thumbnails=thumbnails, valid_elbo_nats=None)  # fmt: skip
    for text in ("random windows of 7x6, scaled by 0.5 to 1.0 before, half of them mirrored, 7 % of them JPEG copies",
                 "those and the time of the weights it started from included", "- started from photos at step 9",
                 "z1 and the pixels stood still, q(z2|x) and p(z1|z2) were learnt alone", "batch 4 in the last stage",
                 "z1 alone had to tell the 16x16 thumbnail (sigma 0.1, of -1..1), z2 alone had to"):  # fmt: skip
        assert text in card
    assert "best validation" not in card


def test_a_bundle_that_does_not_say_how_it_was_trained_gets_no_card(trained):
    with pytest.raises(PvaeZooError, match="does not say of its training: images_seen, steps; export it again"):
        trained("images_seen", "steps")


def test_a_card_names_the_shipped_recipe(gates, copy_bundle):
    folder = copy_bundle(gates.bundle)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"name": "lsun"}))
    assert "`zoo/training/recipes/lsun.toml` is the one to train anew with" in render_card(Bundle(folder))


def test_a_card_says_how_weights_are_stored_and_computed_with(make_tiny, tmp_path):
    wide = make_tiny(image=(1, 8, 8, 2), latents=2, stem=24, widths=(48,))
    assert "(opset 13, float32)." in " ".join(render_card(wide.bundle).split())
    write_bundle(halved(wide.checkpoint), tmp_path)
    half = Bundle(tmp_path)
    kinds = [tensor.data_type for role in half.config.roles
             for tensor in onnx.load(tmp_path / f"{role}.onnx").graph.initializer]  # fmt: skip
    assert onnx.TensorProto.FLOAT16 in kinds
    words = "(opset 13, large weights stored as float16, computed with in float32)."
    assert words in " ".join(render_card(half).split())


@pytest.mark.parametrize(("size", "words"), [(30, "float16"), (4000, "(opset 13, float32)")])
def test_the_sizes_of_an_older_bundle_tell_how_weights_are_stored(trained, gates, size, words):
    assert 5 * 30 < 4 * gates.bundle.config.parameters < 5 * 4000
    assert words in trained("stored", size=size)


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


def picture(bundle, folder, what, command, digest=None):
    metadata = {"command": command, "model_sha256": digest or bundle.digest}
    save_grid(np.zeros((1, 3, 4, 4), np.uint8), folder / "pictures" / f"tiny-{what}.png", levels=4, metadata=metadata)


def test_pictures_that_lie_beside_a_card_are_shown_with_the_commands_that_drew_them(levels, tmp_path):
    assert "What it draws" not in render_card(levels.bundle, tmp_path)
    picture(levels.bundle, tmp_path, "levels", "pvae-zoo vary --model tiny --seed 4")
    card = render_card(levels.bundle, tmp_path)
    words = "Rows in which the noise of one level alone changes: z2, z1, the pixels"
    assert f"{words} (`pvae-zoo vary --model tiny --seed 4`):\n\n![{words}](pictures/tiny-levels.png)" in card
    assert "samples.png" not in card and "What it draws" not in render_card(levels.bundle)


def test_a_picture_that_other_weights_drew_is_not_shown(levels, tmp_path):
    picture(levels.bundle, tmp_path, "levels", "pvae-zoo vary", digest="0" * 64)
    assert "What it draws" not in render_card(levels.bundle, tmp_path)


def test_samples_at_other_temperatures_stand_beside_those_of_the_model_itself(levels, tmp_path):
    picture(levels.bundle, tmp_path, "samples", "pvae-zoo sample -m tiny")
    assert "Samples (`pvae-zoo sample -m tiny`):" in render_card(levels.bundle, tmp_path)
    picture(levels.bundle, tmp_path, "samples-latents-0.7", "pvae-zoo sample -m tiny --latent-temperature 0.7")
    picture(levels.bundle, tmp_path, "samples-pixels-0.85", "pvae-zoo sample -m tiny --temperature 0.85")
    card = render_card(levels.bundle, tmp_path)
    assert (
        "| 1 and 1, the model itself | latents 0.7 | pixels 0.85 |\n| --- | --- | --- |\n| ![Samples, 1 and 1" in card
    )
    assert (
        "](pictures/tiny-samples-latents-0.7.png) | ![Samples, pixels 0.85](pictures/tiny-samples-pixels-0.85" in card
    )
    assert "    pvae-zoo sample -m tiny\n    pvae-zoo sample -m tiny --latent-temperature 0.7\n    pvae-zoo" in card
    assert card.count("tiny-samples.png") == 1
