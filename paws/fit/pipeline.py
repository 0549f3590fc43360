"""From a folder of images and a few labels to predictions and a bundle, in steps of which each is done only if it must be.

check -> embed -> fit (train the head, compare with baselines, choose) -> predict; --train: train and embed before the fit ends
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paws.bundle.bundle import load_bundle
from paws.classifiers.combination import Combination
from paws.classifiers.prior import class_prior
from paws.config.options import DEFAULTS, FitOptions
from paws.config.threads import default_workers
from paws.data.check import check_folder, remember
from paws.data.labels import Labels, label_files
from paws.data.texts import counted, printable
from paws.errors import InputError
from paws.fit import record
from paws.fit import run as files_of_run
from paws.fit.choice import predictor_named
from paws.fit.fit import check_none_class, fit_problem
from paws.fit.folder import check_parts, check_target, clear, decoded
from paws.fit.presets import backbone_of, check_trainable, plan
from paws.fit.progress import Advance, StepProgress
from paws.fit.record import FitRecord
from paws.fit.run import FitRun, load_fit, read_former, titles
from paws.fit.steps import Steps, told
from paws.models.joined import Backbone
from paws.runs.folder import claim
from paws.runs.lock import run_lock

SHOWN = 5  # images named in a line


@dataclass(frozen=True)
class _Asked:
    """What a fit was asked for: the arguments of `fit_folder`."""

    images: Path
    labels: Labels | None
    test: Labels | None
    run: Path
    options: FitOptions
    device: str
    workers: int
    overwrite: bool


def fit_folder(
    images: Path,
    labels: Labels | None,
    run: Path,
    options: FitOptions = DEFAULTS,
    *,
    test: Labels | None = None,
    device: str = "cpu",
    workers: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> FitRun:
    """Fit a classifier to the images of a folder and write predictions and a bundle into ``run``.

    Called again with the same ``run``, finished steps are taken from it; a step whose input changed is done anew, and a
    killed one goes on where it was. A former fit stays until all of the new one is written. ``overwrite`` forgets them all.
    ``workers`` processes decode images; as the machine has cores if None. With ``options.train`` encoders are trained on the
    pixels, and are one more part of what is fitted. ``test`` are labels to report on that are no file, as which they stand in
    ``options``.

    Raises:
        InputError: anything wrong with the folder, the labels, the backbone or ``run``; all that is wrong with images and
            labels at once, before anything is written.
    """
    test = options.test if test is None else test
    inputs = [*label_files(labels), *label_files(test, "test"), *([] if options.weights is None else [Path(options.weights)])]
    check_target(images, run, inputs, overwrite)
    progress = StepProgress(quiet=quiet)
    workers = default_workers() if workers is None else workers
    steps, frozen = _checked(_Asked(images, labels, test, run, options, device, workers, overwrite), progress)
    with run_lock(run):
        claim(run, "fit")
        if overwrite:
            check_parts(run)
            clear(run, inputs)
        files_of_run.put_in_place(run)
        remember(run / record.CHECKED, steps.checked)
        former, key = read_former(run), steps.key(frozen)
        if former is not None and (undone := files_of_run.undone_changes(run, former, steps.checked.files)):
            progress.log("check", _told_of_undone(undone, run))
        if former is not None and former.key == key and _intact(run, former):
            features = steps.embed(run, load_bundle(run / record.BUNDLE).frozen)
            progress.log("fit", f"unchanged ({titles()[former.chosen]})")
            steps.predict(run, features)
        else:
            check_parts(run)
            features = steps.embed(run, frozen)
            with progress.step("fit") as advance:
                problem = steps.problem(features, tell := _percent(advance))
                if not options.train:
                    fitted = fit_problem(problem, tell=tell, **steps.reported(features))
                else:
                    problem.cross_fitted(Combination)
            if options.train:
                frozen, features, problem = steps.train(run, frozen, problem)
                with progress.step("fit") as advance:
                    fitted = fit_problem(problem, tell=_percent(advance), **steps.reported(features))
            steps.save(run, frozen, features, fitted, key)
    progress.log("seconds", progress.summary())
    return load_fit(run)


def _checked(asked: _Asked, progress: StepProgress) -> tuple[Steps, Backbone]:
    """What is to be done and with which backbone, after all that is wrong with options, images and labels was told."""
    options, device = asked.options, asked.device
    predictor_named(options.model)  # raises where there is no such method
    former = None if asked.overwrite else read_former(asked.run)
    preset = None if former is None else former.settings.get("preset")
    if options.train:
        check_trainable(options, device=device, former=preset)
    of_machine = decoded(asked.images)
    with progress.step("check") as advance:
        checked = check_folder(
            asked.images,
            asked.labels,
            test=asked.test,
            skip_broken=options.skip_broken,
            known=() if asked.overwrite else (asked.run / record.CHECKED, of_machine),
            workers=asked.workers,
            advance=advance,
        )
    for line in (checked.summary(), *checked.notes()):
        progress.log("check", line)
    check_none_class(options.none_class, checked.files.classes)
    class_prior(options.prior, checked.files.labels, checked.files.classes)  # raises what is wrong with it
    planned = plan(options, checked.files.paths, device=device, former=preset)
    with suppress(OSError, InputError):  # without a cache they are read again
        of_machine.parent.mkdir(parents=True, exist_ok=True)
        remember(of_machine, checked)
    frozen = backbone_of(planned.options).with_values(checked.values)
    progress.log("plan", f"{told(frozen)}, 1 + {planned.options.views} views of each image: {planned.why}")
    return Steps(asked.images, asked.labels, asked.test, checked, planned.options, progress, device, asked.workers), frozen


def _told_of_undone(names: Sequence[str], run: Path) -> str:
    """What to say of labels that ``paws labels`` has changed since the last fit and that are given as they were before."""
    shown = ", ".join(map(printable, names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
    return (
        f"{counted(len(names), 'image')} {'has' if len(names) == 1 else 'have'} other labels here than paws labels gave them "
        f"({shown}): --labels {run / record.LABELS} keeps what it changed"
    )


def _percent(advance: Advance) -> Callable[[str, float], None]:
    """A listener of `fit_features` that moves a bar of 100, which is told what was done since."""
    done = [0.0]

    def report(what: str, share: float) -> None:
        advance(100 * (share - done[0]), what)
        done[0] = share

    return report


def _intact(run: Path, former: FitRecord) -> bool:
    """Whether all that a fit has written before its predictions can be read."""
    try:
        load_bundle(run / record.BUNDLE)
        found = FitRun(run, former, *files_of_run.read_files(run, former))
        return bool(found.held_out)
    except InputError:
        return False
