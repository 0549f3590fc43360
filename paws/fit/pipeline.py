"""From a folder of images and a few labels to predictions and a bundle, in steps of which each is done only if it must be.

check -> embed -> fit (train the head, compare with baselines, choose) -> predict
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.bundle.bundle import load_bundle, save_bundle
from paws.classifiers.heads import HeadSettings
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.prior import class_prior
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
from paws.fit.fit import Fitted, fit_features
from paws.fit.folder import check_target, clear
from paws.fit.near_copies import near_copies
from paws.fit.presets import backbone_of, plan
from paws.fit.progress import Advance, StepProgress
from paws.fit.record import FitRecord
from paws.fit.results import record_of, write_labels
from paws.fit.run import FitRun, load_fit, read_former, titles
from paws.models.embedding import Embedder
from paws.models.frozen import Backbone, Frozen
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
    cores if None. With ``options.finetune`` the whole network is trained on, and the fit in ``run/finetuned`` is returned.

    Raises:
        InputError: anything wrong with the folder, the labels, the backbone or ``run``; all that is wrong with images and
            labels at once, before anything is written.
    """
    predictor_named(options.model)  # raises where there is no such method
    inputs = [*label_files(labels), *(Path(path) for path in (options.test, options.weights) if path is not None)]
    check_target(images, run, inputs, overwrite)
    if options.finetune and options.model == "auto":
        options = replace(options, model=PawsEnsemble.name)  # only PAWS's heads can train a network
    workers = default_workers() if workers is None else workers
    progress = StepProgress(quiet=quiet)
    known = run / record.CHECKED
    with progress.step("check") as advance:
        checked = check_folder(
            images,
            labels,
            test=None if options.test is None else Path(options.test),
            skip_broken=options.skip_broken,
            known=known if known.is_file() and not overwrite else None,
            workers=workers,
            advance=advance,
        )
    for line in (checked.summary(), *checked.notes()):
        progress.log("check", line)
    class_prior(options.prior, checked.files.labels, len(checked.files.classes))  # raises what is wrong with it
    former = None if overwrite else read_former(run)
    preset = None if former is None else former.settings.get("preset")
    planned = plan(options, checked.files.paths, device=device, former=preset)
    options = planned.options
    frozen = backbone_of(options).with_values(checked.values)
    if options.finetune and len(frozen.parts) > 1:
        raise InputError("--finetune trains one network: give one, with --backbone NAME")
    progress.log("plan", f"{_told(frozen)}, 1 + {options.views} views of each image: {planned.why}")
    with run_lock(run):
        claim(run, "fit")
        if overwrite:
            clear(run, inputs)
        files_of_run.put_in_place(run)
        remember(known, checked)
        work = _Work(images, labels, checked, options, progress, device, workers)
        features = work.embed(run, frozen, options.views or 0)
        key = work.key(frozen)
        former = read_former(run)
        if former is not None and former.key == key and _intact(run, former):
            progress.log("fit", f"unchanged ({titles()[former.chosen]})")
        else:
            with progress.step("fit") as advance:
                views, known_labels, how = work.problem(features)
                fitted = fit_features(views, known_labels, checked.files.classes, progress=_percent(advance), **how)
            found = work.save(run, frozen, features, fitted, key)
            progress.log("fit", f"{titles()[found.chosen]}: {record.verdict(found, titles())}")
        work.predict(run, features)
        if options.finetune:
            run = work.finetune(run, frozen.parts[0], features)
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

    def finetune(self, run: Path, frozen: Frozen, features: np.memmap) -> Path:
        """Train the whole network on and make a fit of it, unless it is done; returns its folder."""
        from paws.fit import finetune

        folder, epochs = run / finetune.FOLDER, self.options.epochs
        key = content_key(self.key(frozen), epochs, finetune.VERSION)
        former = read_former(folder)
        if former is not None and former.key == key and _intact(folder, former) and files_of_run.has_predictions(folder):
            self.progress.log("finetune", "unchanged")
            return folder
        before = load_bundle(run / record.BUNDLE).classifier
        pool = (self.checked.test < 0).nonzero().flatten()
        with self.progress.timed("finetune"):
            tuned, vote, curves = finetune.finetune(
                folder,
                self.checked.files,
                pool,
                frozen,
                before,
                epochs=epochs,
                key=key,
                mirror=self.options.mirror,
                seed=self.options.seed,
                device=self.device,
                workers=self.workers,
                quiet=self.progress.quiet,
            )
        self.progress.log("finetune", f"{epochs} epochs of {len(pool)} images; {self.progress.seconds['finetune']:.0f} s")
        after = self.embed(folder, tuned, 0)
        files, test = self.checked.files, self.checked.test
        fitted = finetune.judged(vote, before, features, after, files.labels, test, curves=curves)
        self.save(folder, tuned, after, fitted, key, finetuned=True)
        self.predict(folder, after)
        return folder

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
        missing = [files.paths[row] for row in pending if contents[row] not in known]
        if missing:
            announce(self.progress, embedder, missing, len(files), self.options, views, self.workers)
        with self.progress.step("embed", len(files)) as advance:
            advance(len(files) - len(pending))
            features = store.fill(embedder, workers=self.workers, advance=advance)
        kept = len(files) - len(missing)
        seconds = self.progress.seconds["embed"]
        rate = len(missing) / max(seconds, 0.01)
        there = f", {kept} were there" if kept else ""
        self.progress.log("embed", f"{len(missing)} images{there}: {what}; {seconds:.1f} s, {rate:.0f} images/s")
        return features

    def problem(self, features: np.ndarray) -> tuple[Any, torch.Tensor, dict[str, Any]]:
        """Views, labels and further arguments of `fit_features`: all images but those with test labels, only reported on."""
        options, labels, held = self.options, self.checked.files.labels, self.checked.test >= 0
        views: Any = features
        groups, tested = self.checked.groups, None
        if bool(held.any()):
            tested = self._tested(features)
            views, labels, groups = features[~held.numpy()], labels[~held], groups[~held]
        chosen = {name: getattr(options, name) for name in ("seed", "model", "prior", "accuracy")}
        settings = HeadSettings(steps=options.steps)
        return views, labels, {**chosen, "test": tested, "settings": settings, "device": self.device, "groups": groups}

    def _tested(self, features: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (T, V, D) of the images with test labels, and these (T,)."""
        held = self.checked.test >= 0
        return torch.from_numpy(np.array(features[held.numpy()])).float(), self.checked.test[held]

    def save(
        self, run: Path, frozen: Backbone, features: np.ndarray, fitted: Fitted, key: str, *, finetuned: bool = False
    ) -> FitRecord:
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
        found = record_of(fitted, self.checked.files, self._tested(features), about, finetuned=finetuned)
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
            abstained = files_of_run.write_predictions(
                run, files_of_run.predicted(bundle, files.names, features, advance), given
            )
        self.progress.log("predict", f"{len(files)} images; it abstains from {abstained / len(files):.0%} of them")

    def key(self, frozen: Backbone) -> str:
        """Names everything that the fit depends on."""
        files = self.checked.files
        seen = [list(files.names), self.checked.contents]
        given = [files.labels, files.classes, self.checked.test]
        known = {"preset", "backbone", "weights", "image_size", "test"}  # by their content
        later = {"finetune", "epochs"}
        chosen = {name: value for name, value in asdict(self.options).items() if name not in known | later}
        return content_key(seen, given, chosen, frozen.config())


def _percent(advance: Advance) -> Callable[[str, float], None]:
    """A listener of `fit_features` that moves a bar of 100, which is told what was done since."""
    done = [0.0]

    def report(what: str, share: float) -> None:
        advance(100 * (share - done[0]), what)
        done[0] = share

    return report


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
