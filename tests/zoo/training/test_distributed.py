import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training.checkpoint import LATEST, load_checkpoint
from pvae_zoo.training.distributed import World, joined_world
from pvae_zoo.training.loop import Trainer

TWO_PROCESSES = """
import json, os, signal, sys
from pathlib import Path
import numpy as np, torch
from pvae_zoo.training.distributed import joined_world
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import parse_recipe
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet

torch.set_num_threads(1)
out = Path(sys.argv[1])
images = ImageSet.of(np.load(out / "images.npy"), ImageShape(channels=1, height=4, width=4, levels=2))
recipe = parse_recipe(json.loads((out / "recipe.json").read_text()), "json")

def interrupt(report):
    if report.step == 3:
        os.kill(os.getpid(), signal.SIGINT)

with joined_world() as world:
    answers = [world.any(rank == world.rank) for rank in (0, 1, 2)]
    trainer = Trainer(recipe, out / "run", world=world, report=interrupt)
    trainer.stepper.bf16 = False
    try:
        finished = trainer.train(images, images)
    except KeyboardInterrupt:
        finished = "interrupted"
    stopped_at = trainer.progress.step
    world.barrier()
    trainer = Trainer(recipe, out / "run", world=world)
    trainer.stepper.bf16 = False
    trainer.resume()
    trainer.train(images, images)
    torch.save(trainer.trainee.model.state_dict(), out / f"weights{world.rank}.pt")
    said = {"answers": answers, "first": finished, "stopped_at": stopped_at, "step": trainer.progress.step}
    (out / f"said{world.rank}.json").write_text(json.dumps(said))
"""


def as_set(values):
    return ImageSet.of(values, ImageShape(channels=1, height=4, width=4, levels=2))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 2, (24, 1, 4, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def recipe(make_recipe, make_architecture):
    training = {"batch_size": 4, "steps": 8, "validate_every": 3, "learning_rate": 3e-3}
    return make_recipe(make_architecture(), **training)


@pytest.fixture(scope="module")
def together(tmp_path_factory, images, recipe):
    """The folder of a run of two processes: interrupted on rank 0 at step 3, then resumed to the end."""
    out = tmp_path_factory.mktemp("together")
    np.save(out / "images.npy", images)
    (out / "recipe.json").write_text(json.dumps(recipe.as_dict()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", TWO_PROCESSES, str(out)]
    processes = [subprocess.Popen(command, env=shared | {"RANK": str(rank)}) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return out


def averages(trainer):
    return {name.removeprefix("model."): value.clone() for name, value in trainer.state.average.items()}


def said(folder):
    return [json.loads((folder / f"said{rank}.json").read_text()) for rank in (0, 1)]


def test_a_process_alone_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_world() as world:
        assert world == World(rank=0, size=1)
        assert world.any(True) and not world.any(False)
        world.barrier()


def test_any_process_speaks_for_all(together):
    assert [rank["answers"] for rank in said(together)] == [[True, True, False]] * 2


def test_an_interrupt_of_one_process_stops_all_at_the_same_step(together):
    assert [rank["stopped_at"] for rank in said(together)] == [3, 3]
    assert [rank["first"] for rank in said(together)] == ["interrupted", False]
    assert [rank["step"] for rank in said(together)] == [8, 8]


def test_two_processes_hold_the_same_weights(together):
    first, second = (torch.load(together / f"weights{rank}.pt", weights_only=True) for rank in (0, 1))
    assert all(first[name].equal(second[name]) for name in first)


def test_two_processes_compute_what_one_does_with_twice_the_batch(together, tmp_path, images, recipe):
    alone = Trainer(replace(recipe, training=replace(recipe.training, batch_size=8)), tmp_path, world=World())
    alone.stepper.bf16 = False
    start = {name: value.clone() for name, value in averages(alone).items()}
    alone.train(as_set(images), as_set(images))
    checkpoint = load_checkpoint(together / "run" / LATEST)
    assert checkpoint.progress.images == alone.progress.images == 64
    assert checkpoint.progress.best_elbo == pytest.approx(alone.progress.best_elbo, abs=1e-5)
    for section, tensors in (("model", alone.trainee.model.state_dict()), ("ema", averages(alone))):
        torch.testing.assert_close(checkpoint.section(section), dict(tensors), rtol=0, atol=1e-5)
    assert max(float((value - start[name]).abs().max()) for name, value in averages(alone).items()) > 1e-3


def test_one_process_reports_for_all(together):
    rows = [json.loads(line) for line in (together / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 8]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"WORLD_SIZE": "2"},
            "WORLD_SIZE=2 is set and RANK, MASTER_ADDR, MASTER_PORT not: start several processes with",
        ),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' is no number"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
            "RANK=2 is none of WORLD_SIZE=2 processes",
        ),
    ],
)
def test_variables_that_do_not_fit_together_are_one_line(monkeypatch, variables, message):
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PvaeZooError, match=message), joined_world():
        pass


def test_each_process_has_the_gpu_of_its_local_rank(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert World(5, 8, local_rank=1).device("cuda") == torch.device("cuda", 1) and chosen == [1]
    assert World(5, 8, local_rank=1).device("cpu") == torch.device("cpu")
    with pytest.raises(PvaeZooError, match="3 processes on this machine and 2 GPUs: start one for each"):
        World(2, 3, local_rank=2).device("cuda")


def test_cuda_that_is_not_there_is_one_line(monkeypatch, tmp_path, recipe):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PvaeZooError, match="PyTorch finds no CUDA device: install its CUDA build"):
        Trainer(recipe, tmp_path, world=World(), device="cuda")


def test_training_takes_the_gpu_of_its_number_and_refuses_others(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert World().device("cuda:1") == torch.device("cuda", 1) and World().device("cuda") == torch.device("cuda", 0)
    with pytest.raises(PvaeZooError, match=r"^--device cuda:2: this machine has 2 GPUs, cuda:0 to cuda:1$"):
        World().device("cuda:2")
    with pytest.raises(PvaeZooError, match=r"^--device cuda:1: 2 processes have a GPU each: use --device cuda$"):
        World(size=2).device("cuda:1")
    assert chosen == [1, 0]
