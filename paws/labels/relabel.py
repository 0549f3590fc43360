"""Labels corrected, added and removed after fitting: the labelled images vote, so changing them needs no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from paws.bundle.bundle import Bundle, save_bundle
from paws.bundle.table import Prediction, write_rows
from paws.classifiers.classifier import Classifier
from paws.data.labelled_folder import match_rows
from paws.data.labels import NO_LABEL, LabelRow, listed, read_labels
from paws.errors import InputError
from paws.fit import record, tables
from paws.fit import run as files_of_run
from paws.fit.folder import check_parts
from paws.fit.run import FitRun
from paws.labels.recompute import held_out, revised
from paws.runs.files import check_new, new_folder, writing
from paws.runs.lock import run_lock

Changes = Mapping[str, str | None]  # file -> its new label, None: none


@dataclass(frozen=True)
class Relabelled:
    """A classifier with other labelled images, their ``files`` in its order, and what was done to get there."""

    classifier: Classifier
    files: tuple[str, ...]
    corrected: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    new_classes: tuple[str, ...]
    lost_classes: tuple[str, ...]

    @property
    def changed(self) -> int:
        """Number of labels that are not what they were."""
        return len(self.corrected) + len(self.added) + len(self.removed)


def read_changes(path: Path | None, remove: Sequence[str], root: Path, names: Sequence[str], of: str) -> dict[str, str | None]:
    """Changes from a label file and from files whose label goes: file -> its new label, or None.

    In the label file a row whose label is empty or ``-`` takes the label away (an image that has none stays without).
    ``names`` are the images that may be meant, relative to ``root``; ``of`` says whose they are, and how another becomes one.

    Raises:
        InputError: the label file cannot be read, or rows name no such image or one image twice; every such row is named.
    """
    rows = [replace(row, label=row.label or NO_LABEL) for row in read_labels(path, allow_empty=True)] if path else []
    rows += [LabelRow(file, NO_LABEL, 0) for file in remove]
    labels, problems = match_rows(root, names, rows, f"is not among the images {of}")
    if problems:
        raise InputError(listed(f"{path or '--remove'}: {len(problems)} problem(s) with the labels", problems))
    return {file: None if label == NO_LABEL else label for file, label in labels.items()}


def change_support(
    classifier: Classifier, files: Sequence[str], changes: Changes, features_of: Callable[[list[str]], Tensor]
) -> Relabelled:
    """Apply ``changes`` to a classifier whose labelled images are ``files`` (S,), in its order.

    Labelled images keep their order, new ones follow; new classes come after the known ones, and a class that loses its last
    image is gone. ``features_of`` gives the frozen features (n, D) of newly labelled files.

    Raises:
        InputError: fewer than two classes would be left, or a method that has to see the whole folder.
    """
    old = {file: classifier.classes[y] for file, y in zip(files, classifier.support_labels.tolist(), strict=True)}
    kept = {file: changes.get(file, label) for file, label in old.items()}
    added = {file: label for file, label in changes.items() if label is not None and file not in old}
    labels = {file: label for file, label in (kept | added).items() if label is not None}
    met = set(labels.values())
    new = tuple(sorted(met - set(classifier.classes)))
    classes = tuple(name for name in classifier.classes if name in met) + new
    if len(classes) < 2:
        raise InputError(
            f"after these changes only {', '.join(classes) or 'no class'} has labels; at least two classes need them"
        )
    stay = torch.tensor([i for i, file in enumerate(files) if file in labels], dtype=torch.int64)
    support = classifier.support[stay]  # (S', D)
    if added:
        support = torch.cat([support, features_of(list(added)).to(support)])
    ids = torch.tensor([classes.index(label) for label in labels.values()], dtype=torch.int64)
    return Relabelled(
        classifier.with_support(support, ids, classes),
        tuple(labels),
        corrected=tuple(file for file, label in old.items() if kept[file] not in (None, label)),
        added=tuple(added),
        removed=tuple(file for file in old if kept[file] is None),
        new_classes=new,
        lost_classes=tuple(name for name in classifier.classes if name not in met),
    )


@dataclass(frozen=True)
class Change:
    """An image that is predicted otherwise than before: its label and probability then and now."""

    file: str
    before: str
    before_probability: float
    after: str
    after_probability: float


def relabel_run(run: FitRun, changes: Changes) -> tuple[Relabelled, list[Prediction]]:
    """The classifier of a fit with changed labels, and its predictions for all N images; nothing is written."""
    row_of = {file: row for row, file in enumerate(run.files)}
    done = change_support(
        run.bundle.classifier,
        run.bundle.support_files,
        changes,
        lambda files: run.views([row_of[file] for file in files]).mean(1),
    )
    return done, list(tables.predicted(_bundle_of(run.bundle, done), run.files, run.features))


def relabel_bundle(bundle: Bundle, changes: Changes, root: Path) -> Relabelled:
    """The classifier of a bundle with changed labels; newly labelled images are read below ``root`` and embedded."""
    return change_support(
        bundle.classifier, bundle.support_files, changes, lambda files: bundle.features([root / file for file in files])
    )


def differences(before: Sequence[dict[str, str]], after: Sequence[Prediction]) -> list[Change]:
    """The images whose predicted label changed; ``before`` are rows of predictions.csv in the same order."""
    return [
        Change(new.file, old["label"], float(old["probability"]), new.label, new.probability)
        for old, new in zip(before, after, strict=True)
        if old["label"] != new.label
    ]


def save(folder: Path, bundle: Bundle, done: Relabelled) -> None:
    """Write ``done`` as a bundle of its own.

    Raises:
        InputError: ``folder`` exists, or cannot be written.
    """
    check_new(folder)
    kept = {"fit": bundle.about["fit"]} if "fit" in bundle.about else {}
    save_bundle(folder, done.classifier, bundle.frozen, done.files, {**kept, "labels_changed": done.changed})


def rewrite_run(run: FitRun, done: Relabelled, after: Sequence[Prediction]) -> record.FitRecord:
    """Put the bundle, the predictions, the labels and the figures of ``done`` in place of those of a fit.

    The former bundle is kept as ``bundle.previous``, and all labels are written to ``labels.csv``, to fit with them again. All
    is written aside first, so that a kill leaves it undone, or to be finished by whoever reads the fit next. The record has its
    figures measured again as far as that needs no training; its key is taken out, so that a later ``paws fit`` into this folder
    trains again. Returns the new record.
    """
    folder, classes = run.folder, done.classifier.classes
    label_of = dict(zip(done.files, done.classifier.support_labels.tolist(), strict=True))
    labels = [label_of.get(file, -1) for file in run.files]
    given = [classes[y] if y >= 0 else "" for y in labels]
    found = held_out(run, done.classifier, done.files)
    revision = revised(run, done.classifier, torch.tensor(labels), found, done.changed)
    with run_lock(folder):
        check_parts(folder)
        with new_folder(folder / record.CHANGED) as new:  # from here on it happens, if need be at the next call
            save(new / record.BUNDLE, run.bundle, done)
            tables.write_predictions(new, after, given)
            pairs = [{"file": file, "label": label} for file, label in zip(run.files, given, strict=True) if label]
            with writing(new / record.LABELS, text=True) as table:
                write_rows(table, pairs, ("file", "label"))
            tables.write_held_out(new, done.files, [classes[label_of[file]] for file in done.files], found.rows(classes))
            tables.write_files(new, run.files, labels, run.folds, run.groups.tolist(), run.tested)
            record.write_record(new, revision)
        files_of_run.put_in_place(folder)
    return revision


def _bundle_of(bundle: Bundle, done: Relabelled) -> Bundle:
    return Bundle(done.classifier, bundle.frozen, done.files, bundle.about, bundle.device)
