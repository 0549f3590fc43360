"""What a fit's figures are after labels were changed: measured again where that needs no training, and marked elsewhere.

The labelled images vote, so every head of the former training can be asked again with the new labels. A head that was not
shown a fold of the labels still has not seen them, nor the labels that came after training; an image never votes on itself or
on a copy of itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paws.classifiers.calibration import calibrated, fit_inverse_temperature
from paws.classifiers.classifier import Classifier
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


@torch.no_grad()
def held_out(run: FitRun, classifier: Classifier, files: Sequence[str]) -> HeldOut:
    """What the method in use predicts of each labelled image, ``files`` (S,) in the classifier's order, without its label."""
    labels, predictor = classifier.support_labels, classifier.predictor
    row_of = {file: row for row, file in enumerate(run.files)}
    groups = run.groups[[row_of[file] for file in files]]
    measured = can_be_left_out(labels, groups)
    x = classifier.points(classifier.support)  # (S, P)
    shown = [(group, fold) for group, fold in zip(run.groups.tolist(), run.folds, strict=True) if fold is not None]
    fold_of, count = dict(sorted(shown, key=lambda row: -row[1])), 1 + max((fold for _, fold in shown), default=-1)  # -1 wins
    fold = torch.tensor([fold_of.get(group, NEW) for group in groups.tolist()])
    found, unseen = predictor.leave_out(x, labels, groups, fold, count, run.record.settings["seed"])
    measured, inverse_temperature = measured & unseen, float(classifier.calibration)
    if bool(measured.any()):
        inverse_temperature = fit_inverse_temperature(found[measured], labels[measured], predictor.deviation)
    return HeldOut(calibrated(found, inverse_temperature), measured, "cross_validated")


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
    """Accuracy and calibration on the test labels; None where there are none, or none any more."""
    truth = run.test_labels(classifier.classes, labels)
    rows = (truth >= 0).nonzero().flatten()
    if not len(rows):
        return None, None
    probabilities, known = classifier.votes(run.views(rows.tolist())).probabilities, truth[rows]
    return accuracy(probabilities, known, "cross_validated", "test"), calibration(
        probabilities, known, "cross_validated", "test"
    )


def _outdated(score: Score) -> Score:
    return Score(method=score.method, accuracy=score.accuracy.before_relabelling(), test=score.test.before_relabelling())


def _outdated_calibration(found: Calibration) -> Calibration:
    return Calibration(error=found.error.before_relabelling(), bins=found.bins)
