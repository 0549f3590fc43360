"""The baselines on frozen features, and how methods are scored on labelled images they did not see."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.calibration import fit_exponent
from paws.classifiers.problem import Problem
from paws.classifiers.rules import Linear, Nearest, Rule, SoftVote, Spread
from paws.metrics import accuracy, wilson_interval
from paws.seeds import generator

SPREAD_IMAGES = 10_000  # of the pool, at most, that LabelSpreading spreads over
MEMORY = 128  # MB of distances at a time
NEIGHBOURS, ALPHA = 10, 0.9  # of its graph, and the share of what an image takes from its neighbours
TEMPERATURE = 0.1  # of the soft nearest neighbours
BASELINES = ("nearest neighbours", "logistic regression", "LabelSpreading", "soft nearest neighbours")


@dataclass(frozen=True)
class Score:
    """Accuracy of a method on labelled images that it did not see, in [0, 1], with a 95 % interval."""

    method: str
    accuracy: float
    low: float
    high: float
    test: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def score(method: str, probabilities: Tensor, labels: Tensor, settings: dict[str, Any] | None = None) -> Score:
    """Accuracy of held-out probabilities (S, C) with Wilson's interval; nan and [0, 1] where there are none."""
    share = accuracy(probabilities, labels) if len(labels) else math.nan
    low, high = wilson_interval(int((probabilities.argmax(1) == labels).sum()), len(labels))
    return Score(method, share, low, high, settings=settings or {})


class SpreadGraph:
    """The nearest-neighbour graph of (a sample of) the pool, made once, over which labels are spread again and again.

    The graph is symmetric (two images are joined when either is among the nearest of the other), which carries labels
    further than scikit-learn's own one-sided one.
    """

    def __init__(self, problem: Problem) -> None:
        from sklearn import config_context
        from sklearn.neighbors import NearestNeighbors

        labels, space, self.seed = problem.labels, problem.space, problem.seed
        order = torch.randperm(len(labels), generator=generator(problem.seed, "spread"))
        order = order[(labels[order] < 0).int().argsort(stable=True)]  # labelled images first
        self.images = order[: max(SPREAD_IMAGES, len(problem.labelled))]  # (M,)
        self.bank = problem.projected[self.images, 0].float()  # (M, P)
        self.project = space.projection()
        points, self.k = self.bank.numpy(), min(NEIGHBOURS, len(self.images) - 1)
        with config_context(working_memory=MEMORY):
            nearest = NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(points).kneighbors_graph()  # (M, M) sparse
        self.graph = nearest.maximum(nearest.T)

    def spread(self, labels: Tensor, num_classes: int) -> Spread:
        """The rule that comes of spreading the labels (N,) of the pool, -1 where unknown."""
        return Spread(self.bank, self._distributions(labels, num_classes), self.k, self.project)

    def surest(self, labels: Tensor, num_classes: int, count: int) -> Tensor:
        """Labels (N,) with those added that spreading gives to the ``count`` images it is surest of in each class."""
        top = self._distributions(labels, num_classes).topk(min(count, len(self.images) // num_classes), dim=0)  # (count, C)
        classes = torch.arange(num_classes).expand_as(top.indices)
        added = labels.clone()
        added[self.images[top.indices[top.values > 0]]] = classes[top.values > 0]
        return torch.where(labels >= 0, labels, added)

    def recovery(self, guess: Tensor, num_classes: int, draws: int = 8) -> float:
        """How well single labels tell the classes ``guess`` (M,) of the images: the share of them that spreading gives back
        from one random image of each class, mean over ``draws``. What such labels are worth depends on the images that
        happen to have them, and this is all that can be known of it where there are no others.
        """
        shares, draw = [], generator(self.seed, "recovery")
        present = guess.unique()
        for _ in range(draws):
            order = torch.randperm(len(guess), generator=draw)
            picked = torch.stack([order[guess[order] == c][0] for c in present])  # (C',)
            labels = torch.full((int(self.images.max()) + 1,), -1)
            labels[self.images[picked]] = present
            spread = self._distributions(labels, num_classes)  # (M, C)
            back = (spread.argmax(1) == guess) & (spread.amax(1) > 0)
            back[picked] = False
            shares.append(float(back.double().sum()) / max(1, len(guess) - len(picked)))
        return sum(shares) / draws

    def _distributions(self, labels: Tensor, num_classes: int) -> Tensor:
        from sklearn.semi_supervised import LabelSpreading

        model = LabelSpreading(kernel=lambda a, b: self.graph, alpha=ALPHA, max_iter=200, tol=1e-4)
        with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
            model.fit(self.bank.numpy(), labels[self.images].numpy())
        spread = torch.zeros(len(self.bank), num_classes)
        spread[:, model.classes_] = torch.from_numpy(np.nan_to_num(model.label_distributions_)).float()
        return spread  # (M, C)


def fit_baseline(method: str, problem: Problem, graph: SpreadGraph, left_out: int | None = None) -> Rule:
    """One of BASELINES on the standardised features, fitted to the labels outside of a fold."""
    seen = torch.ones(len(problem.truth), dtype=torch.bool) if left_out is None else problem.fold != left_out
    truth, num_classes = problem.truth[seen], len(problem.classes)
    if method == "nearest neighbours":
        return Nearest(min(5, int(torch.bincount(truth, minlength=num_classes).clamp_min(1).min())))
    if method == "logistic regression":
        return Linear.fit(problem.space.standardise(problem.support[seen]), truth, num_classes)
    if method == "LabelSpreading":
        return graph.spread(problem.known(left_out), num_classes)
    return SoftVote([], TEMPERATURE)


def held_out(method: str, problem: Problem, graph: SpreadGraph) -> Tensor:
    """(S, C) probabilities of each labelled image by the baseline fitted without its fold; 0 where it is in none."""
    found = torch.zeros(len(problem.truth), len(problem.classes))
    for fold in problem.fold.unique().tolist():
        if fold >= 0:
            out, probabilities = problem.asked(fit_baseline(method, problem, graph, fold), fold)
            found[out] = probabilities
    return found


def exponent(problem: Problem, held_out: Tensor, spread: float = math.inf) -> float:
    """The exponent that calibrates held-out probabilities (S, C); 1 where no label can be held out."""
    held = problem.held
    return fit_exponent(held_out[held], problem.truth[held], spread) if len(held) else 1.0
