import math
from dataclasses import replace

import pytest
import torch

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training import guard as guard_module
from pvae_zoo.training import loop, watch
from pvae_zoo.training.checkpoint import LATEST, load_checkpoint
from pvae_zoo.training.distributed import World
from pvae_zoo.training.guard import Guard
from pvae_zoo.training.recipe import changed
from pvae_zoo.training.trainee import Terms
from pvae_zoo.training.watch import Watch


def bound(nats):
    return Terms(torch.tensor([-nats]), (torch.zeros(1),), ())


@pytest.fixture
def trainer(tmp_path, two_levels, trainer_for):
    return trainer_for(two_levels, tmp_path)


@pytest.fixture
def guard(trainer, monkeypatch):
    """Windows of two steps; every second one may be kept."""
    for module in (watch, guard_module):
        monkeypatch.setattr(module, "WINDOW", 2)
    monkeypatch.setattr(watch, "KEEP_EVERY", 4)
    guard = Guard(trainer.state, World())
    guard.begin()
    return guard


def walk(guard, bounds, first=1, warming=False):
    """What happened at each step; the weights are the step's number."""
    said = []
    for step, nats in enumerate(bounds, start=first):
        for value in guard.state.weights.values():
            value.fill_(step)
        said.append(guard.look(None if nats is None else bound(nats), step, warming=warming))
    return said


def weights(guard):
    return {float(value.flatten()[0]) for value in guard.state.weights.values()}


def test_a_leap_of_a_window_leads_back_to_the_last_good_state_at_a_lower_rate(guard):
    said = walk(guard, [100, 100, 80, 80, 90, 90, 99, 150])
    assert said[:7] == [""] * 7 and "leapt to 124.50 nats from 80.00 up to step 8" in said[7]
    assert weights(guard) == {4.0} and guard.watch.factor == 0.6 and guard.watch.rollbacks == 1
    # 3 channels of 8x8 values may be 0.01 bits each above it: 100 + 1.3
    assert walk(guard, [101, 101], first=9) == ["", ""]
    assert "0.36" in f"{Watch(factor=0.6).rolled_back().factor:.2f}"


def test_one_bad_step_is_no_leap_and_a_state_far_from_the_best_is_not_kept(guard):
    assert walk(guard, [100, 100, 100, 100, 100, 140, 115, 115]) == [""] * 8
    assert "leapt" in walk(guard, [200, 200], first=9)[1]
    assert weights(guard) == {4.0}


def test_what_is_not_finite_is_a_leap(guard):
    assert walk(guard, [100, math.nan])[1].startswith("the bound leapt to nan nats")
    assert guard.watch.best == math.inf  # that of the state it began with
    assert walk(guard, [300, 300], first=3) == ["", ""]


def test_while_the_kl_warms_up_a_bound_may_rise_slowly(guard):
    assert walk(guard, [100, 100, 120, 120, 140, 140, 160, 160], warming=True) == [""] * 8
    assert walk(guard, [160, 160], first=9) == ["", ""]


def test_ten_gradients_in_a_row_that_are_not_finite_lead_back(guard):
    assert walk(guard, [100] + [None] * 9 + [100] + [None] * 9) == [""] * 20
    assert "not finite for 10 steps up to step 21" in walk(guard, [None], first=21)[0]
    assert guard.watch.skipped == 0 and guard.watch.rollbacks == 1


def test_a_run_goes_back_five_times_and_then_stops_at_the_last_good_state(guard):
    for number in range(5):
        assert f"({number + 1} of 5)" in walk(guard, [math.nan, math.nan], first=2 * number + 1)[1]
    with pytest.raises(PvaeZooError, match="after going back 5 times: go on with --resume and a lower --learning-rate"):
        walk(guard, [math.nan, math.nan], first=11)
    assert guard.watch.rollbacks == 5 and not weights(guard) & set(map(float, range(1, 13)))


def test_processes_come_to_the_same_answer(trainer):
    class Pair(World):
        def sum(self, values):
            return [value + 50.0 for value in values]

    guard = Guard(trainer.state, Pair(0, 2))
    guard.look(bound(100), 1, warming=False)
    assert guard.watch.total == 75.0


@pytest.fixture
def nervous(monkeypatch):
    """Any window above the best is a leap, states are kept often, and a run may go back as often as it likes."""
    for module in (watch, guard_module):
        monkeypatch.setattr(module, "WINDOW", 2)
    monkeypatch.setattr(watch, "KEEP_EVERY", 4)
    monkeypatch.setattr(watch, "LEAP", 1.0)
    monkeypatch.setattr(watch, "SLACK_BITS", 0.0)
    monkeypatch.setattr(guard_module, "ROLLBACKS", 100)
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)


@pytest.mark.usefixtures("nervous")
def test_a_run_that_went_back_is_resumed_to_the_same_bits(
    tmp_path, two_levels, squares, as_set, trainer_for, assert_same_run, reports, monkeypatch
):
    recipe = changed(two_levels, steps=20, kl_warmup_steps=(1, 1), learning_rate=3e-2)
    images = as_set(squares, recipe)
    trainer_for(recipe, tmp_path / "whole").train(images, images)
    while True:  # killed after every third step
        part = trainer_for(recipe, tmp_path / "parts")
        if (tmp_path / "parts" / LATEST).exists():
            part.resume()
        ends = part.progress.step + 3
        original = part._look

        def look(taken, part=part, ends=ends, original=original):
            original(taken)
            if part.progress.step >= ends:
                raise InterruptedError

        # The last thing that was written stands; what was walked after it is walked again.
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(part, "_look", look)
        try:
            part.train(images, images)
            break
        except InterruptedError:
            continue
    monkeypatch.undo()
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    backs = [row for row in reports(tmp_path / "whole") if row["kind"] == "rollback"]
    assert 2 <= len(backs) < 10 and all("back to the last good weights" in row["note"] for row in backs)
    checkpoint = load_checkpoint(tmp_path / "whole" / LATEST)
    assert checkpoint.progress.watch.factor == pytest.approx(0.6 ** len(backs))
    assert checkpoint.section("good") and set(checkpoint.section("good")) >= {"model.encoder.stem.weight"}


def test_the_lower_rate_reaches_the_optimiser(tmp_path, two_levels, squares, as_set, trainer_for):
    recipe = changed(two_levels, steps=1, warmup_steps=0, cooldown_steps=0)
    trainer = trainer_for(recipe, tmp_path)
    trainer.guard.watch = Watch(factor=0.36)
    trainer.train(as_set(squares, recipe), as_set(squares, recipe))
    assert {group["lr"] for group in trainer.optimizer.param_groups} == {0.36e-2}


def test_a_rate_given_anew_begins_the_count_anew(tmp_path, two_levels, squares, as_set, trainer_for):
    recipe = changed(two_levels, steps=1)
    trainer = trainer_for(recipe, tmp_path)
    trainer.guard.watch = Watch(factor=0.36, rollbacks=2, best=77.0)
    trainer.train(as_set(squares, recipe), as_set(squares, recipe))
    for slower, expected in ((False, (0.36, 2)), (True, (1.0, 0))):
        again = trainer_for(recipe, tmp_path)
        again.resume(slower=slower)
        assert (again.guard.watch.factor, again.guard.watch.rollbacks) == expected and again.guard.watch.best == 77.0


def test_weights_that_are_no_numbers_are_no_good_state(trainer):
    next(iter(trainer.state.weights.values())).fill_(math.nan)
    guard = Guard(trainer.state, World())
    guard.begin()
    assert not guard.tensors()
    with pytest.raises(PvaeZooError, match="not finite for 10 steps up to step 10: go on"):
        for step in range(1, 11):
            guard.look(None, step, warming=False)
    assert guard.watch.skipped == 0


def test_the_kept_state_is_a_copy(guard):
    walk(guard, [100] * 4)
    kept = {name: value.clone() for name, value in guard.tensors().items()}
    walk(guard, [100, 100, 100], first=5)
    assert all(value.equal(kept[name]) for name, value in guard.tensors().items())
    walk(guard, [math.nan], first=8)
    for value in guard.state.weights.values():
        value.add_(1)
    assert all(value.equal(kept[name]) for name, value in guard.tensors().items())


def test_a_window_in_which_all_was_left_out_says_nothing():
    assert replace(Watch(best=5.0), skipped=2).trouble(50, 100) == ""
    assert Watch(best=5.0).closed(warming=False).best == 5.0
