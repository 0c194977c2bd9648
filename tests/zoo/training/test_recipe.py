import json
import math
import tomllib
from dataclasses import replace
from importlib import resources

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ArchitectureError
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.training.recipe import changed, differences, load_recipe, parse_recipe, recipe_names, recipe_text

PARAMETER_LIMITS = {
    "mnist": 1_650_000,
    "mnist-upsample": 890_000,
    "imagenet64": 7_400_000,
    "lsun": 7_400_000,
    "64px_small": 70_000_000,
    "64px_big": 220_000_000,
}


def shipped(name):
    return tomllib.loads((resources.files("pvae_zoo.training") / "recipes" / f"{name}.toml").read_text("utf-8"))


def test_every_shipped_recipe_states_its_size():
    assert set(recipe_names()) == set(PARAMETER_LIMITS)


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_builds_a_model_of_its_stated_size(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    parameters = sum(p.numel() for p in PixelVAE(recipe.model).parameters())
    assert 0.5 * PARAMETER_LIMITS[name] < parameters <= PARAMETER_LIMITS[name]


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_survives_json(name):
    recipe = load_recipe(name)
    assert parse_recipe(json.loads(json.dumps(recipe.as_dict())), "json") == recipe


def test_a_recipe_may_be_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes((resources.files("pvae_zoo.training") / "recipes" / "mnist.toml").read_bytes())
    assert load_recipe(str(path)) == load_recipe("mnist")


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        (("training",), "sede", 1, "sede"),
        ((), "modle", {}, "modle"),
        (("model", "decoder", "pixelcnn"), "layer", 8, "layer"),
        (("training",), "steps", "many", r"training\.steps"),
        (("training",), "batch_size", 2.5, r"training\.batch_size"),
        (("training",), "batch_size", 0, r"training\.batch_size=0"),
        (("training",), "learning_rate", -1e-3, r"training\.learning_rate=-0\.001"),
        (("training",), "ema_decay", 1.0, r"training\.ema_decay=1\.0"),
        (("model", "decoder"), "conditioning", "gate", "conditioning"),
        (("model", "encoder"), "widths", 32, "widths"),
        (("model", "encoder"), "widths", ["32"], "widths"),
        (("model", "decoder", "pixelcnn"), "reach", 0, "reach"),
        ((), "binarize", "maybe", "binarize"),
        (("training",), "kl_warmup_steps", [1, 2], r"training\.kl_warmup_steps=\[1, 2\] must have one entry"),
        ((), "data", {"crop": "middle"}, "crop"),
        (("training",), "seed", -1, r"training\.seed=-1 must be from 0"),
        (("training",), "seed", 2**64, r"training\.seed=18446744073709551616 must be from 0"),
        (("training",), "weight_decay", -1.0, r"training\.weight_decay=-1\.0 must be at least 0"),
        (("training",), "warmup_steps", -3, r"training\.warmup_steps=-3 must be at least 0"),
        (("training",), "cooldown_steps", -1, r"training\.cooldown_steps=-1 must be at least 0"),
        (("training",), "kl_warmup_steps", [-4], r"training\.kl_warmup_steps=-4 must be at least 0"),
        (("training",), "learns", "decoder", r"training\.learns"),
        (("training",), "thumbnails", [{"size": 7}], r"thumbnails"),
        (("training",), "free_nats", [1.0], "free_nats"),
        *(
            (("training",), key, value, rf"training\.{key}={value} must be")
            for key in ("learning_rate", "weight_decay", "clip_norm", "ema_decay", "encoder_rate")
            for value in (math.nan, math.inf)
        ),
        (("model", "decoder", "pixelcnn"), "dropout", math.nan, r"pixelcnn\.dropout=nan"),
        (("model", "encoder"), "dropout", math.nan, r"encoder\.dropout=nan"),
        ((), "data", {"scale": [math.nan, 1.0]}, r"data\.scale"),
    ],
)
def test_a_wrong_key_is_named_with_its_recipe(table, key, value, message):
    data = shipped("mnist")
    place = data
    for name in table:
        place = place[name]
    place[key] = value
    with pytest.raises(PvaeZooError, match=f"my.toml: .*{message}"):
        parse_recipe(data, "my.toml")


@pytest.mark.parametrize("table", ["model", "training"])
def test_a_missing_key_is_named(table):
    data = shipped("mnist")
    key = next(iter(data[table]))
    del data[table][key]
    with pytest.raises(PvaeZooError, match=rf"my.toml: .*{table}\.{key}"):
        parse_recipe(data, "my.toml")


def test_a_whole_number_may_stand_for_a_real_one():
    data = shipped("mnist")
    data["training"]["clip_norm"] = 30
    assert parse_recipe(data, "my.toml") == load_recipe("mnist")


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(PvaeZooError, match=r"no recipe 'mnits': did you mean 'mnist'\?"):
        load_recipe("mnits")
    with pytest.raises(PvaeZooError, match=r"known recipes: .*mnist"):
        load_recipe("zzz")


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(PvaeZooError, match=r"broken\.toml is not valid TOML"):
        load_recipe(str(tmp_path / "broken.toml"))
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(PvaeZooError, match=r"latin\.toml is not valid TOML"):
        load_recipe(str(tmp_path / "latin.toml"))


def test_training_options_must_be_positive(make_recipe):
    training = make_recipe().training
    for name in ("batch_size", "steps", "learning_rate", "clip_norm", "validate_every"):
        with pytest.raises(ArchitectureError, match=rf"training\.{name}=0 must be positive"):
            replace(training, **{name: 0})


def test_a_shipped_recipe_can_be_copied(tmp_path):
    (tmp_path / "mine.toml").write_text(recipe_text("lsun"))
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe("lsun")
    with pytest.raises(PvaeZooError, match="did you mean 'lsun'"):
        recipe_text("lsum")


def test_the_keys_in_which_recipes_differ_are_named():
    one = load_recipe("mnist")
    assert differences(one, one) == []
    other = changed(one, steps=7, kl_warmup_steps=(5,))
    assert differences(one, other) == [
        ("training.steps", 9529, 7),
        ("training.kl_warmup_steps", (6000,), (5,)),
    ]


@pytest.mark.parametrize("name", ["imagenet64", "lsun"])
def test_the_models_of_photos_tell_thumbnails(name):
    training = load_recipe(name).training
    assert [(t.size, t.sigma) for t in training.thumbnails] == [(16, 0.1), (8, 0.15)]
    assert load_recipe("lsun").model == load_recipe("imagenet64").model
