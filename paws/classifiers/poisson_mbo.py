"""Poisson MBO (arXiv 2006.11184, algorithm 2): Poisson learning in turns with a decision that keeps the class frequencies."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.frequencies import frequencies
from paws.classifiers.graph import COLUMNS, Graph, times
from paws.classifiers.poisson import Poisson, probabilities, sources_of
from paws.classifiers.problem import Problem
from paws.voting import one_hot

STEPS, TURNS = 20, 5  # of heat flow between two decisions, and decisions at most: fewer than in the paper, and better here
SETTLED = 1e-3  # share of images that change class in a turn, below which it ends
ROUNDS, RATE, CLOSE = 30, 0.3, 1e-3  # of the search for class weights, its step, and how near shares must come


class PoissonMbo(Poisson):
    """Heat flow from the labels and a decision that gives each class its share of the images, in turns."""

    name, title = "poisson_mbo", "Poisson MBO"

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        graph, scores = problem.shared(Graph), problem.shared(of_all_folds)[left_out]
        return cls(len(problem.classes), graph.bank, probabilities(scores), graph.k)


def of_all_folds(problem: Problem) -> dict[int | None, Tensor]:
    """(M, C) scores with all labels of a problem and without each fold; folds whose columns fit into one product at once."""
    graph, sources, prior = problem.shared(Graph), problem.shared(sources_of), frequencies(problem)
    found: list[Tensor] = []
    each = max(1, COLUMNS // len(prior))
    for first in range(0, len(problem.splits), each):
        folds = problem.splits[first : first + each]
        start = torch.stack([problem.fitted(Poisson, fold).distributions for fold in folds])
        found += flow(graph.affinities, graph.roots, torch.stack([sources[fold] for fold in folds]), start, prior)
    return dict(zip(problem.splits, found, strict=True))


def flow(affinities: Any, roots: np.ndarray, sources: Tensor, start: Tensor, prior: Tensor) -> Tensor:
    """(L, M, C) scores after the last turn; the largest is of each class in a share ``prior`` (C,) of the images.

    The graph and the ``sources`` (L, M, C), for L draws of labels, each on its own, are as `paws.classifiers.poisson.solution`
    takes them, ``start`` (L, M, C) are Poisson learning's probabilities.
    """
    import scipy.sparse

    step = 1 / (roots**2).max()  # for stability
    scaling = scipy.sparse.diags_array(roots)
    matrix = (
        (scipy.sparse.diags_array(1 - step * roots**2) + step * (scaling @ affinities @ scaling)).tocsr().astype(np.float32)
    )
    found, balance = torch.empty_like(start), torch.ones(len(start), len(prior))
    decided = (start * class_weights(start, prior, balance)[:, None]).argmax(2)  # (L, M)
    moving = torch.arange(len(start))
    for _ in range(TURNS):
        sourced = step * sources[moving].transpose(0, 1).flatten(1)  # (M, L * C)
        scores = one_hot(decided[moving].T, len(prior)).flatten(1)
        for _ in range(STEPS):
            scores = times(matrix, scores).add_(sourced)
        scores = scores.unflatten(1, (len(moving), -1)).transpose(0, 1)  # (L, M, C)
        balance[moving] = class_weights(scores, prior, balance[moving])
        found[moving] = scores * balance[moving][:, None]
        former, decided[moving] = decided[moving], found[moving].argmax(2)
        moving = moving[(former != decided[moving]).float().mean(1) >= SETTLED]
        if not len(moving):
            break
    return found


def class_weights(scores: Tensor, prior: Tensor, start: Tensor) -> Tensor:
    """(L, C) positive factors by which the largest of scores (L, M, C) is of each class in a share ``prior`` (C,) of rows."""
    by_class, found, best = scores.mT.contiguous(), start, start  # (L, C, M): the largest of M at once
    least = torch.full((len(start),), torch.inf)
    for i in range(ROUNDS):
        weighed = by_class * found[..., None]
        shares = (weighed >= weighed.amax(1, keepdim=True)).sum(2) / scores.shape[1]  # (L, C)
        off = (shares - prior).abs().amax(1)
        better = (off < least) & (least > CLOSE)
        best, least = torch.where(better[:, None], found, best), torch.where(better, off, least)
        if bool((least <= CLOSE).all()):
            break
        found = (found + RATE * 10 ** (-i / ROUNDS) * (prior - shares)).clamp_min(1e-3)
        found = found / found.mean(1, keepdim=True)
    return best
