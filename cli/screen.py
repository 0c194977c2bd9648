"""``screen``: which of these images do not belong?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.models import choose_model
from pvae_zoo.cli.options import (
    FiniteRange,
    batch_size_option,
    device_option,
    fit_options,
    json_option,
    model_option,
    paths_argument,
    refuse,
    refuse_idle_fits,
    threads_option,
)
from pvae_zoo.cli.output import SOME_FAILED, echo, exit_for_failures, say_repeats
from pvae_zoo.cli.places import leave_parts, place_options
from pvae_zoo.cli.progress import watched
from pvae_zoo.cli.screened import Form, print_screened

if TYPE_CHECKING:
    from pvae_zoo.data.fit import Fit
    from pvae_zoo.data.images import ImageSource
    from pvae_zoo.scale.places import Chosen, Place
    from pvae_zoo.scale.tasks import Watch
    from pvae_zoo.screening.calibration import Calibration
    from pvae_zoo.screening.verdicts import Verdict

RATE = 0.01


@click.command("screen")
@paths_argument
@click.option("--with", "calibration", required=True, metavar="FILE", help="What pvae-zoo calibrate wrote.")
@model_option
@click.option(
    "--fpr",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="A",
    help=f"Flag at most this share of images that belong.  [default: {RATE}]",
)
@click.option(
    "--fdr",
    type=FiniteRange(0, 1, min_open=True, max_open=True),
    metavar="Q",
    help="In place of --fpr: of those flagged, at most this share belongs (Benjamini-Hochberg).",
)
@click.option("--maps", metavar="DIR", help="For each flagged image a PNG of what surprised the model, and where.")
@click.option("--move", metavar="FOLDER", help="Move flagged files there.")
@fit_options
@batch_size_option(64, "Images in memory at once.")
@place_options
@device_option
@threads_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
def screen_command(
    paths: tuple[str, ...],
    calibration: str,
    model: str,
    fpr: float | None,
    fdr: float | None,
    maps: str | None,
    move: str | None,
    fit: Fit,
    batch_size: int,
    place: Place,
    device: str,
    threads: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Flag those of the images in PATHS that are not like the ones of a calibration.

    The p-value of an image is the share of calibration images that are as strange, so of images that belong at most the
    share --fpr is flagged, however well or badly the model tells others from them. WHAT SPOKE is the score that is
    farthest from where it usually is, in widths of the calibration's middle half. Rows are sorted, the strangest first.
    Images are prepared as those of the calibration were, unless options here say otherwise. The model is the one that
    the calibration names, if the zoo has it.

    With --shard or --ray the same command goes on where it was stopped, and pvae-zoo merge prints the rows of all.

    \b
    Example:
        pvae-zoo calibrate --model lsun known/ --out rooms.screen.json
        pvae-zoo screen --with rooms.screen.json incoming/ --fpr 0.01 --maps maps/
        pvae-zoo screen --with rooms.screen.json incoming/ --fdr 0.1 --move odd/ --json
        pvae-zoo screen --with rooms.screen.json incoming/ --shard 3/8 --out parts/
    """
    from pvae_zoo.data.images import find_images
    from pvae_zoo.scale.places import Here, run
    from pvae_zoo.scale.screening import Screening
    from pvae_zoo.screening.calibration import read_calibration
    from pvae_zoo.screening.conformal import check_rate
    from pvae_zoo.screening.verdicts import Rate, Verdicts

    if fpr is not None and fdr is not None:
        raise click.UsageError("--fpr and --fdr are two ways to choose a threshold: give one of them")
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two forms of the rows: give one of them")
    rate = Rate(RATE if fpr is None else fpr) if fdr is None else Rate(fdr, fdr=True)
    known = read_calibration(Path(calibration))
    if not rate.fdr:
        check_rate(len(known.ranked), rate.value)
    chosen = choose_model(_named(model, known, calibration), device, threads)
    known.check_model(chosen.bundle, calibration)
    refuse_idle_fits(chosen.bundle.config.image)
    fit = _fit(known, fit)
    task = Screening(calibration=known, fit=fit, rate=rate.value, fdr=rate.fdr, batch_size=batch_size)
    sources = find_images(paths, say_repeats)
    form: Form = "json" if as_json else "csv" if as_csv else "table"
    if not isinstance(place, Here):
        refuse("maps", "move", "as_csv", because="a part has no verdicts yet; pvae-zoo merge has: omit it")
        leave_parts(task, chosen, sources, place, as_json=as_json)
        return
    after = _Afterwards(chosen, known, sources, fit, maps, move)
    head = {"model": chosen.bundle.name, "provider": chosen.model.provider} | known.about()
    with watched("images") as watch, Verdicts(rate, len(known.ranked)) as verdicts:
        if form == "table":
            echo(f"{chosen.bundle.name} on {chosen.model.where}, {known.line()}", err=True)
        verdicts.take(run(task, chosen, sources, place, watch))
        print_screened(head, verdicts, form=form, act=lambda verdict: after(verdict, watch))
        failed = verdicts.failed
    exit_for_failures(failed, len(sources))
    if after.failed:
        click.get_current_context().exit(SOME_FAILED)


def _named(model: str, known: Calibration, path: str) -> str:
    """The model that is meant: one that was named here, or the calibration's; a file leads to no folder."""
    from pvae_zoo.sources.registry import known_names

    source = click.get_current_context().get_parameter_source("model")
    if source is not click.core.ParameterSource.DEFAULT:
        return model
    if known.model in known_names():
        return known.model
    raise PvaeZooError(f"{path} is of the model {known.model}, which is not of the zoo: say with --model where it is")


def _fit(known: Calibration, asked: Fit) -> Fit:
    """How images are prepared: as was asked here, or else as the calibration's were; a difference is said."""
    from pvae_zoo.data.fit import NOTHING

    if asked == NOTHING or asked == known.fit:
        return known.fit
    echo("Note: the images of the calibration were not prepared so, which alone may make these look strange", err=True)
    return asked


class _Afterwards:
    """What is done with flagged images once they are known: a map each, then the file is moved."""

    def __init__(
        self,
        chosen: Chosen,
        known: Calibration,
        sources: list[ImageSource],
        fit: Fit,
        maps: str | None,
        move: str | None,
    ) -> None:
        from pvae_zoo.base.atomic import write_error
        from pvae_zoo.cli.inputs import stems
        from pvae_zoo.scale.moving import check_movable

        self._chosen, self._known, self._sources, self._fit = chosen, known, sources, fit
        self._maps, self._move = maps, move
        self.failed = 0
        """Files for which it could not be done."""
        self._stems = stems([source.name for source in sources]) if maps is not None else []
        if move is not None:
            check_movable(sources, Path(move))
        if maps is not None:
            try:
                Path(maps).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise write_error(Path(maps), error) from error

    def __call__(self, verdict: Verdict, watch: Watch) -> dict[str, str]:
        if not verdict.flagged:
            return {}
        watch.check()
        done = {}
        try:
            if self._maps is not None:
                done["map"] = str(self._draw(verdict))
            if self._move is not None:
                from pvae_zoo.scale.moving import move

                done["moved_to"] = str(move(self._sources[verdict.index], Path(self._move)))
        except PvaeZooError as error:
            self.failed += 1
            echo(f"Error: {error}", err=True)
        return done

    def _draw(self, verdict: Verdict) -> Path:
        from pvae_zoo.runtime.pictures import png_name
        from pvae_zoo.screening.maps import save_map

        source = self._sources[verdict.index]
        values: Any = self._fit.read(source, self._chosen.model.image)
        if isinstance(values, PvaeZooError):
            raise PvaeZooError(f"{source.name} {values}")
        path = Path(self._maps or "") / png_name(self._stems[verdict.index])
        assert verdict.row.finding is not None
        save_map(path, self._chosen.model, values[0], verdict.row.finding, self._known.most_bits)
        return path
