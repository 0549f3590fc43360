"""The graph of nearest neighbours over which labels are spread, made once for a problem.

Letters: M images of the pool (the bank), N all of them, P components, k neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from paws.classifiers.problem import Problem
from paws.classifiers.space import mean_of_views
from paws.seeds import generator

IMAGES = 10_000  # of the pool, at most, that labels are spread over
NEIGHBOURS = 15
CHUNK = 1024  # images whose neighbours are looked for at a time
FAR = 0.99  # share of the images whose nearest is no farther than what counts as far


def nearest(x: Tensor, bank: Tensor, k: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k images of the bank (M, P) nearest to each x (N, P) by cosine: their affinities (N, k) and rows (N, k)."""
    distance, rows = neighbours(x, bank, k, own)
    return affinity(distance), rows


def affinity(distance: Tensor) -> Tensor:
    """exp(-4 d^2 / d_k^2) of squared distances d^2 (N, k) to neighbours, d_k that of the farthest.

    The self-tuning kernel of Poisson learning (arXiv 2006.11184).
    """
    return (-4 * distance / distance[:, -1:]).exp()


def neighbours(x: Tensor, bank: Tensor, k: int, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Squared distances (N, k) and rows (N, k) of the k images of the bank (M, P) nearest to each x (N, P), the nearest first.

    Vectors have length 1. ``own`` (N,) int64: a row that is not a neighbour.
    """
    similarity = x @ bank.T  # (N, M)
    if own is not None:
        similarity = similarity.scatter(1, own[:, None], -torch.inf)
    cosine, rows = similarity.topk(k, dim=1)
    return (2 - 2 * cosine).clamp_min(1e-6), rows


def affinities(bank: Tensor) -> tuple[Any, np.ndarray, Tensor]:
    """The graph of a bank (M, P) of vectors of length 1: a sparse (M, M), symmetric, divided by the roots of the degrees; these
    roots (M,); and the squared distance () to the nearest image that few images of the bank exceed."""
    count, k = len(bank), min(NEIGHBOURS, len(bank) - 1)
    found = [neighbours(bank[rows], bank, k, rows) for rows in torch.arange(count).split(CHUNK)]
    distance, near = (torch.cat(part) for part in zip(*found, strict=True))
    weights, columns = affinity(distance).flatten().numpy(), near.flatten().numpy()
    graph = scipy.sparse.csr_matrix((weights, (np.arange(count).repeat(k), columns)), shape=(count, count))
    graph = graph.maximum(graph.T)  # joined when either is among the nearest of the other
    roots = np.sqrt(np.asarray(graph.sum(1), np.float64).ravel() + 1e-10)
    scaling = scipy.sparse.diags(1 / roots)
    return (scaling @ graph @ scaling).tocsr().astype(np.float32), roots, distance[:, 0].quantile(FAR)


def mean_of_nearest(values: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """(N, C) mean of the values (M, C) of the neighbours ``rows`` (N, k), by their affinities (N, k)."""
    return (weights[..., None] * values[rows]).sum(1) / weights.sum(1, keepdim=True)


class Graph:
    """The graph of a problem; ``problem.shared(Graph)`` makes it once."""

    def __init__(self, problem: Problem) -> None:
        labels = problem.labels
        order = torch.randperm(len(labels), generator=generator(problem.seed, "spread"))
        order = order[(labels[order] < 0).int().argsort(stable=True)]  # labelled images first
        self.images = order[: max(IMAGES, len(problem.labelled))].sort().values  # (M,)
        self.bank = mean_of_views(problem.projected[self.images].float())  # (M, P)
        self.k = min(NEIGHBOURS, len(self.images) - 1)
        self.affinities, self.roots, self.far = affinities(self.bank)  # (M, M) sparse, (M,), ()
        found = [neighbours(mean_of_views(part.float()), self.bank, self.k) for part in problem.projected.split(CHUNK)]
        distance, self.rows = (torch.cat(part) for part in zip(*found, strict=True))  # (N, k) of all images
        self.weights, self.closest = affinity(distance), distance[:, 0]  # (N, k), (N,)
