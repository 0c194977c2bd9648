"""The process that looks into a bundle and runs it: ``python -m pvae_zoo.trust.worker FOLDER SHA256 SECONDS``.

It limits itself before it opens anything, and says what is wrong as JSON on its standard output. What is imported is
imported under the limits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pvae_zoo.trust.limits import limit_this_process

_PROBLEMS = 20
_LINE = 300


def problems_of(folder: Path, config_sha256: str) -> list[str]:
    """What is wrong with a bundle: in its golden vectors, in its graphs, or in what they compute.

    Args:
        config_sha256: of the config that was asked about.

    Raises:
        PvaeZooError: if a file is missing or damaged, or onnxruntime is not there.
    """
    from pvae_zoo.checks.verification import verify_bundle
    from pvae_zoo.contract.folder import Bundle
    from pvae_zoo.trust.screening import screen_graph
    from pvae_zoo.trust.vectors import screen_golden

    bundle = Bundle(folder)
    if bundle.config_sha256 != config_sha256:
        return ["its config changed while it was looked at"]
    golden = bundle.config.golden
    problems = [f"{golden.file}: {problem}" for problem in screen_golden(bundle.read(golden))]
    for role in bundle.config.roles:
        problems += screen_graph(bundle.read_graph(role), bundle.config.graphs[role], role)
    return problems or list(verify_bundle(bundle).problems)


def main() -> None:
    folder, config_sha256, seconds = sys.argv[1:]
    limit_this_process(int(seconds))
    from pvae_zoo.base.printable import shown

    try:
        problems = problems_of(Path(folder), config_sha256)
    except Exception as error:  # whatever a hostile bundle provokes is a problem of the bundle
        cause = error if isinstance(error, MemoryError) else error.__context__
        out_of_memory = isinstance(cause, MemoryError)
        problems = ["it needs too much memory"] if out_of_memory else [str(error) or type(error).__name__]
    print(json.dumps([shown(problem, _LINE) for problem in problems[:_PROBLEMS]]))


if __name__ == "__main__":
    main()
