"""From a folder of images and a few labels to predictions and a bundle, in steps of which each is done only if it must be.

check -> embed -> fit (train the head, compare with baselines, choose) -> predict; --train: train and embed before the fit ends
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.bundle.bundle import load_bundle, save_bundle
from paws.classifiers.combination import Combination
from paws.classifiers.heads import HeadSettings
from paws.classifiers.prior import class_prior
from paws.classifiers.problem import Problem, with_encoders
from paws.config.options import DEFAULTS, FitOptions
from paws.config.threads import default_workers
from paws.data.check import Checked, check_folder, remember
from paws.data.labels import Labels, label_files, name_of
from paws.errors import InputError
from paws.fit import record
from paws.fit import run as files_of_run
from paws.fit.choice import predictor_named
from paws.fit.embed import FeatureStore
from paws.fit.estimate import announce
from paws.fit.fit import Fitted, Progress, check_none_class, feature_problem, fit_problem
from paws.fit.folder import check_parts, check_target, clear
from paws.fit.near_copies import near_copies
from paws.fit.presets import backbone_of, check_trainable, plan
from paws.fit.progress import Advance, StepProgress
from paws.fit.record import FitRecord
from paws.fit.results import record_of, write_labels
from paws.fit.run import FitRun, load_fit, read_former, titles
from paws.models.embedding import Embedder
from paws.models.frozen import Backbone, join
from paws.models.runtime import cache_folder
from paws.runs.folder import claim
from paws.runs.keys import content_key
from paws.runs.lock import run_lock


def fit_folder(
    images: Path,
    labels: Labels | None,
    run: Path,
    options: FitOptions = DEFAULTS,
    *,
    device: str = "cpu",
    workers: int | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> FitRun:
    """Fit a classifier to the images of a folder and write predictions and a bundle into ``run``.

    Called again with the same ``run``, finished steps are taken from it; a step whose input changed is done anew, and a
    killed one goes on where it was. ``overwrite`` forgets them all. ``workers`` processes decode images; as the machine has
    cores if None. With ``options.train`` encoders are trained on the pixels, and are one more part of what is fitted.

    Raises:
        InputError: anything wrong with the folder, the labels, the backbone or ``run``; all that is wrong with images and
            labels at once, before anything is written.
    """
    predictor_named(options.model)  # raises where there is no such method
    inputs = [*label_files(labels), *(Path(path) for path in (options.test, options.weights) if path is not None)]
    check_target(images, run, inputs, overwrite)
    former = None if overwrite else read_former(run)
    preset = None if former is None else former.settings.get("preset")
    if options.train:
        check_trainable(options, device=device, former=preset)
    workers = default_workers() if workers is None else workers
    progress = StepProgress(quiet=quiet)
    memories = (run / record.CHECKED, _memory_of(images))
    with progress.step("check") as advance:
        checked = check_folder(
            images,
            labels,
            test=None if options.test is None else Path(options.test),
            skip_broken=options.skip_broken,
            known=() if overwrite else memories,
            workers=workers,
            advance=advance,
        )
    for line in (checked.summary(), *checked.notes()):
        progress.log("check", line)
    check_none_class(options.none_class, checked.files.classes)
    class_prior(options.prior, checked.files.labels, checked.files.classes)  # raises what is wrong with it
    planned = plan(options, checked.files.paths, device=device, former=preset)
    options = planned.options
    frozen = backbone_of(options).with_values(checked.values)
    progress.log("plan", f"{_told(frozen)}, 1 + {options.views} views of each image: {planned.why}")
    with run_lock(run):
        claim(run, "fit")
        if overwrite:
            check_parts(run)
            clear(run, inputs)
        files_of_run.put_in_place(run)
        remember(memories[0], checked)
        with suppress(OSError, InputError):  # without a cache they are read again
            memories[1].parent.mkdir(parents=True, exist_ok=True)
            remember(memories[1], checked)
        work = _Work(images, labels, checked, options, progress, device, workers)
        key = work.key(frozen)
        former = read_former(run)
        if former is not None and former.key == key and _intact(run, former):
            features = work.embed(run, load_bundle(run / record.BUNDLE).frozen, options.views or 0)
            progress.log("fit", f"unchanged ({titles()[former.chosen]})")
        else:
            check_parts(run)
            features = work.embed(run, frozen, options.views or 0)
            with progress.step("fit") as advance:
                problem = work.problem(features, tell := _percent(advance))
                if not options.train:
                    fitted = fit_problem(problem, tell=tell, **work.reported(features))
                else:
                    problem.cross_fitted(Combination)
            if options.train:
                frozen, features, problem = work.train(run, frozen, problem)
                with progress.step("fit") as advance:
                    fitted = fit_problem(problem, tell=_percent(advance), **work.reported(features))
            found = work.save(run, frozen, features, fitted, key)
            progress.log("fit", f"{titles()[found.chosen]}: {record.verdict(found, titles())}")
        work.predict(run, features)
    progress.log("seconds", progress.summary())
    return load_fit(run)


@dataclass(frozen=True)
class _Work:
    """The steps after the check, on the same images, labels and options."""

    images: Path
    labels: Labels | None
    checked: Checked
    options: FitOptions
    progress: StepProgress
    device: str
    workers: int

    def train(self, run: Path, frozen: Backbone, problem: Problem) -> tuple[Backbone, np.memmap, Problem]:
        """Train encoders; the backbone, the features and the problem with them."""
        from paws.fit.training import FOLDER, Folder, train_encoders  # only here: how networks are trained takes long to import

        rows = (self.checked.test < 0).nonzero().flatten()
        paths, options = self.checked.files.paths, self.options
        assert options.train is not None
        images = Folder([paths[row] for row in rows.tolist()], options.train, options.epochs, options.mirror, self.workers)
        encoders, encoded = train_encoders(run / FOLDER, self.trained_key(frozen), problem, images, frozen, self.progress)
        whole = join([frozen, encoders])
        features = self.embed(run, whole, options.views or 0)
        views = features[rows.numpy()] if len(rows) < len(features) else features
        embeddings = torch.from_numpy(np.array(views[..., frozen.feature_dim :]))
        return whole, features, with_encoders(problem, views, replace(encoded, embeddings=embeddings))

    def embed(self, run: Path, frozen: Backbone, views: int) -> np.memmap:
        """The features (N, 1 + views, D); those that are there are kept."""
        files, contents = self.checked.files, self.checked.contents
        store = FeatureStore(run / record.FEATURES, files, contents, frozen, views, mirror=self.options.mirror)
        pending = np.flatnonzero(~store.done).tolist()
        what = f"{_told(frozen)}, 1 + {views} views of each image"
        if not len(pending):
            self.progress.log("embed", f"unchanged ({what})")
            return store.fill()
        embedder = Embedder(frozen, self.device)
        known = embedder.known([contents[row] for row in pending], views, mirror=self.options.mirror)
        missing = {files.paths[row]: contents[row] for row in pending if contents[row] not in known}
        if missing:
            announce(self.progress, embedder, missing, len(files), self.options, views)
        with self.progress.step("embed", len(files)) as advance:
            advance(len(files) - len(pending))
            features = store.fill(embedder, workers=self.workers, advance=advance)
        kept = len(files) - len(missing)
        seconds = self.progress.seconds["embed"]
        rate = len(missing) / max(seconds, 0.01)
        there = f", {kept} were there" if kept else ""
        self.progress.log("embed", f"{len(missing)} images{there}: {what}; {seconds:.1f} s, {rate:.0f} images/s")
        return features

    def problem(self, features: np.ndarray, tell: Progress) -> Problem:
        """What is to be fitted: all images but those with test labels, which are only reported on."""
        options, labels, held = self.options, self.checked.files.labels, self.checked.test >= 0
        views: Any = features
        groups = self.checked.groups
        if bool(held.any()):
            views, labels, groups = features[~held.numpy()], labels[~held], groups[~held]
        how: dict[str, Any] = {"prior": options.prior, "seed": options.seed, "device": self.device, "groups": groups}
        settings = HeadSettings(steps=options.steps)
        return feature_problem(views, labels, self.checked.files.classes, settings=settings, progress=tell, **how)

    def reported(self, features: np.ndarray) -> dict[str, Any]:
        """Further arguments of `fit_problem`."""
        tested = self._tested(features) if bool((self.checked.test >= 0).any()) else None
        return {
            "model": self.options.model,
            "accuracy": self.options.accuracy,
            "none_class": self.options.none_class,
            "test": tested,
        }

    def _tested(self, features: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (T, V, D) of the images with test labels, and these (T,)."""
        held = self.checked.test >= 0
        return torch.from_numpy(np.array(features[held.numpy()])).float(), self.checked.test[held]

    def save(self, run: Path, frozen: Backbone, features: np.ndarray, fitted: Fitted, key: str) -> FitRecord:
        """Write the bundle, the tables of training and, last, the record."""
        for name in (record.RECORD, record.PREDICTIONS):  # from here on the run is unfinished
            (run / name).unlink(missing_ok=True)
        about = {
            "key": key,
            "images": str(self.images.absolute()),
            "labels": name_of(self.labels),
            "settings": asdict(self.options),
            "backbone": frozen.config(),
            "counts": self.checked.counts,
            "unreadable": self.checked.unreadable,
            "near_copies": near_copies(self.checked.files, self.checked.test, features, self.checked.groups),
            "seconds": dict(self.progress.seconds),
        }
        found = record_of(fitted, self.checked.files, self._tested(features), about)
        write_labels(run, self.checked.files, self.checked.groups, fitted)
        names = [self.checked.files.names[row] for row in (self.checked.files.labels >= 0).nonzero().flatten().tolist()]
        save_bundle(run / record.BUNDLE, fitted.classifier, frozen, names, {"fit": {"chosen": found.chosen}})
        files_of_run.write_metrics(run, fitted.curves)
        record.write_record(run, found)
        return found

    def predict(self, run: Path, features: np.memmap) -> None:
        """Write predictions.csv by the bundle, unless it is there as it was written."""
        if files_of_run.has_predictions(run):
            self.progress.log("predict", "unchanged")
            return
        files = self.checked.files
        bundle = load_bundle(run / record.BUNDLE)
        with self.progress.step("predict", len(files)) as advance:
            given = [files.classes[y] if y >= 0 else "" for y in files.labels.tolist()]
            abstained, strange = files_of_run.write_predictions(
                run, files_of_run.predicted(bundle, files.names, features, advance), given
            )
        said = f"; {strange} belong rather to no class (column none)" if strange else ""
        self.progress.log("predict", f"{len(files)} images; it abstains from {abstained / len(files):.0%} of them{said}")

    def key(self, frozen: Backbone) -> str:
        """Names everything that the fit depends on."""
        files = self.checked.files
        seen = [list(files.names), self.checked.contents]
        given = [files.labels, files.classes, self.checked.test]
        known = {"preset", "backbone", "weights", "image_size", "test"}  # by their content
        trained = {"train", "epochs"} if self.options.train is None else set()
        chosen = {name: value for name, value in asdict(self.options).items() if name not in known | trained}
        made: tuple[int, ...] = ()
        if self.options.train is not None:
            from paws.fit.encoders import VERSION

            made = (VERSION,)
        return content_key(seen, given, chosen, frozen.config(), *made)

    def trained_key(self, frozen: Backbone) -> str:
        """Names everything that the training of encoders depends on."""
        return content_key(self.key(frozen), self.device)


def _percent(advance: Advance) -> Callable[[str, float], None]:
    """A listener of `fit_features` that moves a bar of 100, which is told what was done since."""
    done = [0.0]

    def report(what: str, share: float) -> None:
        advance(100 * (share - done[0]), what)
        done[0] = share

    return report


def _memory_of(images: Path) -> Path:
    """Where this machine keeps what decoding the images of a folder told, for all runs."""
    return cache_folder() / "checked" / f"{content_key(str(images.resolve()))}.json"


def _told(frozen: Backbone) -> str:
    return " + ".join(f"{part.name} at {part.size} pixels" for part in frozen.parts)


def _intact(run: Path, former: FitRecord) -> bool:
    """Whether all that a fit has written before its predictions can be read."""
    try:
        load_bundle(run / record.BUNDLE)
        found = FitRun(run, former, *files_of_run.read_files(run, former))
        return bool(found.held_out)
    except InputError:
        return False
