"""Soft nearest neighbours on the features themselves: PAWS's vote without training."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from paws.classifiers.base import Near, Predictor
from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.voting import above_floor, one_hot, vote_weights

TEMPERATURE = 0.05


class SoftNearestNeighbours(Predictor):
    """The class-balanced soft vote of the labelled images by the cosine of components."""

    name, title, aliases = "soft_nearest_neighbours", "soft nearest neighbours", ("soft-nn",)
    votes = can_leave_out = True

    def __init__(self, num_classes: int, temperature: float = TEMPERATURE) -> None:
        super().__init__(num_classes)
        self.temperature = temperature

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        return cls(len(problem.classes))

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(x), device=x.device) if own else None
        weights = vote_weights(x, support, labels, self.num_classes, self.temperature, balanced=True, own=rows)
        return above_floor(weights @ one_hot(labels, self.num_classes, x.dtype), self.temperature), weights

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor]:
        return self(mean_of_views(views), support, labels, own)

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        return SoftNearestNeighbours(num_classes, self.temperature)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "temperature": self.temperature}
