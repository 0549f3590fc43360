"""The baselines on frozen features, and how methods are scored on labelled images they did not see."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paws.fit.space import Space, Views, rows
from paws.rules import Linear, Nearest, Rule, SoftVote, Spread
from paws.seeds import generator

SPREAD_IMAGES = 10_000  # of the pool, at most, that LabelSpreading spreads over
NEIGHBOURS = 10
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
    count = len(labels)
    if count == 0:
        return Score(method, math.nan, 0.0, 1.0, settings=settings or {})
    p = float((probabilities.argmax(1) == labels).double().mean())
    z = 1.96
    centre, half = p + z * z / (2 * count), z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    low, high = ((centre + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return Score(method, p, max(0.0, low), min(1.0, high), settings=settings or {})


class SpreadGraph:
    """The nearest-neighbour graph of (a sample of) the pool, made once, over which labels are spread again and again."""

    def __init__(self, views: Views, labels: Tensor, space: Space, *, seed: int = 0) -> None:
        from sklearn.neighbors import NearestNeighbors

        order = torch.randperm(len(views), generator=generator(seed, "spread"))
        order = order[(labels[order] < 0).int().argsort(stable=True)]  # labelled images first
        self.images = order[: max(SPREAD_IMAGES, int((labels >= 0).sum()))]  # (M,)
        self.space = space
        self.bank = _plain(views, self.images, space)  # (M, P)
        self.k = min(NEIGHBOURS, len(self.images))
        points = self.bank.numpy()
        self.graph = NearestNeighbors(n_neighbors=self.k).fit(points).kneighbors_graph(points)

    def fit(self, labels: Tensor, num_classes: int) -> Spread:
        """Spread the labels (N,) of the pool, -1 where unknown."""
        from sklearn.semi_supervised import LabelSpreading

        y = labels[self.images].numpy()
        model = LabelSpreading(kernel=lambda a, b: self.graph, max_iter=200)
        with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
            model.fit(self.bank.numpy(), y)
        spread = torch.zeros(len(y), num_classes)
        spread[:, model.classes_] = torch.from_numpy(np.nan_to_num(model.label_distributions_)).float()
        return Spread(self.bank, spread, self.k, self.space.projection())


def _plain(views: Views, images: Tensor, space: Space, chunk: int = 4096) -> Tensor:
    parts = [rows(views, part)[:, :1] for part in images.split(chunk)]
    return torch.cat([space.project(part)[:, 0].float() for part in parts])


def fit_baseline(
    method: str, support: Tensor, labels: Tensor, pool_labels: Tensor, num_classes: int, graph: SpreadGraph
) -> Rule:
    """One of BASELINES on standardised features (S, D) of images with labels (S,), the only known ones of ``pool_labels``."""
    if method == "nearest neighbours":
        smallest = int(torch.bincount(labels, minlength=num_classes).min())
        return Nearest(min(5, max(1, smallest)))
    if method == "logistic regression":
        return Linear.fit(support, labels, num_classes)
    if method == "LabelSpreading":
        return graph.fit(pool_labels, num_classes)
    return SoftVote([], 0.1)
