import math

import pytest

from pvae_zoo.training import loop, stepper
from pvae_zoo.training.checkpoint import LATEST, load_checkpoint
from pvae_zoo.training.plan import Pace, planned, unplanned
from pvae_zoo.training.recipe import changed
from pvae_zoo.training.schedule import aid_weight, kl_weights, learning_rate


class Clock:
    """Tells how long a run of known speed would have taken: half a second a step, five for the first ones."""

    def __init__(self):
        self.trainer = None

    def __call__(self):
        step = 0 if self.trainer is None else self.trainer.progress.step
        return 100.0 + 0.5 * step + 5 * (step > 0)


@pytest.fixture
def timed(trainer_for):
    """A function that makes a trainer whose clock is of that speed."""

    def make(recipe, out, **options):
        clock = Clock()
        trainer = trainer_for(recipe, out, clock=clock, **options)
        clock.trainer = trainer
        return trainer

    return make


def test_shares_are_kept_and_the_warm_up_keeps_its_steps(two_levels):
    config = changed(two_levels, steps=1000, warmup_steps=50, cooldown_steps=400, kl_warmup_steps=(100, 200)).training
    long = planned(config, 3000, 7)
    assert (long.steps, long.warmup_steps, long.cooldown_steps, long.kl_warmup_steps) == (3000, 50, 1200, (300, 600))
    short = planned(config, 100, 7)
    assert (short.steps, short.warmup_steps, short.cooldown_steps, short.kl_warmup_steps) == (100, 10, 40, (10, 20))
    assert short.validate_every == 7
    assert learning_rate(short, 99) == pytest.approx(config.learning_rate / 40)


def test_before_the_plan_there_is_a_warm_up_and_no_end(two_levels):
    config = unplanned(two_levels.training)
    assert [learning_rate(config, step) for step in (0, 1, 500)] == pytest.approx([5e-3, 1e-2, 1e-2])
    assert aid_weight(config, 10**6) == 1.0 and kl_weights(config, 2) == [0.5, 0.5]


def counted(seconds, per_step, warmup=10**9):
    """Steps that are measured, and the plan, at a constant speed after a first step of 7 seconds."""
    pace, now = Pace(seconds, 0.0, warmup), 7.0
    for step in range(1, 10**6):
        if pace.step(now):
            return step, pace.plan(now, step, validation=0.0, validate_every=100)[0]
        now += per_step
    raise AssertionError


@pytest.mark.parametrize(("seconds", "per_step"), [(600, 0.03), (1800, 0.5), (1800, 12.8), (60, 4.0)])
def test_the_plan_fills_the_time_at_the_speed_that_was_measured(seconds, per_step):
    measured, steps = counted(seconds, per_step)
    assert measured * per_step + 7 < 0.4 * seconds
    assert 0.9 * seconds < 7 + (steps - 1) * per_step <= seconds


def test_the_plan_stands_when_the_warm_up_is_over():
    assert counted(3600, 0.01, warmup=200)[0] == 200


def test_a_validation_takes_time_too():
    pace = Pace(1000.0, 0.0, 0)
    for step in range(30):
        pace.step(float(step))
    assert pace.plan(29.0, 30, validation=0.0, validate_every=10) == (30 + 941, 10)
    # 10 seconds for every 10 steps, and for the end
    assert pace.plan(29.0, 30, validation=10.0, validate_every=10) == (30 + 465, 10)
    assert pace.plan(2000.0, 30, validation=0.0, validate_every=10) == (31, 10)


@pytest.mark.parametrize(("validation", "every"), [(1.0, 194), (47.0, 439), (400.0, 530)])
def test_a_short_run_is_validated_five_times_if_that_is_cheap(validation, every):
    pace = Pace(1000.0, 0.0, 0)
    for step in range(30):
        pace.step(float(step))
    steps, found = pace.plan(29.0, 30, validation=validation, validate_every=5000)
    assert found == pytest.approx(every, abs=2)
    assert 29 + (steps - 30) + math.ceil(steps / found) * validation <= 0.97 * 1000


def test_a_run_of_so_many_minutes_ends_with_its_rate_at_zero(tmp_path, two_levels, squares, as_set, timed, monkeypatch):
    rates = []
    original = stepper.learning_rate
    monkeypatch.setattr(stepper, "learning_rate", lambda *args: rates.append(original(*args)) or rates[-1])
    images = as_set(squares, two_levels)
    trainer = timed(two_levels, tmp_path, minutes=0.5)  # 30 seconds: 5 for the first step and 24 for 48 steps
    assert trainer.train(images, images)
    step = trainer.progress.step
    assert 44 <= step <= 50 and trainer.config.steps == step and trainer.progress.planned_at > 0
    assert len(rates) == step and rates[-1] == pytest.approx(0.01 / trainer.config.cooldown_steps)
    assert trainer.config.cooldown_steps == round(step * 4 / 12)
    stored = load_checkpoint(tmp_path / LATEST)
    assert stored.recipe.training.steps == step and not stored.progress.awaits_plan


@pytest.mark.parametrize("killed", [2, 9, 30])
def test_a_planned_run_is_resumed_to_the_same_bits_and_needs_no_minutes(
    tmp_path, two_levels, squares, as_set, timed, assert_same_run, monkeypatch, killed
):
    """Before the plan stands and after it; the resumed run's own speed would have given another plan."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    images = as_set(squares, two_levels)
    timed(two_levels, tmp_path / "whole", minutes=0.5).train(images, images)
    first = timed(two_levels, tmp_path / "parts", minutes=0.5)
    original = first._step

    def step(images):
        if first.progress.step == killed:
            raise InterruptedError
        return original(images)

    monkeypatch.setattr(first, "_step", step)
    with pytest.raises(InterruptedError):
        first.train(images, images)
    stored = load_checkpoint(tmp_path / "parts" / LATEST)
    assert stored.progress.step == killed and stored.progress.awaits_plan == (killed == 2)
    second = timed(stored.recipe, tmp_path / "parts")
    second.resume()
    if killed == 2:
        second.progress = second.progress.advanced(minutes=second.progress.minutes)
        assert second.train(images, images) and second.progress.planned_at > 2
        return  # its plan is of its own speed
    second.clock = lambda: 0.0
    assert second.train(images, images)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_processes_agree_on_the_plan_of_the_first(tmp_path, two_levels, squares, as_set, timed):
    class Second(loop.World):
        def sum(self, values):
            return [77.0] if len(values) == 1 and values[0] == 0.0 else values

    trainer = timed(two_levels, tmp_path, minutes=0.5)
    trainer.world = Second(1, 2)
    pace = Pace(30.0, 100.0, 0)
    pace.step(101.0)
    trainer._plan(pace, as_set(squares, two_levels))
    assert (trainer.config.steps, trainer.config.validate_every) == (77, 77)
    assert trainer.progress.planned_at == 0
