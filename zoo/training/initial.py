"""What a run starts from: the averaged weights of another, wherever names and shapes agree."""

from __future__ import annotations

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.training.checkpoint import Checkpoint, RunProgress
from pvae_zoo.training.state import State
from pvae_zoo.training.trainee import lost_names, upper_names


def take_weights(state: State, given: Checkpoint, name: str, *, anew: bool = False) -> RunProgress:
    """Begin with another run's averaged weights, its auxiliary layers among them.

    Args:
        state: of the new run; what does not fit keeps its random weights.
        given: the other's checkpoint.
        name: how the user called it.
        anew: leave what is above z1 at its random weights, but for the masked layers of p(z1|z2).

    Returns:
        Progress at step 0: what it cost to make those weights is part of what it costs to make these.

    Raises:
        PvaeZooError: if nothing fits, or if something that is to stand still would do so at random weights.
    """
    architecture = state.trainee.model.architecture
    found = {f"model.{key}": value for key, value in given.section("ema").items()}
    found |= {f"auxiliary.{key}": value for key, value in given.section("auxiliary_ema").items()}
    taken = {k: v for k, v in found.items() if k in state.weights and state.weights[k].shape == v.shape}
    # A bias of the same length says nothing.
    if not any(key.startswith("model.") and value.dim() > 1 for key, value in taken.items()):
        raise PvaeZooError(f"--init {name}: no weight of that model fits this recipe")
    if state.trainee.learns == "prior":
        standing = [k for k in state.weights if k.startswith("model.") and not k.startswith(upper_names(architecture))]
        lacking = [key.removeprefix("model.") for key in standing if key not in taken]
        if lacking:
            raise PvaeZooError(
                f"--init {name}: it has no {lacking[0]} of this shape, which would stand still untrained"
            )
    if anew:
        taken = {key: value for key, value in taken.items() if not key.startswith(lost_names(architecture))}
    state.start_from(taken)
    own, spent = [key for key in state.weights if key.startswith("model.")], given.progress
    count = sum(key in taken for key in own)
    source = f"{given.recipe.name} at step {spent.step} ({count} of {len(own)} tensors)"
    return RunProgress(
        initialised_from=source, images=spent.images, seconds=spent.seconds, hardware=spent.hardware
    )  # fmt: skip
