"""What a fit has found, as its record and as the files of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from paws.bundle.table import DIGITS
from paws.classifiers.paws_ensemble import SAMPLE
from paws.data.folder import FileSet
from paws.fit.choice import Score as Compared
from paws.fit.evidence import calibration, share
from paws.fit.fit import Fitted
from paws.fit.record import Figure, FitRecord, Score, Threshold
from paws.fit.tables import write_files, write_held_out


def record_of(fitted: Fitted, files: FileSet, test: tuple[Tensor, Tensor], about: dict[str, Any]) -> FitRecord:
    """The record of a fit of ``files``.

    Args:
        test: features (T, V, D) of the images with test labels, and these (T,).
        about: the fields of the record that are known before anything is fitted.
    """
    labels = files.labels[files.labels >= 0]
    known = fitted.fold >= 0
    held_out, count = fitted.held_out[known], int(known.sum())
    two_views = about["settings"]["views"] > 0
    agreement = {"value": fitted.agreement, "provenance": "seen_in_training", "count": min(SAMPLE, len(files) - len(test[1]))}
    tested = fitted.classifier.votes(test[0]).probabilities
    return FitRecord(
        **about,
        head=fitted.settings,
        classes=files.classes,
        image_count=len(files),
        label_count=len(labels),
        scores=tuple(_score(row, count, len(test[1])) for row in fitted.scores),
        chosen=fitted.chosen,
        frequencies=_by_class(files.classes, fitted.settings.get("class_prior", ())),
        weights=fitted.settings.get("weights", {}),
        never_judged=_never_judged(files.classes, labels, fitted.fold),
        view_agreement=Figure(**agreement if two_views else {}, images="all"),
        threshold=Threshold(
            value=round(float(fitted.classifier.threshold), DIGITS),
            provenance="none" if not count else "cross_validated",
            count=count,
        ),
        calibration=calibration(held_out, labels[known], "cross_validated"),
        test_calibration=calibration(tested, test[1], "cross_validated", "test"),
        versions={name: version(name) for name in ("paws-ssl", "torch", "timm", "onnxruntime", "scikit-learn")},
    )


def _by_class(classes: Sequence[str], shares: Sequence[float]) -> dict[str, float]:
    return {name: round(share, DIGITS) for name, share in zip(classes, shares, strict=False)}


def _never_judged(classes: Sequence[str], labels: Tensor, fold: Tensor) -> tuple[str, ...]:
    """The classes none of whose labels is in a fold; none where no label at all is."""
    judged = set(labels[fold >= 0].tolist())
    return tuple(name for c, name in enumerate(classes) if c not in judged)


def _score(row: Compared, count: int, tested: int) -> Score:
    return Score(
        method=row.method,
        accuracy=share(round(row.accuracy * count) if count else 0, count, "cross_validated"),
        test=share(0 if row.test is None else round(row.test * tested), tested, "cross_validated", "test"),
    )


def write_labels(folder: Path, files: FileSet, test: Tensor, groups: Tensor, fitted: Fitted) -> None:
    """held_out.csv and files.json: labels, what is predicted of them without their label, and the folds of training.

    ``test`` (N,): test labels, -1 elsewhere.
    """
    rows = (files.labels >= 0).nonzero().flatten().tolist()
    labels = files.labels[rows]
    confidence, predicted = fitted.held_out.max(1)
    write_held_out(
        folder,
        [files.names[row] for row in rows],
        [files.classes[y] for y in labels.tolist()],
        [
            (files.classes[c], p, "seen_in_training" if f < 0 else "cross_validated")
            for c, p, f in zip(predicted.tolist(), confidence.tolist(), fitted.fold.tolist(), strict=True)
        ],
    )
    fold_of = dict(zip(rows, fitted.fold.tolist(), strict=True))
    training = [fold_of.get(row) for row in range(len(files))]
    tested = {files.names[row]: files.classes[c] for row, c in enumerate(test.tolist()) if c >= 0}
    write_files(folder, files.names, files.labels.tolist(), training, groups.tolist(), tested)
