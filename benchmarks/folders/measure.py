"""One fit of one folder with one draw of labels, and what is right in it."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.folders.build import draw
from benchmarks.folders.features import Suite
from paws.classifiers.strangers import STRANGE
from paws.fit.fit import Fitted, fit_features
from paws.metrics import calibration_error

ACCURACY = 0.95  # asked of what is kept
IN_USE = "in use"  # the row of what `paws fit` takes
EVEN = (
    "logistic_regression",
    "soft_nearest_neighbours",
    "label_spreading",
    "nearest_neighbours",
    "poisson",
)  # all classes alike
TRUE, UNIFORM = "true frequencies", "even frequencies"  # given to a fit in place of its estimate: part of the method's name
KNOWING = ", frequencies"  # added to the name of a method that is told those that the fit uses
COLUMNS = (
    *("folder", "labels", "per_class", "draw", "method", "accuracy", "calibration_error", "precision", "kept"),
    *("calibration_chance", "frequencies_kl", "none_false", "none_auroc", "none_share", "cpu_seconds"),
)

Row = dict[str, str]
Cell = tuple[str, str, int, int]  # folder, "even" or "sample", labels a class, draw


def one_fit(data: Suite, cell: Cell, given: str | None = None) -> list[Row]:
    """Rows of ``COLUMNS``: of every method its accuracy, and of what is in use the rest.

    ``given``: TRUE or UNIFORM class frequencies are given as ``prior``, and the methods are named with that.
    """
    _, labels, per_class, number = cell
    known = draw(data.labels, per_class, number, even=labels == "even")
    x, y = _measured_on(data, known)
    prior = {TRUE: data.frequencies.tolist(), UNIFORM: "uniform", None: None}[given]
    began = time.process_time()
    fitted = fit_features(data.views, known, data.classes, seed=number, accuracy=ACCURACY, prior=prior)
    seconds = time.process_time() - began
    found = _methods(fitted, x, y)
    found[IN_USE] = {**_in_use(fitted, x, y), **_of_the_pool(fitted, data, known), "cpu_seconds": seconds}
    head = dict(zip(COLUMNS[:4], map(str, cell), strict=True))
    return [
        {**head, "method": named(name, given), **{key: f"{value:.4f}" for key, value in row.items()}}
        for name, row in found.items()
    ]


def named(method: str, given: str | None) -> str:
    """The name of a method's rows."""
    return method if given is None else f"{method}, {given}"


def _measured_on(data: Suite, known: Tensor) -> tuple[Tensor, Tensor]:
    """Features (T, D) of the test pictures in their plain view, or (T, V, D) of those of the pool that have a class and no
    label in all their views, as `paws fit` predicts them; and their labels (T,)."""
    if data.test is not None and data.test_labels is not None:
        return data.test, data.test_labels
    rows = ((data.labels >= 0) & (known < 0)).nonzero().flatten()
    return torch.from_numpy(data.views[rows.numpy()]).float(), data.labels[rows]


def _methods(fitted: Fitted, x: Tensor, y: Tensor) -> dict[str, dict[str, float]]:
    """Accuracy and calibration error of every method. One for which all classes are alike stands there a second time, with its
    probabilities times the class frequencies that the fit uses: PAWS and the combination know them too."""
    found, frequencies = {}, torch.tensor(fitted.settings["class_prior"])
    for name, classifier in fitted.classifiers.items():
        probabilities = classifier.votes(x).probabilities
        found[name] = _right(probabilities, y)
        if name in EVEN:
            found[name + KNOWING] = _right(probabilities * frequencies, y)
    return found


def _right(probabilities: Tensor, y: Tensor) -> dict[str, float]:
    confidence, predicted = (probabilities / probabilities.sum(1, keepdim=True)).max(1)
    right = predicted == y
    return {"accuracy": float(right.double().mean()), "calibration_error": calibration_error(confidence, right)}


def chance(confidence: Tensor, trials: int = 50) -> float:
    """The mean calibration error of so many predictions, were each right as often as its ``confidence`` (Q,) says."""
    g = torch.Generator().manual_seed(0)
    drawn = torch.rand(trials, len(confidence), generator=g) < confidence
    return sum(calibration_error(confidence, right) for right in drawn) / trials


def _in_use(fitted: Fitted, x: Tensor, y: Tensor) -> dict[str, float]:
    votes = fitted.classifier.votes(x)
    confidence, predicted = votes.probabilities.max(1)
    right, kept = predicted == y, (confidence >= fitted.classifier.threshold) & (votes.strange <= STRANGE)
    return {
        "accuracy": float(right.double().mean()),
        "calibration_error": calibration_error(confidence, right),
        "calibration_chance": chance(confidence),
        "precision": float(right[kept].double().mean()) if bool(kept.any()) else 1.0,
        "kept": float(kept.double().mean()),
        "none_false": float((votes.strange > STRANGE).double().mean()),
    }


def _of_the_pool(fitted: Fitted, data: Suite, known: Tensor) -> dict[str, float]:
    """Kullback-Leibler distance of the estimated class frequencies from the true ones, and how well none is told.

    What the fit takes the frequencies to be stands in its settings.
    """
    estimate = torch.tensor(fitted.settings["class_prior"])
    truth = data.frequencies
    found = {"frequencies_kl": float((truth * (truth / estimate).log()).nansum())}
    rows = (known < 0).nonzero().flatten()
    none = data.labels[rows] < 0
    if bool(none.any()):
        votes = fitted.classifier.votes(torch.from_numpy(data.views[rows.numpy()]).float())
        strange = votes.strange if fitted.classifier.knows_strangers else votes.novelty
        found["none_auroc"] = float(roc_auc_score(none.numpy(), strange.numpy()))
        found["none_share"] = float(votes.strange.double().mean())
    return found


class Results:
    """The rows of a CSV file, to which cells are added; a cell that is there is not measured again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                self.rows = list(csv.DictReader(file))

    def missing(self, cell: Cell, given: str | None = None) -> bool:
        """Whether a cell is not measured yet."""
        return (*map(str, cell), named(IN_USE, given)) not in self.done

    @property
    def done(self) -> set[tuple[str, ...]]:
        """What was measured: cells with the method."""
        return {tuple(row[key] for key in COLUMNS[:5]) for row in self.rows}

    def add(self, rows: list[Row]) -> None:
        """Append the rows of a cell, at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.is_file()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerows(rows)
        self.rows += [dict.fromkeys(COLUMNS, "") | row for row in rows]

    def of_draws(self, column: str, method: str, folder: str, per_class: int, labels: str = "even") -> dict[str, float]:
        """What was measured, by draw."""
        key = (folder, labels, str(per_class), method)
        named = [row for row in self.rows if (row["folder"], row["labels"], row["per_class"], row["method"]) == key]
        return {row["draw"]: float(row[column]) for row in named if row[column]}

    def mean(self, column: str, method: str, folder: str, per_class: int, labels: str = "even") -> float:
        """Mean over draws; nan where nothing was measured."""
        values = self.of_draws(column, method, folder, per_class, labels).values()
        return sum(values) / len(values) if values else math.nan
