"""Label spreading (Zhou et al. 2004) over the nearest-neighbour graph of the pool."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.classifiers.base import Near, Predictor, empty_projection, projection_sizes, squared_distance
from paws.classifiers.graph import COLUMNS, Graph, affinities, affinity, mean_of_nearest, neighbours, times
from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.voting import one_hot

ALPHA, ROUNDS = 0.95, 100  # the share of what an image takes from its neighbours, and how often it does
POWER = 2  # of the distributions, which spreading leaves flat
REST = 1e-7  # of every class where no label arrives
DECAY = 20.0  # of the familiarity, per excess of the squared distance to the nearest image over what is far, as a share of it
LEAST = 1e-12  # of what reaches an image


def spread(graph: Any, roots: np.ndarray, labels: Tensor, num_classes: int) -> list[tuple[Tensor, Tensor]]:
    """Class distributions (M, C) from labels, -1 where unknown, over a graph (M, M) with roots (M,) as of `affinities`.

    F <- alpha S F + (1 - alpha) Y, from label columns of equal mass, so that every class weighs the same. 0 where no label
    arrives. How much does, by the root of an image's degree, is the second result (M,), the mean over the classes: little
    reaches what is like no labelled image and like nothing that is like one. Both for each row of ``labels`` (L, M).
    """
    start = one_hot(labels.T, num_classes)  # (M, L, C)
    start = (start / start.sum(0).clamp_min(1)).flatten(1)  # (M, L * C)
    parts = []
    for first in start.split(COLUMNS, 1):
        found, first = first, (1 - ALPHA) * first
        for _ in range(ROUNDS):
            found = times(graph, found.contiguous()).mul_(ALPHA).add_(first)
        parts.append(found)
    scale = torch.from_numpy(roots).float()
    return [_distributions(each, scale) for each in torch.cat(parts, 1).unflatten(1, (len(labels), -1)).unbind(1)]


def _distributions(found: Tensor, roots: Tensor) -> tuple[Tensor, Tensor]:
    mass = found.sum(1, keepdim=True)
    return found / mass.clamp_min(1e-12), mass[:, 0] / found.shape[1] / roots


def of_all_folds(problem: Problem) -> dict[int | None, tuple[Tensor, Tensor]]:
    """What `spread` finds with all labels of a problem and without each fold, at once."""
    graph = problem.shared(Graph)
    labels = torch.stack([problem.visible_labels(fold)[graph.images] for fold in problem.splits])
    found = spread(graph.affinities, graph.roots, labels, len(problem.classes))
    return dict(zip(problem.splits, found, strict=True))


def familiar(reached: Tensor, distance: Tensor) -> Tensor:
    """(N,) logarithm of how much of the labels reaches images (N,), less where the squared ``distance`` (N,) to the nearest
    image of the pool, by what is far, is above 1."""
    return reached.clamp_min(LEAST).log() - DECAY * (distance - 1).clamp_min(0)


class LabelSpreading(Predictor):
    """The mean of what spreading gave to the k images of the pool (M) that are nearest, by their affinity, and squared.

    ``cosine`` false, as bundles of format 3 and pixels have it: by Euclidean distance in the projection, all
    alike, and not squared.
    """

    name, title, aliases = "label_spreading", "LabelSpreading", ("spreading",)
    bank: Tensor
    distributions: Tensor
    reached: Tensor | None
    far: Tensor | None

    def __init__(
        self,
        num_classes: int,
        bank: Tensor,
        distributions: Tensor,
        k: int,
        project: nn.Module | None = None,
        cosine: bool = True,
        reached: Tensor | None = None,
        far: Tensor | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.k, self.project, self.cosine = k, project or nn.Identity(), cosine
        self.register_buffer("bank", bank)  # (M, P), of length 1
        self.register_buffer("distributions", distributions)  # (M, C)
        self.register_buffer("reached", reached)  # (M,) how much of the labels reaches each; bundles of before have it not
        self.register_buffer("far", far)  # () squared distance to the nearest that few images of the bank exceed

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        graph, (found, reached) = problem.shared(Graph), problem.shared(of_all_folds)[left_out]
        return cls(len(problem.classes), graph.bank, found, graph.k, reached=reached, far=graph.far)

    @classmethod
    def on_pool(cls, problem: Problem, left_out: int | None = None) -> Tensor:
        return problem.fitted(cls, left_out)._weighted(*problem.shared(Graph).near)

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        if self.cosine:
            return self.over_views(x[:, None], support, labels)
        rows = squared_distance(self.project(x), self.bank).topk(self.k, dim=1, largest=False).indices  # (N, k)
        found = self.distributions[rows].sum(1) + 1e-6  # (N, C)
        return found / found.sum(1, keepdim=True), None

    def near(self, views: Tensor) -> Near | None:
        if not self.cosine:
            return None
        return neighbours(normalize(self.project(mean_of_views(views)), dim=1), self.bank, self.k)

    def familiarity(self, near: Near, frequencies: Tensor) -> Tensor | None:
        """The logarithm of the mean of what reached the nearest images of the pool, less where the nearest one is far.

        The labels of a class share one mass among all its images, so that less of it reaches each where there are many: classes
        weigh by how often they occur.
        """
        if self.reached is None or self.far is None:
            return None
        distance, rows = near
        reached = self.reached[:, None] * (self.distributions @ frequencies[:, None]) * len(frequencies)  # (M, 1)
        return familiar(mean_of_nearest(reached, distance, rows)[:, 0], distance[:, 0] / self.far)

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor | None]:
        near = near or self.near(views)
        return super().over_views(views, support, labels) if near is None else (self._weighted(*near), None)

    def _weighted(self, distance: Tensor, rows: Tensor) -> Tensor:
        found = (affinity(distance)[..., None] * self.distributions[rows]).sum(1)  # (N, C)
        found = found / found.sum(1, keepdim=True).clamp_min(REST)
        found = (found + REST) ** POWER
        return found / found.sum(1, keepdim=True)

    @cached_property
    def graph(self) -> tuple[Any, np.ndarray, Tensor]:
        """That of the bank, for labels that change."""
        return affinities(self.bank.cpu().float())

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        if not self.cosine:
            return super().with_labels(support, labels, num_classes)
        own = (normalize(support, dim=1) @ self.bank.T).argmax(1)  # (S,) the labelled images in the bank, or what is nearest
        known = torch.full((len(self.bank),), -1)
        known[own] = labels
        graph, roots, far = self.graph
        found, reached = (part.to(self.bank) for part in spread(graph, roots, known[None], num_classes)[0])
        return LabelSpreading(num_classes, self.bank, found, self.k, reached=reached, far=far.to(self.bank))

    def config(self) -> dict[str, Any]:
        shape = {"bank": list(self.bank.shape), "k": self.k, "project": projection_sizes(self.project)}
        return {**super().config(), **shape, "cosine": self.cosine, "reached": self.reached is not None}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        (rows, width), classes = config["bank"], config["num_classes"]
        project, cosine = empty_projection(config["project"]), config.get("cosine", False)
        further = {"reached": torch.zeros(rows), "far": torch.ones(())} if config.get("reached") else {}
        return cls(classes, torch.zeros(rows, width), torch.zeros(rows, classes), config["k"], project, cosine, **further)
