"""``doctor``: what is installed, what really loads."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import FAILED, echo, echo_json, mebibytes, table

if TYPE_CHECKING:
    from pvae_zoo.checks.cuda import CudaDiagnosis
    from pvae_zoo.checks.diagnosis import Diagnosis


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Do not ask the Hub.")
@json_option
def doctor_command(offline: bool, as_json: bool) -> None:
    """Say what is installed, which providers really load, what the cache holds, and what keeps models from running.

    Where onnxruntime has CUDA, a graph is run there: a GPU that does not compute it is a problem, with the line that
    mends it. The CUDA of the driver, of onnxruntime and of its libraries is told, every GPU by its number, and the
    nodes that it has no kernel for.

    Exits with 1 if something is broken that sampling and scoring need.

    \b
    Example:
        pvae-zoo doctor
    """
    from pvae_zoo.checks.diagnosis import diagnose

    found = diagnose(ask_hub=not offline)
    if as_json:
        echo_json(asdict(found) | {"ok": found.ok})
    else:
        _print(found)
    if not found.ok:
        click.get_current_context().exit(FAILED)


def _cuda_rows(cuda: CudaDiagnosis | None) -> list[tuple[str, str]]:
    """What is to be told of CUDA where there is a driver or an onnxruntime that is made for it."""
    if cuda is None or (cuda.driver_cuda is None and cuda.built_for is None):
        return []
    libraries = ", ".join(f"{name} {version}" for name, version in cuda.libraries.items())
    rows = [
        ("CUDA", f"onnxruntime is made for {cuda.built_for}" if cuda.built_for else "onnxruntime tells no version"),
        ("  driver", f"runs CUDA up to {cuda.driver_cuda}" if cuda.driver_cuda else "none"),
        *((f"  {device}", name) for device, name in cuda.gpus.items()),
        ("  libraries", libraries or "none that pip installed"),
    ]
    if cuda.cuda_graphs:
        rows.append(("  CUDA graphs", cuda.cuda_graphs))
    return rows + [(f"  {name}", f"nodes on the CPU: {nodes}") for name, nodes in cuda.nodes_on_cpu.items()]


def _print(found: Diagnosis) -> None:
    distributions = ", ".join(f"{name} {version}" for name, version in found.distributions.items())
    onnxruntime = found.onnxruntime or f"does not load ({distributions or 'not installed'})"
    if found.onnxruntime and distributions:
        onnxruntime += f" (from {distributions})"
    rows = [
        ("pvae-zoo", found.pvae_zoo),
        ("Python", f"{found.python} ({found.executable})"),
        ("system", f"{found.platform}, {found.cores} core{'s' * (found.cores > 1)}"),
        ("numpy", found.numpy or "does not load"),
        ("onnxruntime", onnxruntime),
        *((f"  {name.removesuffix('ExecutionProvider')}", text) for name, text in found.providers.items()),
        *_cuda_rows(found.cuda),
        ("torch", found.torch or "not installed (only training and export need it)"),
        ("huggingface_hub", found.huggingface_hub or "not installed"),
        ("Hub", found.hub),
        ("cache", f"{found.cache}, {mebibytes(found.cache_free_bytes)} free"),
        ("models", "" if found.models else "none"),
        *((f"  {name}", "all hashes hold" if state == "ok" else state) for name, state in found.models.items()),
        ("pulled", mebibytes(found.cache_bytes) if found.pulled else "none"),
        *((f"  {name}", "all hashes hold" if state == "ok" else state) for name, state in found.pulled.items()),
    ]
    echo(table(rows))
    echo()
    for problem in found.problems:
        echo(f"PROBLEM: {problem}")
    if found.ok:
        echo("All that sampling and scoring need is here.")
