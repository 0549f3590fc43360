"""Poisson learning (Calder, Cook, Thorpe and Slepcev 2020, arXiv 2006.11184): labels as sources and sinks on a graph."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.base import Near, Predictor
from paws.classifiers.graph import Graph, mean_of_nearest, neighbours
from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views

TOLERANCE = 1e-3  # of conjugate gradients, relative
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
        graph, count = problem.shared(Graph), len(problem.classes)
        labels = problem.visible_labels(left_out)[graph.images]
        scores = solution(graph.affinities, graph.roots, source(labels, count))
        return cls(count, graph.bank, probabilities(scores), graph.k)

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


def source(labels: Tensor, num_classes: int) -> np.ndarray:
    """(M, C) float64: at labelled images the one-hot label over the labels of its class, less the mean; columns sum to 0."""
    known, classes = (labels >= 0).numpy(), labels[labels >= 0].numpy()
    mass = np.eye(num_classes)[classes] / np.bincount(classes, minlength=num_classes)[classes, None]  # (S, C)
    found = np.zeros((len(labels), num_classes))
    found[known] = mass - mass.sum(1, keepdims=True) * mass.sum(0) / mass.sum()
    return found


def solution(affinities: Any, roots: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """(M, C) float64, of L u = sources (M, C), by conjugate gradients on the normalised Laplacian.

    ``affinities`` (M, M) are divided by the roots (M,) of the degrees on both sides, as in `paws.classifiers.graph`.
    """
    import scipy.sparse
    from scipy.sparse.linalg import cg

    laplacian = (1 + DAMPING) * scipy.sparse.eye_array(len(roots)) - affinities.astype(np.float64)
    columns = [cg(laplacian, column / roots, rtol=TOLERANCE, maxiter=1000)[0] / roots for column in sources.T]
    return np.stack(columns, 1)


def probabilities(scores: np.ndarray) -> Tensor:
    """Scores (M, C), which have no unit -> probabilities float32, even ones where no label arrives.

    The median gap between the two largest scores of an image is one unit of the softmax.
    """
    found = torch.from_numpy(scores)
    first, second = found.topk(2, dim=1).values.unbind(1)
    return (found / (first - second).median().clamp_min(1e-12)).softmax(1).float()
