"""The graph of nearest neighbours over which labels are spread, made once for a problem.

Letters: M images of the pool (the bank), N all of them, P components, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.seeds import generator

IMAGES = 10_000  # of the pool, at most, that labels are spread over
NEIGHBOURS = 15
CHUNK = 1024  # images whose neighbours are looked for at a time
COLUMNS = 64  # of numbers of the images, that are multiplied by a graph at a time
FAR = 0.99  # share of the images whose nearest is no farther than what counts as far


def affinity(distance: Tensor) -> Tensor:
    """exp(-4 d^2 / d_k^2) of squared distances d^2 (N, k) to neighbours, d_k that of the farthest.

    The self-tuning kernel of Poisson learning (arXiv 2006.11184).
    """
    return (-4 * distance / distance[:, -1:]).exp()


def neighbours(x: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances (N, k) and rows (N, k) of the k images of the bank (M, P) nearest to each x (N, P), the nearest first.

    Vectors have length 1.
    """
    cosine, rows = (x @ bank.T).topk(k, dim=1)
    return (2 - 2 * cosine).clamp_min(1e-6), rows


def in_parts(parts: Iterable[Tensor], bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`neighbours` of the images in all parts."""
    distance, rows = zip(*(neighbours(part, bank, k) for part in parts), strict=True)
    return torch.cat(distance), torch.cat(rows)


def neighbours_of(bank: Tensor) -> int:
    """How many of the other images of a bank (M, P) each is joined to."""
    return min(NEIGHBOURS, len(bank) - 1)


def affinities(bank: Tensor) -> tuple[Any, np.ndarray, Tensor]:
    """The graph of a bank (M, P) of vectors of length 1: `joined` neighbours."""
    return joined(*in_parts(bank.split(CHUNK), bank, neighbours_of(bank) + 1))


def joined(distance: Tensor, rows: Tensor) -> tuple[Any, np.ndarray, Tensor]:
    """The graph of M images whose k + 1 nearest, themselves among them, are ``rows`` (M, k + 1) at ``distance`` (M, k + 1).

    Returns:
        it, a sparse (M, M), symmetric, divided by the roots of the degrees; these roots (M,); and the squared distance () to
        the nearest other image that few images exceed.
    """
    count, k = len(rows), rows.shape[1] - 1
    others = rows != torch.arange(count)[:, None]
    others[others.all(1), -1] = False  # of images that are all the same, itself need not be among the first
    distance, rows = distance[others].view(count, k), rows[others].view(count, k)
    weights, columns = affinity(distance).flatten().numpy(), rows.flatten().numpy()
    graph = scipy.sparse.csr_matrix((weights, (np.arange(count).repeat(k), columns)), shape=(count, count))
    graph = graph.maximum(graph.T)  # joined when either is among the nearest of the other
    roots = np.sqrt(np.asarray(graph.sum(1), np.float64).ravel() + 1e-10)
    scaling = scipy.sparse.diags(1 / roots)
    return (scaling @ graph @ scaling).tocsr().astype(np.float32), roots, distance[:, 0].quantile(FAR)


def times(graph: Any, values: Tensor) -> Tensor:
    """A sparse graph (M, M) times numbers (M, K) of its images, float32: several times as fast as by scipy."""
    columns, offsets, weights = (torch.from_numpy(part) for part in (graph.indices, graph.indptr, graph.data))
    return embedding_bag(columns, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)


def mean_of_nearest(values: Tensor, distance: Tensor, rows: Tensor) -> Tensor:
    """(N, C) mean of the values (M, C) of the neighbours ``rows`` (N, k) by affinity, from squared ``distance`` (N, k)."""
    weights = affinity(distance)
    return (weights[..., None] * values[rows]).sum(1) / weights.sum(1, keepdim=True)


class Graph:
    """The graph of a problem; ``problem.shared(Graph)`` makes it once."""

    def __init__(self, problem: Problem) -> None:
        labels = problem.labels
        order = torch.randperm(len(labels), generator=generator(problem.seed, "spread"))
        order = order[(labels[order] < 0).int().argsort(stable=True)]  # labelled images first
        self.images = order[: max(IMAGES, len(problem.labelled))].sort().values  # (M,)
        self.bank = mean_of_views(problem.projected[self.images].float())  # (M, P)
        self.k = neighbours_of(self.bank)
        images = (mean_of_views(part.float()) for part in problem.projected.split(CHUNK))
        distance, rows = in_parts(images, self.bank, self.k + 1)  # (N, k + 1) of all images
        self.affinities, self.roots, self.far = joined(distance[self.images], rows[self.images])  # (M, M) sparse, (M,), ()
        self.near = distance[:, :-1], rows[:, :-1]  # (N, k) twice
