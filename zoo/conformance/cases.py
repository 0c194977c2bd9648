"""What a runtime is asked to compute: a graph, and what it is fed run after run.

The loop over pixels is data here: which positions a step computes, with which noise, is known before the first one
runs; only the canvases go from step to step. So one small loop, in Python (`run_case`) or in JavaScript
(``driver.mjs``), serves every graph of every bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.checks.verification import step_log_prob, whole_image
from pvae_zoo.contract.config import BundleConfig
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.plan import Plan
from pvae_zoo.runtime.wavefront import canvas_rows

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[dict[str, NDArray[Any]]], Arrays]
"""A graph in some runtime: its inputs by name to its outputs by name."""


@dataclass(frozen=True)
class Case:
    """A graph and its inputs.

    Attributes:
        role: of the graph.
        wanted: outputs to keep.
        feeds: of each run, the inputs that are its own.
        constants: inputs that are the same in every run.
        carried: inputs of the first run that take the output ``<name>_next`` in the runs after it.
    """

    role: str
    wanted: tuple[str, ...]
    feeds: tuple[Arrays, ...]
    constants: Arrays = field(default_factory=dict)
    carried: Arrays = field(default_factory=dict)


def run_case(run: Run, case: Case) -> list[Arrays]:
    """The wanted outputs of each run."""
    results: list[Arrays] = []
    carried = dict(case.carried)
    for feed in case.feeds:
        outputs = run({**case.constants, **carried, **feed})
        carried = {name: outputs[f"{name}_next"] for name in carried}
        # A copy: some runtimes hand out memory that the next run overwrites.
        results.append({name: np.array(outputs[name]) for name in case.wanted})
    return results


class StepCase:
    """A wavefront of a step graph as a `Case`, and its outputs as images.

    Args:
        config: the contract.
        role: "decoder_step" or "prior_step".
        context: ``(N, rows, channels)`` float32.
        values: inputs for every position, ``(N, C, H, W)``.
        wanted: output of the step to keep.
    """

    def __init__(
        self, config: BundleConfig, role: str, context: NDArray[np.float32], values: Arrays, wanted: str
    ) -> None:
        self.spec, self.count, self.wanted = config.steps[role], len(context), wanted
        self.plan = Plan(self.spec, self.count)
        constants = {"context": np.ascontiguousarray(context.reshape(-1, self.spec.context.channels))}
        if role == "decoder_step":
            constants["temperature"] = np.ones(1, np.float32)
        rows = canvas_rows(self.spec.geometry, self.count)
        self.case = Case(
            role=role,
            wanted=(wanted,),
            feeds=tuple(self.plan.feeds(values)),
            constants=constants,
            carried={c.name: np.zeros((rows, c.channels), np.float32) for c in self.spec.canvases},
        )

    def images(self, results: list[Arrays]) -> NDArray[Any]:
        """What was drawn, ``(N, C, H, W)``."""
        return self.plan.placed(np.concatenate([outputs[self.wanted] for outputs in results]))


def golden_case(bundle: Bundle, role: str, golden: Arrays, whole: Arrays) -> tuple[Case, Arrays]:
    """A whole-image graph on its golden vectors, and the outputs that it should have (`golden_gap`).

    Args:
        golden: as they are stored.
        whole: with whole contexts, which the graph is fed (`pvae_zoo.checks.verification.with_contexts`).
    """
    inputs, outputs = whole_image(bundle)[role]
    case = Case(role, tuple(outputs), ({name: whole[key] for name, key in inputs.items()},))
    return case, {name: golden[key] for name, key in outputs.items()}


def golden_step_case(config: BundleConfig, role: str, whole: Arrays) -> tuple[StepCase, NDArray[Any]]:
    """A step graph driven over the golden images, and what it should give.

    The pixels are told, so that every step is compared and none depends on how an earlier one fell.
    """
    if role == "prior_step":
        drawing = StepCase(config, role, whole["prior_context"], {"noise": whole["z1_noise"]}, "z1")
        return drawing, whole["z1"]
    values = {"uniforms": whole["uniforms"], "given": whole["image"].astype(np.int64)}
    return StepCase(config, role, whole["context"], values, "log_prob"), step_log_prob(whole)


def draw_sample(config: BundleConfig, golden: Arrays, execute: Callable[[Case], list[Arrays]]) -> NDArray[np.uint8]:
    """Images ``(N, C, H, W)`` from the golden noise alone, every graph on the way run by ``execute``."""

    def context_of(role: str, name: str, z: NDArray[np.float32]) -> NDArray[np.float32]:
        context: NDArray[np.float32] = execute(Case(role, ("context",), ({name: z},)))[0]["context"]
        return context

    if len(config.latents) == 1:
        z1 = execute(Case("prior", ("z1",), ({"z1_noise": golden["z1_noise"]},)))[0]["z1"]
    else:
        context = context_of("prior_context", "z2", golden["z2"])
        prior = StepCase(config, "prior_step", context, {"noise": golden["z1_noise"]}, "z1")
        z1 = prior.images(execute(prior.case))
    values = {"uniforms": golden["uniforms"], "given": np.full(golden["uniforms"].shape, -1, np.int64)}
    pixels = StepCase(config, "decoder_step", context_of("decoder_context", "z1", z1), values, "pixels")
    return pixels.images(execute(pixels.case)).astype(np.uint8)
