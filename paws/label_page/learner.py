"""What is learned of a folder in the background: three classifiers on frozen features, their mean, held-out probabilities.

This is the one module that knows which predictors those are. Letters: N pictures, D features, C classes, S labelled ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.calibration import FLOOR, calibrated, fit_inverse_temperature
from paws.classifiers.folds import fold_count, folds
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.space import Space
from paws.voting import above_floor, soft_vote

NEIGHBOURS, ALPHA = 10, 0.9  # of the graph that labels are spread over, as in `paws.classifiers.label_spreading`
LARGEST = 20_000  # pictures for which the graph is made
LABELS = 1500  # at most that logistic regression is fitted to
C = 0.1  # inverse strength of its penalty, on features of length sqrt(D)
TEMPERATURE = 0.1
ALIKE = 0.9  # cosine of standardised features from which on two pictures are shown as nearly the same


@dataclass(frozen=True)
class Heads:
    """Calibrated probabilities (N, C) of all pictures, and (S', C) of labelled ``rows`` (S',) by models not shown the label."""

    probabilities: Tensor
    rows: Tensor
    held_out: Tensor


class Learner:
    """Features (N, D) of all pictures that can be read, and the ``space`` that standardises them."""

    def __init__(self, features: np.ndarray, space: Space) -> None:
        self.x = torch.empty(len(features), features.shape[1])
        for start in range(0, len(features), 4096):
            part = torch.from_numpy(np.array(features[start : start + 4096])).float()
            self.x[start : start + 4096] = normalize(space.standardise(part), dim=1)
        self.space = space
        self._last: tuple[LogisticRegression, Tensor, Tensor, float] | None = None

    @cached_property
    def _nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Cosine distances and rows (N, k) of the pictures nearest to each."""
        from sklearn import config_context
        from sklearn.neighbors import NearestNeighbors

        points = (self.x @ self.space.whitened.T).numpy()  # (N, P)
        k = min(NEIGHBOURS, len(points) - 1)
        with config_context(working_memory=128):
            distances, rows = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(points).kneighbors()
        return distances, rows

    def pairs(self) -> list[tuple[int, int, float]]:
        """Pictures that are nearly the same, most alike first: two rows and their cosine."""
        if not 2 <= len(self.x) <= LARGEST:
            return []
        nearest = torch.from_numpy(self._nearest[1][:, :3])  # (N, 3)
        cosine = torch.stack([(self.x * self.x[nearest[:, j]]).sum(1) for j in range(nearest.shape[1])], 1)
        found = {}
        for i, j in (cosine >= ALIKE).nonzero().tolist():
            other = int(nearest[i, j])
            found[min(i, other), max(i, other)] = float(cosine[i, j])
        return sorted(((a, b, s) for (a, b), s in found.items()), key=lambda pair: -pair[2])

    def heads(self, labels: Tensor, num_classes: int) -> Heads:
        """Fit to ``labels`` (N,), -1 where unknown, of at least two classes, each with a picture."""
        rows = (labels >= 0).nonzero().flatten()
        known = labels[rows]
        count = fold_count(known, 3 if len(rows) > 300 else 5)
        fold = folds(known, max(1, count), 0) if count else torch.full_like(known, -1)
        held_out = torch.zeros(len(rows), num_classes)
        for number in range(count):
            out = fold == number
            shown = labels.clone()
            shown[rows[out]] = -1
            held_out[out] = self._mean(shown, num_classes, rows[out])[0]
        held = fold >= 0
        sharpness = fit_inverse_temperature(held_out[held], known[held], 1.0) if bool(held.any()) else 1.0
        everything, linear = self._mean(labels, num_classes, torch.arange(len(labels)))
        self._last = (linear, self.x[rows], known, sharpness)
        return Heads(calibrated(everything, sharpness), rows[held], calibrated(held_out[held], sharpness))

    def predict(self, features: Tensor) -> Tensor | None:
        """Probabilities (C,) of another picture's features (D,), by what was fitted last; None where nothing was."""
        if self._last is None:
            return None
        linear, support, known, sharpness = self._last
        x = normalize(self.space.standardise(features)[None], dim=1)
        with torch.inference_mode():
            return calibrated(
                self._geometric([self._linear(linear, x), self._vote(x, support, known, linear.num_classes)]), sharpness
            )[0]

    def _mean(self, labels: Tensor, num_classes: int, wanted: Tensor) -> tuple[Tensor, LogisticRegression]:
        """Geometric mean (M, C) of what the classifiers say of ``wanted`` (M,) rows, and the linear one."""
        rows = (labels >= 0).nonzero().flatten()
        few = rows
        if len(rows) > LABELS:
            few = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:LABELS]]
        linear = LogisticRegression.of(self.x[few] * self.x.shape[1] ** 0.5, labels[few], num_classes, C)
        x = self.x[wanted]
        with torch.inference_mode():
            found = [self._linear(linear, x), self._vote(x, self.x[rows], labels[rows], num_classes)]
        if len(self.x) <= LARGEST:
            found.append(self._spread(labels, num_classes)[wanted])
        return self._geometric(found), linear

    def _linear(self, linear: LogisticRegression, x: Tensor) -> Tensor:
        return (linear.linear(x * x.shape[1] ** 0.5) * 1.5).softmax(1)  # sharper, as it is fitted with a strong penalty

    @staticmethod
    def _vote(x: Tensor, support: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        return above_floor(soft_vote(x, support, labels, num_classes, TEMPERATURE, balanced=True), TEMPERATURE)

    def _spread(self, labels: Tensor, num_classes: int) -> Tensor:
        """Class distributions (N, C) after spreading the labels over the graph of nearest pictures (Zhou et al. 2004)."""
        from sklearn.semi_supervised import LabelSpreading

        model = LabelSpreading(kernel=lambda a, b: self._graph, alpha=ALPHA, max_iter=50, tol=1e-3)
        import warnings

        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it stopped before nothing moves any more
            model.fit(np.zeros((len(labels), 1)), labels.numpy())
        found = torch.zeros(len(labels), num_classes)
        found[:, model.classes_] = torch.from_numpy(np.nan_to_num(model.label_distributions_)).float()
        found = found / found.sum(0).clamp_min(1e-9) + 1e-6  # every class reaches as far
        return found / found.sum(1, keepdim=True)

    @cached_property
    def _graph(self) -> object:
        from scipy.sparse import csr_matrix

        rows = self._nearest[1]
        count, k = rows.shape
        graph = csr_matrix((np.ones(count * k), rows.ravel(), np.arange(0, count * k + 1, k)), shape=(count, count))
        return graph.maximum(graph.T)

    @staticmethod
    def _geometric(found: list[Tensor]) -> Tensor:
        return torch.stack([part.clamp_min(FLOOR).log() for part in found]).mean(0).softmax(1)
