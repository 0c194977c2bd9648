"""``doctor``: what is installed, what really loads."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pvae_zoo.cli.options import json_option
from pvae_zoo.cli.output import FAILED, echo, echo_json, mebibytes, table

if TYPE_CHECKING:
    from pvae_zoo.checks.diagnosis import Diagnosis


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Do not ask the Hub.")
@json_option
def doctor_command(offline: bool, as_json: bool) -> None:
    """Say what is installed, which providers really load, what the cache holds, and what keeps models from running.

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
