"""Does this machine compute what was published? The golden vectors of a bundle on each provider that loads."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.verification import Verification, stopped, verify_bundle
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.sessions import CUDA, cores, import_onnxruntime


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What came out.

    Attributes:
        onnxruntime: its version.
        machine: system, architecture and cores.
        runs: by device, "cpu" or "cuda".
    """

    onnxruntime: str
    machine: str
    runs: dict[str, Verification]

    @property
    def ok(self) -> bool:
        return all(run.ok for run in self.runs.values())


def self_test(bundle: Bundle, device: Device) -> SelfTest:
    """Run the golden vectors.

    Args:
        bundle: admitted, since its graphs run.
        device: "cpu", "cuda", or "auto" for the CPU and, where onnxruntime has it, CUDA.

    Raises:
        PvaeZooError: if onnxruntime or the device that was named is missing; with "auto" that is a problem of its run.
    """
    ort = import_onnxruntime()
    devices: list[Device] = [device]
    if device == "auto":
        devices = ["cpu", "cuda"] if CUDA in ort.get_available_providers() else ["cpu"]
    return SelfTest(
        onnxruntime=str(ort.__version__),
        machine=machine(),
        runs={name: _run(bundle, name, tried=device == "auto") for name in devices},
    )


def _run(bundle: Bundle, device: Device, tried: bool) -> Verification:
    try:
        return verify_bundle(bundle, device)
    except PvaeZooError as error:
        if not tried:
            raise
        return stopped((), [str(error)])


def machine() -> str:
    """System, architecture and cores of this machine."""
    return f"{platform.system()} {platform.machine()}, {cores()} core{'s' * (cores() > 1)}"


def verdict(run: Verification) -> str:
    """What a run means for the user of this machine."""
    if not run.provider:
        return "the graphs did not run"
    if any(difference != difference for difference in run.largest_difference.values()):
        return "a graph gives values that are no numbers here: do not use this provider"
    if not run.ok:
        return "this provider computes something else than was published: do not use it for figures"
    if run.differing_pixels:
        return f"sound; {run.differing_pixels} of {run.pixels} pixels fall to the other side of a threshold by rounding"
    return "sound; the same pixels as where it was published"
