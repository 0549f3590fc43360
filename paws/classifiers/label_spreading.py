"""Label spreading (Zhou et al. 2004) over the nearest-neighbour graph of the pool, by scikit-learn.

The graph is symmetric (two images are joined when either is among the nearest of the other), which carries labels further
than scikit-learn's own one-sided one.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from paws.classifiers.base import Predictor, empty_projection, projection_sizes, squared_distance
from paws.classifiers.problem import Problem
from paws.seeds import generator

IMAGES = 10_000  # of the pool, at most, that labels are spread over
MEMORY = 128  # MB of distances at a time
NEIGHBOURS, ALPHA = 10, 0.9  # of the graph, and the share of what an image takes from its neighbours


def neighbour_graph(points: Tensor) -> Any:
    """The symmetric graph of points (M, P), a sparse (M, M) of 0 and 1: two are joined when either is among the nearest of the
    other, which carries labels further than scikit-learn's own one-sided graph.
    """
    from sklearn import config_context
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(points) - 1)
    with config_context(working_memory=MEMORY):
        nearest = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points.numpy()).kneighbors_graph()
    return nearest.maximum(nearest.T)


def spread_over(graph: Any, points: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Class distributions (M, C) of the points from the labels (M,), -1 where unknown; 0 where no label arrives."""
    from sklearn.semi_supervised import LabelSpreading as Spreading

    model = Spreading(kernel=lambda a, b: graph, alpha=ALPHA, max_iter=200, tol=1e-4)
    with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
        model.fit(points.numpy(), labels.numpy())
    found = torch.zeros(len(points), num_classes)
    found[:, model.classes_] = torch.from_numpy(np.nan_to_num(model.label_distributions_)).float()
    return found


class Graph:
    """The nearest-neighbour graph of M images of the pool; ``problem.shared(Graph)`` makes it once for a problem."""

    def __init__(self, problem: Problem) -> None:
        labels, self.seed, self.num_classes = problem.labels, problem.seed, len(problem.classes)
        order = torch.randperm(len(labels), generator=generator(problem.seed, "spread"))
        order = order[(labels[order] < 0).int().argsort(stable=True)]  # labelled images first
        self.images = order[: max(IMAGES, len(problem.labelled))]  # (M,)
        self.bank = problem.projected[self.images, 0].float()  # (M, P)
        self.project = problem.space.projection()
        self.k, self.graph = min(NEIGHBOURS, len(self.images) - 1), neighbour_graph(self.bank)

    def spread(self, labels: Tensor) -> Tensor:
        """Class distributions (M, C) from the labels (N,) of the pool, -1 where unknown; 0 where no label arrives."""
        return spread_over(self.graph, self.bank, labels[self.images], self.num_classes)

    def pseudo_labelled(self, labels: Tensor, count: int) -> Tensor:
        """Labels (N,) with pseudo-labels for the ``count`` images of each class of which spreading is most confident."""
        top = self.spread(labels).topk(min(count, len(self.images) // self.num_classes), dim=0)  # (count, C)
        classes = torch.arange(self.num_classes).expand_as(top.indices)
        added = labels.clone()
        added[self.images[top.indices[top.values > 0]]] = classes[top.values > 0]
        return torch.where(labels >= 0, labels, added)

    def recovery(self, classes: Tensor, draws: int = 8) -> float:
        """How well single labels tell the ``classes`` (M,) of the images: the share of them that spreading gives back from one
        random image of each class, mean over ``draws``. What such labels are worth depends on the images that happen to have
        them, and this is all that can be known of it where there are no others.
        """
        shares, draw = [], generator(self.seed, "recovery")
        present = classes.unique()
        for _ in range(draws):
            order = torch.randperm(len(classes), generator=draw)
            picked = torch.stack([order[classes[order] == c][0] for c in present])  # (C',)
            labels = torch.full((int(self.images.max()) + 1,), -1)
            labels[self.images[picked]] = present
            found = self.spread(labels)  # (M, C)
            back = (found.argmax(1) == classes) & (found.amax(1) > 0)
            back[picked] = False
            shares.append(float(back.double().sum()) / max(1, len(classes) - len(picked)))
        return sum(shares) / draws


class LabelSpreading(Predictor):
    """The mean of what spreading gave to the k images of the pool (M) that are nearest."""

    name, title, aliases = "label_spreading", "LabelSpreading", ("spreading",)
    bank: Tensor
    distributions: Tensor

    def __init__(self, num_classes: int, bank: Tensor, distributions: Tensor, k: int, project: nn.Module) -> None:
        super().__init__(num_classes)
        self.k, self.project = k, project
        self.register_buffer("bank", bank)  # (M, P)
        self.register_buffer("distributions", distributions)  # (M, C)

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        graph = problem.shared(Graph)
        found = graph.spread(problem.visible_labels(left_out))
        return cls(len(problem.classes), graph.bank, found, graph.k, graph.project)

    @classmethod
    def of(cls, points: Tensor, labels: Tensor, num_classes: int) -> Self:
        """Spread the labels (M,), -1 where unknown, over all points (M, P) as they are, which ``forward`` then takes."""
        found = spread_over(neighbour_graph(points), points, labels, num_classes)
        return cls(num_classes, points, found, min(NEIGHBOURS, len(points) - 1), nn.Identity())

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        nearest = squared_distance(self.project(x), self.bank).topk(self.k, dim=1, largest=False).indices  # (N, k)
        found = self.distributions[nearest].sum(1)  # (N, C)
        found = found + 1e-6  # an image that no label reaches: all classes alike
        return found / found.sum(1, keepdim=True), None

    def config(self) -> dict[str, Any]:
        return {**super().config(), "bank": list(self.bank.shape), "k": self.k, "project": projection_sizes(self.project)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        (rows, width), classes = config["bank"], config["num_classes"]
        project = empty_projection(config["project"])
        return cls(classes, torch.zeros(rows, width), torch.zeros(rows, classes), config["k"], project)
