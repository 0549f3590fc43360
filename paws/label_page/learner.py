"""What is learned of a folder in the background: the classifier that `paws fit` would make of the labels of now.

Letters: N pictures, V views, D features, P components, C classes, S labelled pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.calibration import calibrated
from paws.classifiers.classifier import Classifier
from paws.classifiers.combination import Combination
from paws.classifiers.graph import Graph
from paws.classifiers.heads import HeadSettings
from paws.classifiers.problem import problem_of
from paws.classifiers.space import fit_space, mean_of_views
from paws.config.options import FitOptions
from paws.fit.fit import WIDTH, classifier_of
from paws.seeds import generator

LARGEST = 20_000  # pictures among which pairs that are nearly the same are looked for
LABELS = 5_000  # at most that are learned from; of more, as random ones
ALIKE = 0.9  # cosine of components from which on two pictures are shown as nearly the same
CHUNK = 1024


@dataclass(frozen=True)
class Learned:
    """Calibrated probabilities (N, C) of all pictures, and (S', C) of labelled ``rows`` (S',) by models not shown the label."""

    probabilities: Tensor
    rows: Tensor
    held_out: Tensor


class Learner:
    """Stored views (N, V, D) of all pictures that can be read, in a space that is fitted once.

    ``options`` and ``device`` are those of the fit; ``groups`` (N,) the same number for copies of one picture.
    """

    def __init__(self, views: np.ndarray, options: FitOptions, *, groups: Tensor | None = None, device: str = "cpu") -> None:
        self.views, self.options, self.groups, self.device = views, options, groups, device
        self.space = fit_space(views, WIDTH, seed=options.seed)
        self.projected = self.space.project(views)  # (N, V, P) float16
        self.classifier: Classifier | None = None  # the last one
        self._graph: Graph | None = None

    def pairs(self) -> list[tuple[int, int, float]]:
        """Pictures that are nearly the same, most alike first: two rows and their cosine."""
        if not 2 <= len(self.projected) <= LARGEST:
            return []
        x = mean_of_views(self.projected.float())  # (N, P)
        found = {}
        for rows in torch.arange(len(x)).split(CHUNK):
            cosine = x[rows] @ x.T
            cosine[torch.arange(len(rows)), rows] = -1
            best = cosine.topk(min(3, len(x) - 1), dim=1)
            for i, j in (best.values >= ALIKE).nonzero().tolist():
                one, other = int(rows[i]), int(best.indices[i, j])
                found[min(one, other), max(one, other)] = float(best.values[i, j])
        return sorted(((a, b, s) for (a, b), s in found.items()), key=lambda pair: -pair[2])

    def learn(self, labels: Tensor, classes: Sequence[str]) -> Learned:
        """Fit to ``labels`` (N,), -1 where unknown, of at least two classes, each with a picture."""
        options = self.options
        how: dict[str, Any] = {"heads": HeadSettings(steps=options.steps), "device": self.device, "groups": self.groups}
        known = (self.space, self.projected)
        problem = problem_of(
            self.views, fewer(labels), classes, width=WIDTH, prior=options.prior, seed=options.seed, known=known, **how
        )
        if self._graph is not None:
            problem.keep_shared(Graph, self._graph)
        elif len(problem.shared(Graph).images) == len(self.projected):  # else it depends on the labels
            self._graph = problem.shared(Graph)
        found = Combination.cross_fit(problem)
        problem.keep(Combination, found)
        self.classifier = classifier_of(problem, found)
        probabilities = calibrated(problem.on_pool(Combination).exp(), found.calibration)
        held_out = calibrated(found.held_out[problem.held], found.held_out_calibration)
        return Learned(probabilities, problem.labelled[problem.held], held_out)

    def predict(self, features: Tensor) -> Tensor | None:
        """Probabilities (C,) of another picture's features (D,), by what was fitted last; None where nothing was."""
        return None if self.classifier is None else self.classifier.votes(features[None]).probabilities[0]


def fewer(labels: Tensor) -> Tensor:
    """The labels without some random ones where they are more than `LABELS`; every class keeps one."""
    rows = (labels >= 0).nonzero().flatten()
    rows = rows[torch.randperm(len(rows), generator=generator(0, "labels learned from", len(rows)))]
    known = labels[rows]
    order = known.argsort(stable=True)  # the first of each class, in the random order
    first = torch.cat([torch.ones(1, dtype=torch.bool), known[order][1:] != known[order][:-1]])
    kept = torch.cat([order[first], order[~first].sort().values])[:LABELS]
    found = torch.full_like(labels, -1)
    found[rows[kept]] = known[kept]
    return found
