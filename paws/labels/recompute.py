"""What a fit's figures are after labels were changed: measured again where that needs no training, and marked elsewhere.

The labelled images vote, so every head of the former training can be asked again with the new labels. A head that was not
shown a fold of the labels still has not seen them, nor the labels that came after training; an image never votes on itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paws.classifiers.base import Predictor
from paws.classifiers.calibration import DEVIATION, calibrated, fit_inverse_temperature
from paws.classifiers.classifier import Classifier
from paws.classifiers.folds import fold_count, folds
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.errors import InputError
from paws.fit.evidence import accuracy, calibration, can_be_left_out
from paws.fit.record import Calibration, Figure, FitRecord, Provenance, Score
from paws.fit.run import FitRun

NEW = -2  # stands for the fold of a label that came after training


@dataclass(frozen=True)
class HeldOut:
    """Calibrated probabilities (S, C) of each labelled image as the other labels have it.

    ``measured`` (S,) bool: those that a figure can be measured on, as another image has the same label, and, unless training
    has seen every label, no model that voted has seen this one. ``provenance`` is that of these.
    """

    probabilities: Tensor
    measured: Tensor
    provenance: Provenance

    def rows(self, classes: Sequence[str]) -> list[tuple[str, float, str]]:
        """Predicted class, its probability and its provenance, of each labelled image."""
        confidence, predicted = self.probabilities.max(1)
        columns = zip(predicted.tolist(), confidence.tolist(), self.measured.tolist(), strict=True)
        return [(classes[c], p, self.provenance if measured else "seen_in_training") for c, p, measured in columns]


@torch.inference_mode()
def held_out(run: FitRun, classifier: Classifier, files: Sequence[str]) -> HeldOut:
    """What the method in use predicts of each labelled image, ``files`` (S,) in the classifier's order, without its label."""
    labels, predictor = classifier.support_labels, classifier.predictor
    measured, deviation = can_be_left_out(labels), math.inf
    x = (classifier.support - classifier.mean) / classifier.scale  # (S, D)
    if run.record.finetuned:
        return HeldOut(classifier.leave_one_out(), measured, "seen_in_training")
    if isinstance(predictor, PawsEnsemble):
        fold_of = dict(zip(run.files, run.folds, strict=True))
        fold = torch.tensor([NEW if (known := fold_of[file]) is None else known for file in files])  # (S,)
        measured, deviation = measured & (fold != -1), DEVIATION
        count = 1 + max((known for known in run.folds if known is not None), default=-1)
        found = _votes_of_blind_heads(predictor, x, labels, fold, count)
    elif predictor.can_leave_out:
        found = predictor(x, x, labels, True)[0]
    else:
        found = _refitted(predictor, x, labels, folds(labels, max(1, fold_count(labels)), run.record.settings["seed"]))
    inverse_temperature = float(classifier.calibration)
    if bool(measured.any()):
        inverse_temperature = fit_inverse_temperature(found[measured], labels[measured], deviation)
    return HeldOut(calibrated(found, inverse_temperature), measured, "cross_validated")


def _votes_of_blind_heads(predictor: PawsEnsemble, x: Tensor, labels: Tensor, fold: Tensor, count: int) -> Tensor:
    """Votes (S, C) on each image, without itself, by the heads that training did not show its ``fold`` (S,) of ``count``.

    All heads vote on a label that is ``NEW``.
    """
    found = predictor(x, x, labels, True)[0]
    for number in range(count):
        rows = fold == number
        found[rows] = predictor.blind_to(number, count)(x, x, labels, True)[0][rows]
    return found


def _refitted(predictor: Predictor, x: Tensor, labels: Tensor, fold: Tensor) -> Tensor:
    """Probabilities (S, C) of each image by the predictor fitted without its ``fold`` (S,); with all where it is in none."""
    found = torch.zeros(len(x), predictor.num_classes)
    for number in fold.unique().tolist():
        out = fold == number
        kept = ~out if number >= 0 else torch.ones_like(out)
        fitted = predictor.with_labels(x[kept], labels[kept], predictor.num_classes)
        found[out] = fitted(x[out], x[kept], labels[kept])[0]
    return found


def revised(run: FitRun, classifier: Classifier, labels: Tensor, found: HeldOut, changed: int) -> FitRecord:
    """The record of a fit whose labels are now ``labels`` (N,): the figures of the method in use are measured again.

    The other methods keep theirs, marked, and so does the threshold, which stays as it is.
    """
    former, classes = run.record, classifier.classes
    rows = found.measured
    known, provenance = classifier.support_labels[rows], found.provenance
    test, tested = _tested(run, classifier, labels)
    own = Score(
        method=former.chosen,
        accuracy=accuracy(found.probabilities[rows], known, provenance),
        test=former.score.test.before_relabelling() if test is None else test,
    )
    scores = [own if row.method == former.chosen else _outdated(row) for row in former.scores]
    counts = torch.bincount(classifier.support_labels, minlength=len(classes)).tolist()
    return former.model_copy(
        update={
            "key": None,
            "classes": classes,
            "counts": dict(zip(classes, counts, strict=True)),
            "label_count": len(classifier.support_labels),
            "labels_changed": former.labels_changed + changed,
            "scores": tuple(scores),
            "view_agreement": former.view_agreement.before_relabelling(),
            "threshold": former.threshold.before_relabelling(),
            "calibration": calibration(found.probabilities[rows], known, provenance),
            "test_calibration": tested or _outdated_calibration(former.test_calibration),
        }
    )


def _tested(run: FitRun, classifier: Classifier, labels: Tensor) -> tuple[Figure | None, Calibration | None]:
    """Accuracy and calibration on the test labels; None where their file cannot be read any more."""
    try:
        truth = run.test_labels(classifier.classes, labels)
    except InputError:
        return None, None
    rows = (truth >= 0).nonzero().flatten()
    features = run.plain[rows] if len(rows) else classifier.support[:0]
    probabilities = classifier.votes(features).probabilities if len(rows) else torch.zeros(0, len(classifier.classes))
    known = truth[rows]
    return accuracy(probabilities, known, "cross_validated", "test"), calibration(
        probabilities, known, "cross_validated", "test"
    )


def _outdated(score: Score) -> Score:
    return Score(method=score.method, accuracy=score.accuracy.before_relabelling(), test=score.test.before_relabelling())


def _outdated_calibration(found: Calibration) -> Calibration:
    return Calibration(error=found.error.before_relabelling(), bins=found.bins)
