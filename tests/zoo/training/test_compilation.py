import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.models.upsampling import Upsampling
from pvae_zoo.training.compilation import check_gradients
from pvae_zoo.training.distributed import World
from pvae_zoo.training.loop import Trainer
from pvae_zoo.training.recipe import Thumbnail
from pvae_zoo.training.trainee import Trainee

ALONE = World()


@pytest.fixture
def case(make_recipe, make_architecture):
    """A trainee of two levels, and the loss of a network of it, with dropout."""
    recipe = make_recipe(make_architecture((3, 8, 8, 4), top=3, encoder_dropout=0.3, dropout=0.3))
    recipe = replace(
        recipe,
        training=replace(recipe.training, thumbnails=(Thumbnail(size=4, sigma=0.1), Thumbnail(size=2, sigma=0.1))),
    )
    trainee = Trainee.of(recipe)
    x = torch.randint(4, (5, 3, 8, 8), dtype=torch.uint8)
    noise = [torch.randn(5, *shape) for shape in recipe.model.latent_shapes]

    def loss(network, bf16):
        torch.manual_seed(8)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            terms = network(x, noise)
        return trainee.loss(terms, [1.0, 1.0], 1.0)

    return recipe, trainee, loss


class Forgetful(nn.Module):
    """The same terms, without the gradient of one parameter."""

    def __init__(self, trainee, name):
        super().__init__()
        self.trainee, self.name = trainee, name

    def forward(self, x, noise):
        held = {self.name: self.trainee.get_parameter(self.name).detach()}
        return torch.func.functional_call(self.trainee, held, (x, noise))


@pytest.mark.parametrize("bf16", [False, True])
def test_the_same_network_passes_and_keeps_no_gradients(case, bf16):
    _, trainee, loss = case
    before = {name: value.clone() for name, value in trainee.state_dict().items()}
    check_gradients(trainee, trainee, loss, bf16=bf16, world=ALONE)
    assert all(p.grad is None for p in trainee.parameters()) and trainee.training
    assert all(torch.equal(value, before[name]) for name, value in trainee.state_dict().items())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", ["model.encoder.stem.weight", "auxiliary.heads.1.weight"])
def test_a_lost_gradient_is_noticed_and_the_parameter_named(case, bf16, name):
    _, trainee, loss = case
    shown = name.removeprefix("model.").replace(".", r"\.")
    with pytest.raises(PvaeZooError, match=f"another gradient than PyTorch for {shown}: train without --compile"):
        check_gradients(trainee, Forgetful(trainee, name), loss, bf16=bf16, world=ALONE)


def test_what_is_wrong_in_training_mode_alone_is_noticed(case):
    _, trainee, loss = case

    class Louder(nn.Module):
        def forward(self, x, noise):
            torch.rand(1)  # other numbers for dropout
            return trainee(x, noise)

    with pytest.raises(PvaeZooError, match="another gradient"):
        check_gradients(trainee, Louder(), loss, bf16=False, world=ALONE)


def test_what_one_process_finds_all_say(case):
    _, trainee, loss = case

    class Others(World):
        def any(self, flag):
            return True

    with pytest.raises(PvaeZooError, match="another gradient than PyTorch: train without"):
        check_gradients(trainee, trainee, loss, bf16=False, world=Others())


class Precise(nn.Module):
    """The same terms in float32: as far from bf16's as rounding makes it, and no further."""

    def __init__(self, trainee):
        super().__init__()
        self.trainee = trainee

    def forward(self, x, noise):
        with torch.autocast("cpu", enabled=False):
            return self.trainee(x, noise)


def test_rounding_is_forgiven_where_the_gradient_is_nothing_else(case):
    """At an optimum of the output's bias its gradient is the rounding of bf16."""
    _, trainee, loss = case
    bias = trainee.model.decoder.pixelcnn.output.bias
    for step in range(300):
        (gradient,) = torch.autograd.grad(loss(trainee, True), bias)
        bias.data -= 0.1 * 0.98**step * gradient
    check_gradients(trainee, Precise(trainee), loss, bf16=True, world=ALONE)


# ---- the compiler itself ----

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler on a CPU"
)


@pytest.fixture
def train(make_recipe, make_architecture, tmp_path):
    """A function that trains the smallest model with dropout and a thumbnail for two steps."""
    architecture = make_architecture((1, 4, 4, 2), conditioning="upsample", layers=1, dropout=0.3)
    recipe = make_recipe(architecture, steps=2, thumbnails=(Thumbnail(size=2, sigma=0.1),))
    images = ImageSet.of(np.random.default_rng(1).integers(0, 2, (10, 1, 4, 4), dtype=np.uint8), architecture.image)

    def train(*, compile_model):
        torch.compiler.reset()
        trainer = Trainer(recipe, tmp_path / str(compile_model), world=ALONE, compile_model=compile_model)
        trainer.stepper.bf16 = False
        trainer.train(images, images)
        return trainer

    return train


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_run_trains_on_the_graph_that_was_checked(train):
    eager, fused = train(compile_model=False), train(compile_model=True)
    # Another graph than the checked one would be compiled by the first step.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert fused.guard.watch.total == pytest.approx(eager.guard.watch.total, rel=1e-4)
    assert fused.progress.best_elbo == pytest.approx(eager.progress.best_elbo, rel=1e-3)


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_compiler_that_loses_a_gradient_stops_the_run(train, monkeypatch):
    right = Upsampling.forward

    def wrong(self, z):
        return right(self, z.detach() if torch.compiler.is_compiling() else z)

    monkeypatch.setattr(Upsampling, "forward", wrong)
    with pytest.raises(PvaeZooError, match=r"torch\.compile computes another gradient than PyTorch for encoder"):
        train(compile_model=True)
