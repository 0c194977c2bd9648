"""Where many images are worked on: the options of it, as one value, and what is said of parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.cli.options import Command, refuse, shard_option
from pvae_zoo.cli.output import echo, echo_json, exit_for_failures
from pvae_zoo.cli.progress import watched

if TYPE_CHECKING:
    from pvae_zoo.data.images import ImageSource
    from pvae_zoo.scale.image_task import ImageTask
    from pvae_zoo.scale.places import Chosen, Parted, Place
    from pvae_zoo.scale.shards import Shard

_OPTIONS = (
    shard_option,
    click.option("--out", "-o", metavar="DIR", help="Where --shard and --ray write their parts, for pvae-zoo merge."),
    click.option(
        "--ray",
        "use_ray",
        is_flag=True,
        help="Work on Ray, on CPUs, or with --device cuda on a GPU for each of --workers; all nodes must share the "
        "folder of --out.",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="With --ray: address of a running cluster, or auto.  [default: start Ray on this machine]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="With --ray: processes, each with the model and --threads cores (by default one).",
    ),
    click.option(
        "--per-part",
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        metavar="N",
        help="With --ray: images in a part, the work that a process is given at once.",
    ),
)


def place_options(command: Command) -> Command:
    """``--shard``, ``--ray`` and what belongs to them, handed to the command as one ``place``."""

    @functools.wraps(command)
    def placed(
        shard: Shard | None,
        out: str | None,
        use_ray: bool,
        ray_address: str | None,
        workers: int,
        per_part: int,
        **options: Any,
    ) -> Any:
        from pvae_zoo.scale.places import Here, OneShard, OnRay

        if shard is not None and use_ray:
            raise click.UsageError("--ray cuts into shards itself: leave out --shard")
        if (out is None) == (shard is not None or use_ray):
            raise click.UsageError(
                "--out DIR goes with --shard and --ray, which write parts there: give both or neither"
            )
        if use_ray and ":" in options["device"]:
            raise click.UsageError(
                f"--ray gives each worker a GPU of its own: use --device cuda, not {options['device']}"
            )
        if not use_ray:
            refuse("workers", "per_part", "ray_address", because="nothing runs on Ray: add --ray, or omit it")
        place: Place = Here()
        if out is not None:
            ray = OnRay(folder=Path(out), address=ray_address, workers=workers, per_part=per_part)
            place = ray if shard is None else OneShard(shard, Path(out))
        return command(place=place, **options)

    decorated: Any = placed
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: Command = decorated
    return result


def leave_parts(
    task: ImageTask[Any], chosen: Chosen, sources: Sequence[ImageSource], place: Parted, *, as_json: bool
) -> None:
    """Do a task where it leaves parts, say so in one line, and end with the exit code of these images."""
    from pvae_zoo.scale.places import OneShard, run

    with watched("images") as watch, closing(run(task, chosen, sources, place, watch)) as made:
        parts = list(made)  # an interrupt here ends Ray too
    count, failed, name = sum(part.count for part in parts), sum(part.failed for part in parts), chosen.bundle.name
    if isinstance(place, OneShard):
        path, shards = parts[0].path, place.shard.of
        how = "was there already" if parts[0].was_there else f"scored on {chosen.model.where}"
        state = f"shard {place.shard} {how}"
    else:
        path, shards = place.folder, len(parts)
        state = f"{shards} parts, to be put together by pvae-zoo merge {place.folder}"
    if as_json:
        echo_json({"path": str(path), "model": name, "shards": shards, "count": count, "failed": failed})
    else:
        echo(f"{path}: {count} image{'s' * (count != 1)} of {name}, {state}")
    exit_for_failures(failed, count)
