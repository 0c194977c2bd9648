import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training.checkpoint import (
    NOT_STARTED,
    Checkpoint,
    RunProgress,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    without_retired,
)
from pvae_zoo.training.watch import Watch


@pytest.fixture
def checkpoint(make_recipe):
    tensors = {
        "model.a.weight": torch.randn(3, 4),
        "ema.a.weight": torch.randn(3, 4),
        "optimizer.0.step": torch.tensor(7.0),
    }
    return Checkpoint(make_recipe(), RunProgress(step=7, images=28, seconds=1.5), tensors)


@pytest.fixture
def saved(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "checkpoint.safetensors", checkpoint)
    return tmp_path / "checkpoint.safetensors"


def test_what_is_saved_is_loaded(checkpoint, saved):
    loaded = load_checkpoint(saved)
    assert (loaded.recipe, loaded.progress) == (checkpoint.recipe, checkpoint.progress)
    assert loaded.tensors.keys() == checkpoint.tensors.keys()
    assert all(loaded.tensors[name].equal(value) for name, value in checkpoint.tensors.items())
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_section_is_without_its_prefix(checkpoint):
    assert list(checkpoint.section("ema")) == ["a.weight"]
    assert checkpoint.section("ema")["a.weight"] is checkpoint.tensors["ema.a.weight"]


def test_tensors_may_lie_in_any_memory_order(checkpoint, tmp_path):
    tensor = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c", Checkpoint(checkpoint.recipe, checkpoint.progress, {"model.w": tensor}))
    assert load_checkpoint(tmp_path / "c").tensors["model.w"].equal(tensor)


def test_an_optimiser_comes_back_as_it_was(make_recipe):
    def step(parameter, optimizer):
        parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    first = torch.nn.Parameter(torch.randn(3, 4))
    optimizer = torch.optim.AdamW([first])
    step(first, optimizer)
    second = torch.nn.Parameter(first.detach().clone())
    restored = torch.optim.AdamW([second])
    moments = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    restore_optimizer(restored, Checkpoint(make_recipe(), RunProgress(), moments).section("optimizer"))
    step(first, optimizer)
    step(second, restored)
    assert first.equal(second)


def test_a_missing_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(PvaeZooError, match=r"no checkpoint at .*nothing: name a \.safetensors file"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(PvaeZooError, match=r"no checkpoint at .*nothing: train first, or leave out --resume"):
        load_checkpoint(tmp_path / "nothing", NOT_STARTED)


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_a_checkpoint_cut_short_says_what_to_do(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(PvaeZooError, match=r"checkpoint\.safetensors is damaged .* remove it and train again"):
        load_checkpoint(saved)


def test_a_file_of_something_else_says_what_to_do(saved):
    saved.write_bytes(os.urandom(4096))
    with pytest.raises(PvaeZooError, match="no checkpoint of pvae-zoo"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"recipe": "{}", "progress": "{}"},
        {"recipe": "[1]", "progress": "{}"},
        {"recipe": "not json", "progress": "{}"},
    ],
)
def test_safetensors_of_another_make_say_what_to_do(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(PvaeZooError, match=r"foreign\.safetensors"):
        load_checkpoint(path)


def test_progress_of_another_version_says_what_to_do(saved, checkpoint, tmp_path):
    metadata = {"recipe": json.dumps(checkpoint.recipe.as_dict()), "progress": json.dumps({"epoch": 3})}
    save_file({"weight": torch.zeros(3)}, saved, metadata)
    with pytest.raises(PvaeZooError, match="no checkpoint of pvae-zoo"):
        load_checkpoint(saved)


@pytest.mark.parametrize("section", ["ema", "model"])
def test_a_checkpoint_that_kept_the_common_mode_of_the_logits_is_refused(
    make_architecture, make_recipe, tmp_path, section
):
    recipe, path = make_recipe(make_architecture(image=(3, 4, 4, 4))), tmp_path / "c.safetensors"
    name = f"{section}.decoder.pixelcnn.output.weight"
    save_checkpoint(path, Checkpoint(recipe, RunProgress(), {name: torch.zeros(9, 6, 1, 1)}))
    load_checkpoint(path)
    save_checkpoint(path, Checkpoint(recipe, RunProgress(), {name: torch.zeros(12, 6, 1, 1)}))
    with pytest.raises(PvaeZooError, match=r"c\.safetensors is a checkpoint of the older layout, 4 cosines a channel"):
        load_checkpoint(path)


def test_a_full_disk_keeps_the_old_checkpoint_and_says_what_to_do(checkpoint, small_disk):
    path = small_disk / "checkpoint.safetensors"
    save_checkpoint(path, checkpoint)
    large = Checkpoint(checkpoint.recipe, checkpoint.progress, {"model.w": torch.zeros(1 << 20)})
    with pytest.raises(PvaeZooError, match=r"cannot write .*: the disk is full: free some space"):
        save_checkpoint(path, large)
    assert load_checkpoint(path).tensors.keys() == checkpoint.tensors.keys()
    assert [file.name for file in small_disk.iterdir()] == [path.name]


def test_retired_keys_of_older_recipes_are_passed_over(checkpoint, tmp_path):
    recipe = checkpoint.recipe.as_dict()
    recipe["training"] |= {"free_nats": [500.0, 120.0]}
    recipe["model"]["decoder"]["pixelcnn"] |= {"input_dropout": 0.1}
    progress = {"step": 3, "images": 12, "seconds": 1.0, "best_step": -1, "best_elbo": float("-inf")}
    save_file(
        {"ema.w": torch.ones(1)},
        tmp_path / "old.safetensors",
        {"recipe": json.dumps(recipe), "progress": json.dumps(progress)},
    )
    loaded = load_checkpoint(tmp_path / "old.safetensors")
    assert loaded.recipe == checkpoint.recipe and loaded.progress == RunProgress(step=3, images=12, seconds=1.0)
    assert without_retired({"free_nats": 1, "model": {"prior": None}}) == {"free_nats": 1, "model": {"prior": None}}


def test_what_is_remembered_of_the_bound_comes_back(checkpoint, tmp_path):
    progress = replace(checkpoint.progress, watch=Watch(total=0.1 + 0.2, count=2, best=7.5, factor=0.6**3))
    save_checkpoint(tmp_path / "c", replace(checkpoint, progress=progress))
    assert load_checkpoint(tmp_path / "c").progress == progress
