"""Poisson learning (Calder, Cook, Thorpe and Slepcev 2020, arXiv 2006.11184): labels as sources and sinks on a graph."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.base import Near, Predictor
from paws.classifiers.graph import COLUMNS, Graph, mean_of_nearest, neighbours, times
from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.voting import one_hot

TOLERANCE, ROUNDS = 1e-3, 1000  # of conjugate gradients: relative, and how many at most
DAMPING = 1e-4  # added to the eigenvalues of the normalised Laplacian, so that parts of the graph without a label stay at 0


class Poisson(Predictor):
    """The solution u of L u = sum over labelled images of (one-hot label - mean label), L the Laplacian of the graph.

    The labels of a class have the same mass, however many there are, so that all classes are alike.
    """

    name, title = "poisson", "Poisson learning"
    bank: Tensor
    distributions: Tensor

    def __init__(self, num_classes: int, bank: Tensor, distributions: Tensor, k: int) -> None:
        super().__init__(num_classes)
        self.k = k
        self.register_buffer("bank", bank)  # (M, P), of length 1
        self.register_buffer("distributions", distributions)  # (M, C)

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        graph, scores = problem.shared(Graph), problem.shared(of_all_folds)[left_out]
        return cls(len(problem.classes), graph.bank, probabilities(scores), graph.k)

    @classmethod
    def on_pool(cls, problem: Problem, left_out: int | None = None) -> Tensor:
        return mean_of_nearest(problem.fitted(cls, left_out).distributions, *problem.shared(Graph).near)

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        return self.over_views(x[:, None], support, labels)

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return mean_of_nearest(self.distributions, *(near or self.near(views))), None

    def near(self, views: Tensor) -> Near:
        return neighbours(mean_of_views(views), self.bank, self.k)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "bank": list(self.bank.shape), "k": self.k}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        (rows, width), count = config["bank"], config["num_classes"]
        return cls(count, torch.zeros(rows, width), torch.zeros(rows, count), config["k"])


def of_all_folds(problem: Problem) -> dict[int | None, Tensor]:
    """(M, C) scores with all labels of a problem and without each fold, from one `solution`."""
    graph, sources = problem.shared(Graph), problem.shared(sources_of)
    found = solution(graph.affinities, graph.roots, torch.cat(list(sources.values()), 1))
    return dict(zip(sources, found.split(len(problem.classes), 1), strict=True))


def sources_of(problem: Problem) -> dict[int | None, Tensor]:
    """The `source` of all labels of a problem, and of those outside of each fold."""
    images, count = problem.shared(Graph).images, len(problem.classes)
    return {fold: source(problem.visible_labels(fold)[images], count) for fold in problem.splits}


def source(labels: Tensor, num_classes: int) -> Tensor:
    """(M, C): at labelled images the one-hot label over the labels of its class, less the mean; columns sum to 0."""
    mass = one_hot(labels, num_classes, torch.float64)
    mass = mass / mass.sum(0).clamp_min(1)  # (M, C)
    return (mass - mass.sum(1, keepdim=True) * mass.sum(0) / mass.sum()).float()


def solution(affinities: Any, roots: np.ndarray, sources: Tensor) -> Tensor:
    """(M, K), of L u = sources (M, K), by conjugate gradients on the normalised Laplacian, for each column on its own.

    ``affinities`` (M, M) are divided by the roots (M,) of the degrees on both sides, as in `paws.classifiers.graph`.
    """
    scale = torch.from_numpy(roots).float()[:, None]
    return torch.cat([_solved(affinities, part) for part in (sources / scale).split(COLUMNS, 1)], 1) / scale


def _solved(affinities: Any, b: Tensor) -> Tensor:
    """x (M, K) of (1 + damping - affinities) x = b (M, K); a column is left as it is once its residual is small."""
    found, left = torch.zeros_like(b), b.clone()
    direction, size = left.clone(), left.square().sum(0)  # (K,)
    small = TOLERANCE**2 * size
    for _ in range(ROUNDS):
        if not bool((go := size > small).any()):
            break
        change = (1 + DAMPING) * direction - times(affinities, direction)
        step = torch.where(go, size / (direction * change).sum(0), 0)
        found.addcmul_(step, direction)
        left.addcmul_(-step, change)
        former, size = size, left.square().sum(0)
        direction.mul_(torch.where(go, size / former, 0)).add_(left)
    return found


def probabilities(scores: Tensor) -> Tensor:
    """Scores (M, C), which have no unit -> probabilities, even ones where no label arrives.

    The median gap between the two largest scores of an image is one unit of the softmax.
    """
    first, second = scores.topk(2, dim=1).values.unbind(1)
    return (scores / (first - second).median().clamp_min(1e-12)).softmax(1)
