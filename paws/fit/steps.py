"""The steps of a fit after the folder was checked: each is done only where what it makes is not there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.bundle.bundle import load_bundle, save_bundle
from paws.classifiers.base import Near
from paws.classifiers.heads import HeadSettings
from paws.classifiers.problem import Problem, with_encoders
from paws.config.options import FitOptions
from paws.data.check import Checked
from paws.data.labels import Labels, name_of
from paws.data.texts import counted
from paws.fit import record, tables
from paws.fit.embed import FeatureStore
from paws.fit.estimate import announce
from paws.fit.feature_file import key_of_images
from paws.fit.fit import Fitted, Progress, feature_problem
from paws.fit.folder import absolute
from paws.fit.near_copies import near_copies
from paws.fit.progress import StepProgress
from paws.fit.results import record_of, write_labels
from paws.fit.run import put_in_place, titles
from paws.fit.sentences import verdict
from paws.models.embedding import Embedder
from paws.models.joined import Backbone, join
from paws.runs.files import new_folder
from paws.runs.keys import content_key


@dataclass(frozen=True)
class Steps:
    """The steps after the check, on the same images, labels and options."""

    images: Path
    labels: Labels | None
    test: Labels | None
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
        features = replace(self, options=replace(self.options, train=None)).embed(run, whole)  # what is left is no training
        views = features[rows.numpy()] if len(rows) < len(features) else features
        embeddings = torch.from_numpy(np.array(views[..., frozen.feature_dim :]))
        return whole, features, with_encoders(problem, views, replace(encoded, embeddings=embeddings))

    def embed(self, run: Path, frozen: Backbone) -> np.memmap:
        """The features (N, V, D) of the plain view and the random ones; those that are there are kept."""
        files, contents, views = self.checked.files, self.checked.contents, self.options.views or 0
        store = FeatureStore(run / record.FEATURES, files, contents, frozen, views, mirror=self.options.mirror)
        pending = np.flatnonzero(~store.done).tolist()
        what = f"{told(frozen)}, 1 + {views} views of each image"
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
            features = store.fill(embedder, known=None if missing else known, workers=self.workers, advance=advance)
        kept = len(files) - len(missing)
        seconds = self.progress.seconds["embed"]
        there = f", {kept} were there" if kept else ""
        took = f"; {seconds:.1f} s, {len(missing) / max(seconds, 0.01):.0f} images/s" if missing else ""
        self.progress.log("embed", f"{counted(len(missing), 'image')}{there}: {what}{took}")
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

    def save(self, run: Path, frozen: Backbone, features: np.memmap, fitted: Fitted, key: str) -> None:
        """Write the bundle, the tables and the record, and put them in place of a former fit when all are there.

        A kill or a full disk leaves the former fit, or a new one that whoever reads it next puts in place.
        """
        files, test = self.checked.files, self.checked.test
        about = {
            "key": key,
            "images": str(absolute(self.images)),
            "labels": name_of(self.labels),
            "settings": asdict(self.options) | {"test": name_of(self.test)},
            "backbone": frozen.config(),
            "counts": self.checked.counts,
            "contents": key_of_images(self.checked.contents),
            "unreadable": self.checked.unreadable,
            "near_copies": near_copies(files, test, features, self.checked.groups),
            "seconds": dict(self.progress.seconds),
        }
        found = record_of(fitted, files, self._tested(features), about)
        self.progress.log("fit", f"{titles()[found.chosen]}: {verdict(found, titles())}")
        with new_folder(run / record.CHANGED) as new:
            write_labels(new, files, test, self.checked.groups, fitted)
            names = [files.names[row] for row in (files.labels >= 0).nonzero().flatten().tolist()]
            save_bundle(new / record.BUNDLE, fitted.classifier, frozen, names, {"fit": {"chosen": found.chosen}})
            tables.write_metrics(new, fitted.curves)
            self.predict(new, features, None if bool((test >= 0).any()) else fitted.near)
            record.write_record(new, found)
        put_in_place(run)

    def predict(self, folder: Path, features: np.memmap, near: Near | None = None) -> None:
        """Write predictions.csv by the bundle in ``folder``, unless it is there as it was written.

        ``near``: the images of the pool that are nearest to each of it, where they are known.
        """
        if tables.has_predictions(folder):
            self.progress.log("predict", "unchanged")
            return
        files = self.checked.files
        bundle = load_bundle(folder / record.BUNDLE)
        with self.progress.step("predict", len(files)) as advance:
            given = [files.classes[y] if y >= 0 else "" for y in files.labels.tolist()]
            abstained, strange = tables.write_predictions(
                folder, tables.predicted(bundle, files.names, features, advance, near), given
            )
        said = f"; {strange} {'belongs' if strange == 1 else 'belong'} rather to no class (column none)" if strange else ""
        self.progress.log(
            "predict", f"{counted(len(files), 'image')}; it abstains from {abstained / len(files):.0%} of them{said}"
        )

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


def told(frozen: Backbone) -> str:
    """Names and sizes of a backbone, for the user."""
    return " + ".join(f"{part.name} at {part.size} pixels" for part in frozen.parts)
