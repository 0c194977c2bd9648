"""``calibrate``: what do the images look like that belong?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.models import choose_model
from pvae_zoo.cli.options import (
    batch_size_option,
    device_option,
    fit_options,
    json_option,
    model_option,
    paths_argument,
    refuse_idle_fits,
    threads_option,
)
from pvae_zoo.cli.output import echo, echo_json, exit_for_failures, say_repeats
from pvae_zoo.cli.progress import watched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pvae_zoo.data.fit import Fit
    from pvae_zoo.runtime.networks import Images


@click.command("calibrate")
@paths_argument
@click.option("--out", "-o", required=True, metavar="FILE", help="The calibration, such as rooms.screen.json.")
@model_option
@fit_options
@batch_size_option(64, "Images in memory at once.")
@device_option
@threads_option
@json_option
def calibrate_command(
    paths: tuple[str, ...],
    out: str,
    model: str,
    fit: Fit,
    batch_size: int,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Learn from the images in PATHS what belongs, for pvae-zoo screen.

    A quarter of them, at most 1,000, are drawn at random to learn how their scores are spread; the others are ranked,
    so that the p-values of screen are honest whatever the scores are worth. A rate of --fpr 0.01 needs 132 images and
    is kept within half a point with 2,000. Take images that the model was not trained on: it knows those better than
    any new one.

    \b
    Example:
        pvae-zoo calibrate --model lsun known/ --out rooms.screen.json
        pvae-zoo calibrate --model mnist digits/ --binarize 128 --out digits.screen.json
    """
    import numpy as np

    from pvae_zoo.base.atomic import check_writable
    from pvae_zoo.data.images import ImageError, find_images
    from pvae_zoo.screening.screen import calibrate_slices, split

    check_writable(Path(out))
    sources = find_images(paths, say_repeats)
    parts = split(len(sources))
    chosen = choose_model(model, device, threads)
    image = chosen.bundle.config.image
    refuse_idle_fits(image)
    failed = done = 0
    with watched("images") as watch:

        def slices(part: NDArray[np.int64]) -> Iterator[Images]:
            nonlocal failed, done
            for start in range(0, len(part), batch_size):
                batch = [sources[index] for index in part[start : start + batch_size].tolist()]
                read = [fit.read(source, image) for source in batch]
                for source, result in zip(batch, read, strict=True):
                    if isinstance(result, ImageError):
                        echo(f"{source.name}: {result}", err=True)
                        failed += 1
                images = [result[0] for result in read if not isinstance(result, ImageError)]
                if images:
                    yield np.stack(images)
                done += len(batch)
                watch.of(len(sources)).at(done)

        try:
            known = calibrate_slices(chosen.model, slices(parts.fitted), slices(parts.ranked), fit)
        except PvaeZooError:
            exit_for_failures(failed, failed)  # none could be used: each was said
            raise
    known.save(Path(out))
    least = 1 / (len(known.ranked) + 1)
    if as_json:
        echo_json({"path": out, "model": known.model, "failed": failed, "least_fpr": least} | known.about())
    else:
        echo(f"{out}: {known.line()}, of {known.model}; good for --fpr {np.ceil(least * 1e4) / 1e4:g} and above")
    exit_for_failures(failed, len(sources))
