"""Does a bundle on this machine's onnxruntime compute what it was published to compute?"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.gaps import largest_gap
from pvae_zoo.checks.step_vectors import StepVector, step_gap, step_vectors
from pvae_zoo.contract.config import TensorSpec
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.failures import device_failures
from pvae_zoo.runtime.grid import GridDraw, GridSampler
from pvae_zoo.runtime.sampler import PixelDraw, StepSampler
from pvae_zoo.runtime.sessions import active_provider, device_of, open_session

_ONNX_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}

GOLDEN_ROWS = 32
"""Rows of a context among the golden vectors, spread over the grid: all of them would be most of a bundle's megabytes.

The graphs that read a context are fed what the context graph makes of the golden latents, all rows of it.
"""

_Names = dict[str, str]
_Arrays = dict[str, NDArray[Any]]
_CONTEXTS = ("prior_context", "decoder_context")


def _own(*names: str) -> _Names:
    return {name: name for name in names}


# Inputs and outputs of the whole-image graphs, each with its name among the golden vectors.
_DECODER = {"decoder_context": (_own("z1"), _own("context")), "decoder": (_own("image", "context"), _own("log_prob"))}
_ONE_LEVEL = {
    "encoder": (_own("image"), _own("z1_mean", "z1_log_std")),
    "prior": (_own("z1_noise"), _own("z1")),
    **_DECODER,
}
_TWO_LEVELS = {
    "encoder": (_own("image"), _own("z1_mean", "z1_log_std", "z2_mean", "z2_log_std")),
    "prior_context": (_own("z2"), {"context": "prior_context"}),
    "prior": (_own("z1") | {"context": "prior_context"}, _own("prior_mean", "prior_log_std")),
    **_DECODER,
}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found.

    Attributes:
        provider: where the graphs ran; empty if they did not.
        files: files whose size and hash hold.
        largest_difference: from the golden vectors, by role; empty if the graphs did not run.
        differing_pixels: values of the drawn images that differ from the golden ones.
        pixels: values that were drawn.
        problems: what does not hold, a line each.
    """

    provider: str
    files: tuple[str, ...]
    largest_difference: dict[str, float]
    differing_pixels: int
    pixels: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def verify_bundle(bundle: Bundle, device: Device = "cpu") -> Verification:
    """Check every hash, each graph's inputs and outputs, and the golden vectors.

    The images are drawn by a whole wavefront, and scored by a second one that is told the pixels.

    Raises:
        PvaeZooError: if onnxruntime or the device is missing, or a graph fails on a GPU.
    """
    files, problems = _check_files(bundle)
    if problems:
        return stopped(files, problems)
    sessions = {}
    for role in bundle.config.roles:
        try:
            sessions[role] = open_session(bundle.read_graph(role), device)
        except PvaeZooError:
            raise
        except Exception as error:  # onnxruntime's own, for a graph that it cannot load
            problems.append(f"{role}: onnxruntime does not load it: {first_line(error)}")
            continue
        problems += [f"{role}: {line}" for line in _check_contract(bundle, role, sessions[role])]
    golden = read_golden(bundle, problems)
    single = _single_steps(bundle, golden, problems)
    if problems:
        return stopped(files, problems)
    try:
        with device_failures(device_of(sessions["decoder"])):
            whole = with_contexts(bundle, golden, sessions.__getitem__)
            difference = {
                role: _difference(sessions[role], {name: whole[key] for name, key in inputs.items()}, outputs, golden)
                for role, (inputs, outputs) in whole_image(bundle).items()
            }
            if "prior_step" in bundle.config.steps:
                difference["prior_step"] = _draw_z1(bundle, device, whole)
            difference["decoder_step"], differing = _draw(bundle, device, whole)
            for vector in single:
                outputs = zip(
                    vector.expected, sessions[vector.role].run(list(vector.expected), vector.feed), strict=True
                )
                difference[vector.role] = max(difference[vector.role], step_gap(vector, dict(outputs)))
    except PvaeZooError:
        raise
    except Exception as error:  # a graph that keeps to the contract and cannot compute all the same
        return stopped(files, [f"the golden vectors do not run: {first_line(error)}"])
    numbers = bundle.config.numbers
    # Written so that a difference that is not a number is a problem too.
    problems += [
        f"{r}: differs by {d:.1e}, more than {numbers.gap:.0e}" for r, d in difference.items() if not d <= numbers.gap
    ]
    pixels = int(golden["image"].size)
    if numbers.draws is not None and differing > numbers.draws * pixels:
        problems.append(f"decoder_step: draws {differing} of {pixels} values differently")
    return Verification(
        provider=active_provider(sessions["decoder"]),
        files=files,
        largest_difference=difference,
        differing_pixels=differing,
        pixels=pixels,
        problems=tuple(problems),
    )


def stopped(files: tuple[str, ...], problems: list[str]) -> Verification:
    """Of a bundle that was not run, and why."""
    return Verification(
        provider="", files=files, largest_difference={}, differing_pixels=0, pixels=0, problems=tuple(problems)
    )


def _check_files(bundle: Bundle) -> tuple[tuple[str, ...], list[str]]:
    sound, problems = [], []
    for spec in bundle.files():
        try:
            bundle.read(spec)
            sound.append(spec.file)
        except PvaeZooError as error:
            problems.append(str(error))
    return tuple(sound), problems


def _check_contract(bundle: Bundle, role: str, session: Any) -> list[str]:
    spec = bundle.config.graphs[role]
    pairs = (("inputs", spec.inputs, session.get_inputs()), ("outputs", spec.outputs, session.get_outputs()))
    problems = []
    for kind, expected, actual in pairs:
        if [tensor.name for tensor in expected] != [tensor.name for tensor in actual]:
            problems.append(f"its {kind} are {', '.join(t.name for t in actual)}, not those of config.json")
            continue
        problems += [
            f"{a.name} is {a.type} {a.shape}, config.json says {e.dtype} {list(e.shape)}"
            for e, a in zip(expected, actual, strict=True)
            if not _fits(e, a.type, a.shape)
        ]
    return problems


def _fits(expected: TensorSpec, onnx_type: str, shape: list[int | str | None]) -> bool:
    """Same type and rank, and the same size wherever both state one."""
    if onnx_type != _ONNX_TYPES.get(expected.dtype) or len(shape) != len(expected.shape):
        return False
    sizes = zip(expected.shape, shape, strict=True)
    return all(e == a for e, a in sizes if isinstance(e, int) and isinstance(a, int))


def read_golden(bundle: Bundle, problems: list[str]) -> _Arrays:
    """The golden vectors by name; what is wrong with them is added to ``problems``, a line each."""
    name = bundle.config.golden.file
    try:
        with np.load(io.BytesIO(bundle.read(bundle.config.golden)), allow_pickle=False) as stored:
            golden = {key: stored[key] for key in stored.files}
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        problems.append(f"{name} cannot be read: {error}")
        return {}
    keys = [key for pair in whole_image(bundle).values() for names in pair for key in names.values()]
    wanted = dict.fromkeys([*keys, "uniforms", "z1_noise"])
    missing = [key for key in wanted if key not in golden]
    if missing:
        problems.append(f"{name} lacks {', '.join(missing)}")
    return golden


def whole_image(bundle: Bundle) -> dict[str, tuple[_Names, _Names]]:
    """Of each graph that is run once an image: its inputs and outputs, each with its name among the golden vectors."""
    return _ONE_LEVEL if len(bundle.config.latents) == 1 else _TWO_LEVELS


def with_contexts(bundle: Bundle, golden: _Arrays, session_of: Callable[[str], Any]) -> _Arrays:
    """The golden vectors with whole contexts in place of the `GOLDEN_ROWS` that are stored of them.

    Args:
        golden: as `read_golden` gives them.
        session_of: the onnxruntime session of a role.
    """
    whole = dict(golden)
    for role, (inputs, outputs) in whole_image(bundle).items():
        if role in _CONTEXTS:
            feed = {name: golden[key] for name, key in inputs.items()}
            whole[outputs["context"]] = session_of(role).run(["context"], feed)[0]
    return whole


def golden_rows(context: NDArray[Any], kept: int) -> NDArray[Any]:
    """The rows of a context ``(N, rows, channels)`` that the golden vectors keep: so many, spread evenly."""
    rows = context.shape[1]
    chosen: NDArray[Any] = context[:, np.arange(kept) * rows // kept] if 0 < kept < rows else context
    return chosen


def golden_gap(name: str, actual: NDArray[Any], golden: NDArray[Any]) -> float:
    """The `largest_gap` of a graph's output from the golden one; of a context from the rows that are kept of it."""
    kept = name == "context" and actual.ndim == golden.ndim == 3
    return largest_gap(golden_rows(actual, golden.shape[1]) if kept else actual, golden)


def _difference(session: Any, feed: _Arrays, outputs: _Names, golden: _Arrays) -> float:
    actual = session.run(list(outputs), feed)
    return max(golden_gap(name, value, golden[key]) for (name, key), value in zip(outputs.items(), actual, strict=True))


def _single_steps(bundle: Bundle, golden: _Arrays, problems: list[str]) -> list[StepVector]:
    """The golden steps of all step graphs; what is wrong with them is added to ``problems``."""
    try:
        return [vector for role in bundle.config.steps for vector in step_vectors(bundle.config, role, golden)]
    except PvaeZooError as error:
        problems.append(str(error))
        return []


def _draw_z1(bundle: Bundle, device: Device, golden: _Arrays) -> float:
    sampler = GridSampler(bundle, "prior_step", device)
    drawn = sampler.draw(GridDraw(golden["prior_context"], {"noise": golden["z1_noise"]}, {}))
    return largest_gap(drawn["z1"], golden["z1"])


def _draw(bundle: Bundle, device: Device, golden: _Arrays) -> tuple[float, int]:
    """Largest difference of the scores of the golden pixels, and how many pixels a free draw gets differently."""
    sampler = StepSampler(bundle, device)
    context, uniforms, image = golden["context"], golden["uniforms"], golden["image"]
    free = sampler.draw(PixelDraw(context, uniforms, np.full(image.shape, -1, np.int64)))
    told = sampler.draw(PixelDraw(context, uniforms, image.astype(np.int64)))
    return largest_gap(told.log_prob, step_log_prob(golden)), int((free.images != image).sum())


def step_log_prob(golden: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What the steps of the decoder give the golden images: of coarse numbers not what the decoder gives them."""
    return golden.get("step_log_prob", golden["log_prob"])


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
