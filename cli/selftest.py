"""``selftest``: does this machine compute what was published?"""

from __future__ import annotations

from dataclasses import asdict

import click

from pvae_zoo.cli.models import open_admitted
from pvae_zoo.cli.options import device_option, json_option, model_argument
from pvae_zoo.cli.output import FAILED, echo, echo_json, table


@click.command("selftest")
@model_argument
@device_option
@json_option
def selftest_command(model: str, device: str, as_json: bool) -> None:
    """Run the golden vectors of MODEL on this machine: the largest difference of each graph, and a verdict.

    The vectors were computed when the model was exported. A whole wavefront is drawn from given noise as well. With
    --device auto, CUDA is tried beside the CPU where onnxruntime has it.

    \b
    Example:
        pvae-zoo selftest
        pvae-zoo selftest mnist --device cuda
    """
    from pvae_zoo.checks.selftest import self_test, verdict

    bundle = open_admitted(model)
    found = self_test(bundle, device)
    if as_json:
        runs = {name: asdict(run) | {"ok": run.ok, "verdict": verdict(run)} for name, run in found.runs.items()}
        head = {"name": bundle.name, "sha256": bundle.digest, "ok": found.ok, "onnxruntime": found.onnxruntime}
        echo_json(head | {"machine": found.machine, "runs": runs})
    else:
        echo(f"{bundle.name} with onnxruntime {found.onnxruntime} on {found.machine}")
        for name, run in found.runs.items():
            echo(f"\n{run.provider or name}")
            rows = [(f"  {role}", f"{difference:.1e}") for role, difference in run.largest_difference.items()]
            if rows:
                echo(table([("  GRAPH", "LARGEST DIFFERENCE"), *rows], right=(1,)))
                echo(f"  drawn images: {run.differing_pixels} of {run.pixels} values differ")
            for problem in run.problems:
                echo(f"  PROBLEM: {problem}")
            echo(f"  {verdict(run)}")
    if not found.ok:
        click.get_current_context().exit(FAILED)
