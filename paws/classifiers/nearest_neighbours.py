"""k nearest labelled images, one vote each."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.base import Near, Predictor, squared_distance
from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.voting import one_hot

MOST = 5  # neighbours


class NearestNeighbours(Predictor):
    """k nearest neighbours on the components of the features; k is the size of the smallest class, at most ``MOST``.

    ``cosine`` false, as bundles of format 3 have it: by Euclidean distance.
    """

    name, title, aliases = "nearest_neighbours", "nearest neighbours", ("knn",)
    can_leave_out = True

    def __init__(self, num_classes: int, k: int, cosine: bool = False) -> None:
        super().__init__(num_classes)
        self.k, self.cosine = k, cosine

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        labels, num_classes = problem.support_labels[problem.shown(left_out)], len(problem.classes)
        return cls(num_classes, min(MOST, int(torch.bincount(labels, minlength=num_classes).clamp_min(1).min())), cosine=True)

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        if self.cosine:
            x, support = normalize(x, dim=1), normalize(support, dim=1)
        distance = squared_distance(x, support)  # (N, S)
        if own:
            distance = distance.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), torch.inf)
        nearest = distance.topk(min(self.k, support.shape[0]), dim=1, largest=False).indices  # (N, k)
        return one_hot(labels, self.num_classes, x.dtype)[nearest].mean(1), None

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return (
            self(mean_of_views(views), support, labels, own) if self.cosine else super().over_views(views, support, labels, own)
        )

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        return NearestNeighbours(num_classes, self.k, self.cosine)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "k": self.k, "cosine": self.cosine}
