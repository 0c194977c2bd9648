import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.interrupts import stop_requested
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.training import loop, schedule, stepper, validation
from pvae_zoo.training.checkpoint import BEST, LATEST, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.schedule import (
    batch_indices,
    kl_weights,
    learning_rate,
    parameter_groups,
    step_generator,
)

ALONE = World()


def as_set(values):
    return ImageSet.of(values, ImageShape(channels=1, height=4, width=4, levels=2))


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 2, (22, 1, 4, 4), dtype=np.uint8)


@pytest.fixture
def recipe(make_recipe, make_architecture):
    """Everything random at work: order of the images, latent noise, dropout."""
    return make_recipe(make_architecture(encoder_dropout=0.3, dropout=0.3))


def trainer_for(recipe, out, report=lambda report: None):
    trainer = Trainer(recipe, out, world=ALONE, report=report)
    trainer.stepper.bf16 = False
    return trainer


def interrupt_at(step, number=signal.SIGINT):
    def report(report):
        if report.step == step and report.kind == "valid":
            os.kill(os.getpid(), number)

    return report


def assert_same_run(left, right):
    """Bit for bit the same state, and the same reports; the clock apart."""
    for name in (LATEST, BEST):
        a, b = load_checkpoint(left / name), load_checkpoint(right / name)
        assert a.recipe == b.recipe
        assert replace(a.progress, seconds=0.0) == replace(b.progress, seconds=0.0)
        assert a.tensors.keys() == b.tensors.keys()
        assert [key for key, value in a.tensors.items() if not value.equal(b.tensors[key])] == []
    assert reports(left) == reports(right)


def reports(folder):
    timed = {"seconds", "images_per_second", "seconds_left"}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("conditioning", ["gates", "upsample"])
def test_a_resumed_run_walks_the_same_path(
    tmp_path, images, make_recipe, make_architecture, conditioning, bf16, monkeypatch
):
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)  # a report every step
    recipe = make_recipe(make_architecture(conditioning=conditioning, encoder_dropout=0.3, dropout=0.3))
    whole = trainer_for(recipe, tmp_path / "whole")
    whole.stepper.bf16 = bf16
    assert whole.train(as_set(images), as_set(images)) is True

    first = trainer_for(recipe, tmp_path / "parts", interrupt_at(5))
    first.stepper.bf16 = bf16
    with pytest.raises(KeyboardInterrupt):
        first.train(as_set(images), as_set(images))
    assert load_checkpoint(tmp_path / "parts" / LATEST).progress.step == 5
    torch.manual_seed(99)
    second = trainer_for(recipe, tmp_path / "parts")
    second.stepper.bf16 = bf16
    second.resume()
    assert second.train(as_set(images), as_set(images)) is True
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert {row["step"] for row in reports(tmp_path / "whole")} == set(range(1, 13))


TRAIN_UNTIL_KILLED = """
import json, sys
from pathlib import Path
import numpy as np, torch
from pvae_zoo.training import loop
from pvae_zoo.training.distributed import World
from pvae_zoo.training.recipe import parse_recipe
from pvae_zoo.contract.architecture import ImageShape
from pvae_zoo.data.datasets import ImageSet

torch.set_num_threads(1)
loop.CHECKPOINT_SECONDS = -1.0
out = Path(sys.argv[1])
images = ImageSet.of(np.load(out / "images.npy"), ImageShape(channels=1, height=4, width=4, levels=2))
trainer = loop.Trainer(parse_recipe(json.loads((out / "recipe.json").read_text()), "json"), out, world=World())
trainer.stepper.bf16 = False
if (out / "checkpoint.safetensors").exists():
    trainer.resume()
trainer.train(images, images)
"""


def written(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_run_that_is_killed_again_and_again_walks_the_same_path(tmp_path, images, recipe):
    recipe = replace(recipe, training=replace(recipe.training, steps=150))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    np.save(killed / "images.npy", images)
    (killed / "recipe.json").write_text(json.dumps(recipe.as_dict()))
    moments, kills = random.Random(5), 0
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", TRAIN_UNTIL_KILLED, str(killed)])
        before = written(killed / LATEST)
        while process.poll() is None and written(killed / LATEST) == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        assert load_checkpoint(killed / LATEST).progress.step > 0
    assert kills == 2
    subprocess.run([sys.executable, "-c", TRAIN_UNTIL_KILLED, str(killed)], check=True)
    trainer_for(recipe, whole).train(as_set(images), as_set(images))
    assert_same_run(whole, killed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_is_passed_on(tmp_path, images, recipe, number):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        trainer_for(recipe, tmp_path, interrupt_at(5, number)).train(as_set(images), as_set(images))
    assert load_checkpoint(tmp_path / LATEST).progress.step == 5
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


class StopsAt(ImageSet):
    """A set that is interrupted when it is read for the given time."""

    def __init__(self, of, time):
        self.__dict__.update(of.__dict__)
        self.times = time

    def read(self, indices, generator):
        self.times -= 1
        if self.times == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return super().read(indices, generator)


def test_a_validation_is_interrupted_at_once_and_the_last_checkpoint_stands(tmp_path, images, recipe, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    seen = []
    trainer = trainer_for(recipe, tmp_path / "a", report=seen.append)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(as_set(images), StopsAt(as_set(images), 2))
    assert [report.step for report in seen if report.kind == "valid"] == [5]  # not the one at 10
    assert load_checkpoint(tmp_path / "a" / LATEST).progress.step == 9
    again = trainer_for(recipe, tmp_path / "a")
    again.resume()
    again.train(as_set(images), as_set(images))
    trainer_for(recipe, tmp_path / "b").train(as_set(images), as_set(images))
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_what_a_run_begins_with_may_be_the_best(tmp_path, images, recipe):
    still = replace(recipe, training=replace(recipe.training, learning_rate=1e-30))
    trainer = Trainer(still, tmp_path, world=ALONE, validate_first=True)
    trainer.train(as_set(images), as_set(images))
    assert trainer.progress.best_step == load_checkpoint(tmp_path / BEST).progress.step == 0


@pytest.mark.parametrize("half", ["forward", "backward"])
def test_a_step_is_left_in_its_middle_and_walked_again(tmp_path, images, recipe, half):
    """A step may take long, and a user who stops it does not wait for its end."""
    trainer_for(recipe, tmp_path / "whole").train(as_set(images), as_set(images))
    trainer = trainer_for(recipe, tmp_path / "left")
    trainer.trainee.model.decoder.pixelcnn.output.register_forward_hook(interrupt_within(trainer, half))
    with pytest.raises(KeyboardInterrupt):
        trainer.train(as_set(images), as_set(images))
    assert load_checkpoint(tmp_path / "left" / LATEST).progress.step == 3
    resumed = trainer_for(recipe, tmp_path / "left")
    resumed.resume()
    resumed.train(as_set(images), as_set(images))
    assert_same_run(tmp_path / "whole", tmp_path / "left")


def interrupt_within(trainer, half):
    def hook(module, given, output):
        if trainer.progress.step == 3 and output.requires_grad:
            interrupt = lambda *seen: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
            interrupt() if half == "forward" else output.register_hook(interrupt)

    return hook


def test_a_second_signal_acts_at_once():
    with pytest.raises(KeyboardInterrupt), stop_requested() as stopped:
        assert not stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second signal was swallowed")


def test_a_spent_budget_stops_after_a_step_with_a_checkpoint(tmp_path, images, recipe):
    assert trainer_for(recipe, tmp_path).train(as_set(images), as_set(images), max_minutes=0) is False
    assert load_checkpoint(tmp_path / LATEST).progress.step == 1


def test_a_bound_that_is_never_finite_stops_the_run_with_a_checkpoint(tmp_path, images, recipe):
    trainer = trainer_for(recipe, tmp_path)
    torch.nn.init.constant_(trainer.trainee.model.encoder.stem.weight, math.nan)
    with pytest.raises(PvaeZooError, match="not finite for 10 steps up to step 10: go on with --resume and a lower"):
        trainer.train(as_set(images), as_set(images))
    resumed = trainer_for(recipe, tmp_path)
    resumed.resume(slower=True)
    assert resumed.progress.step == 10 and resumed.guard.watch.skipped == 0


def test_a_checkpoint_of_another_model_is_not_resumed(tmp_path, images, recipe, make_recipe, make_architecture):
    trainer_for(recipe, tmp_path).train(as_set(images), as_set(images), max_minutes=0)
    with pytest.raises(PvaeZooError, match=r"checkpoint\.safetensors holds another model"):
        trainer_for(make_recipe(make_architecture(layers=3)), tmp_path).resume()
    with pytest.raises(PvaeZooError, match="no checkpoint"):
        trainer_for(recipe, tmp_path / "nowhere").resume()
    trainer_for(recipe, tmp_path).train(as_set(images), as_set(images))
    os.replace(tmp_path / BEST, tmp_path / LATEST)
    with pytest.raises(PvaeZooError, match="holds another model"):
        trainer_for(recipe, tmp_path).resume()


def test_reports_after_the_checkpoint_and_torn_lines_are_forgotten(tmp_path, images, recipe):
    with pytest.raises(KeyboardInterrupt):
        trainer_for(recipe, tmp_path, interrupt_at(5)).train(as_set(images), as_set(images))
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 9, "kind": "train"}\n{"step": 10, "kin')
    trainer = trainer_for(recipe, tmp_path)
    trainer.resume()
    trainer.train(as_set(images), as_set(images))
    assert [row["step"] for row in reports(tmp_path)] == [5, 10, 12]


def test_a_report_that_cannot_be_written_says_what_to_do(tmp_path, images, recipe):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(PvaeZooError, match=r"cannot write .*metrics\.jsonl: a folder stands where a file is needed"):
        trainer_for(recipe, tmp_path).train(as_set(images), as_set(images))


def test_the_learning_rate_rises_stays_and_falls_to_zero(recipe):
    config = replace(recipe.training, steps=10, learning_rate=2.0, warmup_steps=4, cooldown_steps=5)
    rates = [learning_rate(config, step) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 1.6, 1.2, 0.8, 0.4])
    constant = replace(config, warmup_steps=0, cooldown_steps=0)
    assert {learning_rate(constant, step) for step in range(10)} == {2.0}


def test_the_weight_of_the_kl_rises_to_one(recipe):
    config = replace(recipe.training, kl_warmup_steps=(4,))
    assert [kl_weights(config, step) for step in range(6)] == [[w] for w in (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)]
    assert kl_weights(replace(config, kl_warmup_steps=(0, 2)), 0) == [1.0, 0.5]


def test_the_schedules_reach_the_optimiser_and_the_loss(tmp_path, images, recipe, monkeypatch):
    seen = []
    monkeypatch.setattr(stepper, "learning_rate", lambda config, step: 0.0)
    monkeypatch.setattr(stepper, "kl_weights", lambda config, step: [seen.append(step) or 1.0])
    trainer = trainer_for(recipe, tmp_path)
    before = {name: value.clone() for name, value in trainer.trainee.model.state_dict().items()}
    trainer.train(as_set(images), as_set(images))
    assert seen == list(range(12))
    assert all(value.equal(before[name]) for name, value in trainer.trainee.model.state_dict().items())


def test_an_epoch_shows_every_image_once_and_ranks_share_it(recipe):
    config = replace(recipe.training, batch_size=4)
    two = [World(0, 2), World(1, 2)]
    steps = [[batch_indices(config, 24, world, step) for world in two] for step in range(6)]
    epochs = [np.concatenate(steps[:3]), np.concatenate(steps[3:])]
    for batches in epochs:
        assert sorted(np.concatenate(batches)) == list(range(24))
    assert not np.array_equal(*epochs)
    alone = batch_indices(replace(config, batch_size=8), 24, ALONE, 4)
    np.testing.assert_array_equal(alone, np.concatenate(steps[4]))


def test_the_order_of_an_epoch_is_drawn_once(tmp_path, images, recipe, monkeypatch):
    drawn = []
    original = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn.append(tuple(seed)) or original(seed))
    schedule._permutation.cache_clear()
    trainer_for(recipe, tmp_path).train(as_set(images), as_set(images))  # 12 steps, 5 an epoch, each read ahead
    assert drawn == [(3, 0), (3, 1), (3, 2)]


def test_fewer_images_than_a_batch_are_refused(recipe):
    with pytest.raises(PvaeZooError, match=r"3 training images are fewer than one batch of 4: .*batch_size"):
        batch_indices(recipe.training, 3, ALONE, 0)


def test_random_numbers_depend_on_seed_step_and_stream():
    draws = {key: float(torch.rand(1, generator=step_generator(*key))) for key in [(1, 2), (2, 1), (1, 3), (1, 2, 1)]}
    assert len(set(draws.values())) == 4
    assert draws[1, 2] == float(torch.rand(1, generator=step_generator(1, 2)))


def test_weights_decay_and_biases_do_not(tmp_path, recipe):
    model = trainer_for(recipe, tmp_path).trainee
    weights, others = parameter_groups(model, replace(recipe.training, weight_decay=0.1))
    assert (weights["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)].split(".")[-1] for p in weights["params"]} == {"weight"}
    assert {names[id(p)].split(".")[-1] for p in others["params"]} == {"bias"}
    assert len(weights["params"]) + len(others["params"]) == len(names)


def test_the_encoder_has_a_rate_of_its_own(tmp_path, images, recipe):
    recipe = replace(recipe, training=replace(recipe.training, encoder_rate=0.25, steps=1))
    trainer = trainer_for(recipe, tmp_path)
    names = {id(p): name for name, p in trainer.trainee.model.named_parameters()}
    trainer.train(as_set(images), as_set(images))
    peak = learning_rate(recipe.training, 0)
    for group in trainer.optimizer.param_groups:
        parts = {names[id(p)].split(".")[0] for p in group["params"]}
        assert parts == ({"decoder"} if group["lr"] == peak else {"encoder"})
        assert group["lr"] in (peak, 0.25 * peak)


def test_the_average_follows_the_weights_faster_at_the_start(tmp_path, images, recipe):
    recipe = replace(recipe, training=replace(recipe.training, validate_every=1, ema_decay=0.3))
    walked = []

    def joined(tensors):
        return torch.cat([value.flatten() for value in tensors.values()])

    def report(report):
        walked.append((joined(trainer.trainee.state_dict()), joined(trainer.state.average)))

    trainer = trainer_for(recipe, tmp_path, report)
    expected = joined(trainer.state.average)
    trainer.train(as_set(images), as_set(images))
    for decay, (weights, average) in zip([1 / 10, 2 / 11, 3 / 12] + [0.3] * 9, walked, strict=True):
        expected = decay * expected + (1 - decay) * weights
        torch.testing.assert_close(average, expected)


def test_the_average_is_what_is_validated_and_kept_as_best(tmp_path, images, recipe):
    trainer = trainer_for(recipe, tmp_path)
    trainer.train(as_set(images), as_set(images))
    weights = {name: value.clone() for name, value in trainer.trainee.model.state_dict().items()}
    best = load_checkpoint(tmp_path / BEST)
    rows = {row["step"]: row["elbo"] for row in reports(tmp_path)}
    assert best.progress.best_elbo == max(rows.values()) == rows[best.progress.step]
    trainer.state.average = {f"model.{name}": value for name, value in best.section("ema").items()}
    assert trainer.evaluate(as_set(images)).elbo == pytest.approx(best.progress.best_elbo, abs=1e-9)
    assert all(value.equal(weights[name]) for name, value in trainer.trainee.model.state_dict().items())
    trainer.trainee.model.load_state_dict(best.section("ema"))
    trainer.state.average = {f"model.{name}": torch.zeros_like(value) for name, value in weights.items()}
    means = trainer.evaluate(as_set(images))
    assert [means.log_likelihood, *means.kl] == pytest.approx([-16 * math.log(2), 0], abs=1e-5)


def test_validation_counts_every_image_alike(tmp_path, images, recipe, monkeypatch):
    trainer = trainer_for(recipe, tmp_path)
    whole = trainer.evaluate(as_set(images)).elbo
    monkeypatch.setattr(validation, "BATCH", 16)
    noise = torch.randn(22, 2)
    monkeypatch.setattr(validation, "latent_noise", lambda architecture, count, generator: [noise[:count] * 0])
    parts = trainer.evaluate(as_set(images)).elbo
    monkeypatch.setattr(validation, "BATCH", 100)
    assert parts == pytest.approx(trainer.evaluate(as_set(images)).elbo, rel=1e-6)
    assert parts != whole


def test_a_tiny_model_learns_two_patterns(tmp_path, make_recipe, make_architecture):
    """From about 16 ln 2 = 11 nats an image towards ln 2 = 0.7, what two equally frequent patterns take."""
    pattern = np.random.default_rng(2).integers(0, 2, (1, 1, 4, 4), dtype=np.uint8)
    images = np.concatenate([pattern, 1 - pattern] * 8)
    training = {"steps": 200, "batch_size": 16, "validate_every": 200, "kl_warmup_steps": (50,), "cooldown_steps": 50}
    trainer = trainer_for(make_recipe(make_architecture(), **training), tmp_path)
    assert trainer.evaluate(as_set(images)).elbo < -8
    trainer.train(as_set(images), as_set(images))
    assert -math.log(2) - 0.01 > trainer.progress.best_elbo > -1.0


def test_a_run_may_start_from_the_average_of_another(tmp_path, images, recipe, make_recipe, make_architecture):
    source = trainer_for(recipe, tmp_path / "source")
    source.train(as_set(images), as_set(images))
    trainer = trainer_for(recipe, tmp_path / "new")
    trainer.initialise(load_checkpoint(tmp_path / "source" / LATEST), "source")
    for name, value in source.state.average.items():
        assert trainer.state.weights[name].equal(value) and trainer.state.average[name].equal(value)
    assert trainer.progress.step == 0 and "tiny at step 12" in trainer.progress.initialised_from
    wider = trainer_for(make_recipe(make_architecture(channels=12)), tmp_path / "wider")
    wider.initialise(load_checkpoint(tmp_path / "source" / BEST), "source")
    best = load_checkpoint(tmp_path / "source" / BEST).section("ema")
    assert wider.trainee.model.encoder.stem.weight.equal(best["encoder.stem.weight"])
    with pytest.raises(PvaeZooError, match=r"--init .*: no weight of that model fits"):
        other = make_architecture((3, 6, 6, 4), stem=5, widths=(7,), latents=3, channels=9, head=9)
        given = load_checkpoint(tmp_path / "source" / BEST)
        trainer_for(make_recipe(other), tmp_path / "other").initialise(given, "source")


def test_one_step_whose_gradient_is_not_finite_is_left_out(tmp_path, images, recipe, monkeypatch):
    trainer = trainer_for(recipe, tmp_path)
    before = {name: value.clone() for name, value in trainer.trainee.model.state_dict().items()}
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
        assert trainer._step(as_set(images)) is None
    assert all(torch.equal(value, before[name]) for name, value in trainer.trainee.model.state_dict().items())
    assert trainer._step(as_set(images)) is not None


def test_a_run_counts_what_its_initial_weights_cost(tmp_path, images, recipe):
    first = trainer_for(recipe, tmp_path / "first")
    first.train(as_set(images), as_set(images), max_minutes=0)
    second = trainer_for(recipe, tmp_path / "second")
    second.initialise(load_checkpoint(tmp_path / "first" / LATEST), "first")
    assert second.progress.images == first.progress.images > 0 and second.progress.seconds == first.progress.seconds


class Damaged(ImageSet):
    """A set of which one image cannot be read."""

    def __init__(self, images, bad):
        self._images, self._bad = images, bad

    def __len__(self):
        return len(self._images)

    def read(self, indices, generator):
        if self._bad in indices:
            raise PvaeZooError("image.png is damaged")
        return self._images.read(indices, generator)


def test_a_damaged_image_leaves_a_checkpoint_that_goes_on(tmp_path, images, recipe):
    whole = trainer_for(recipe, tmp_path / "whole")
    whole.train(as_set(images), as_set(images))
    bad = batch_indices(recipe.training, len(images), ALONE, 3)[0]
    with pytest.raises(PvaeZooError, match="damaged"):
        trainer_for(recipe, tmp_path / "parts").train(Damaged(as_set(images), bad), as_set(images))
    again = trainer_for(recipe, tmp_path / "parts")
    again.resume()
    assert again.progress.step == 2  # it is read ahead
    again.train(as_set(images), as_set(images))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("bad_step", [0, 5])
def test_a_damaged_image_at_the_start_or_in_validation_leaves_the_trained_weights(tmp_path, images, recipe, bad_step):
    train, valid = (as_set(images), Damaged(as_set(images), 7)) if bad_step else (Damaged(as_set(images), 7), None)
    recipe = replace(recipe, training=replace(recipe.training, batch_size=4 if bad_step else 22))
    trainer = trainer_for(recipe, tmp_path)
    with pytest.raises(PvaeZooError, match="damaged"):
        trainer.train(train, valid)
    again = trainer_for(recipe, tmp_path)
    again.resume()
    assert again.progress.step == bad_step
    assert all(value.equal(trainer.state.weights[name]) for name, value in again.state.weights.items())
    stem = "model.encoder.stem.bias"
    assert again.state.weights[stem].equal(again.state.average[stem]) == (bad_step == 0)


def test_a_run_whose_last_validation_failed_is_validated_when_it_goes_on(tmp_path, images, recipe):
    recipe = replace(recipe, training=replace(recipe.training, validate_every=100))
    with pytest.raises(PvaeZooError, match="damaged"):
        trainer_for(recipe, tmp_path).train(as_set(images), Damaged(as_set(images), 7))
    again = trainer_for(recipe, tmp_path)
    again.resume()
    assert again.train(as_set(images), as_set(images)) and again.progress.best_step == 12
    assert load_checkpoint(tmp_path / BEST).progress.best_step == 12


def test_what_a_budget_stops_is_validated_first(tmp_path, images, recipe):
    trainer = trainer_for(recipe, tmp_path)
    assert trainer.train(as_set(images), as_set(images), max_minutes=0) is False
    assert load_checkpoint(tmp_path / BEST).progress.best_step == load_checkpoint(tmp_path / LATEST).progress.step == 1


def test_two_runs_in_one_folder_are_refused(tmp_path, images, recipe):
    def begin_another(report):
        with pytest.raises(PvaeZooError, match=r"another process is training in .*: wait for it, or choose another"):
            trainer_for(recipe, tmp_path).train(as_set(images), as_set(images))

    assert trainer_for(recipe, tmp_path, begin_another).train(as_set(images), as_set(images))
    again = trainer_for(recipe, tmp_path)
    again.resume()
    assert again.train(as_set(images), as_set(images))


def test_a_run_that_goes_on_elsewhere_says_where(tmp_path, images, recipe, monkeypatch):
    trainer_for(recipe, tmp_path).train(as_set(images), as_set(images), max_minutes=0)
    first = load_checkpoint(tmp_path / LATEST).progress.hardware
    monkeypatch.setattr(loop, "hardware_name", lambda device: "a NVIDIA H200")
    again = trainer_for(recipe, tmp_path)
    again.resume()
    again.train(as_set(images), as_set(images))
    assert load_checkpoint(tmp_path / LATEST).progress.hardware == f"{first}; a NVIDIA H200"


def test_a_damaged_log_does_not_end_a_run(tmp_path, images, recipe):
    trainer_for(recipe, tmp_path).train(as_set(images), as_set(images), max_minutes=0)
    (tmp_path / "metrics.jsonl").write_bytes(b'\xff\x00}\n{"a": }\n7\n')
    again = trainer_for(recipe, tmp_path)
    again.resume()
    assert again.train(as_set(images), as_set(images))
    assert [row["step"] for row in reports(tmp_path)] == [5, 10, 12]
