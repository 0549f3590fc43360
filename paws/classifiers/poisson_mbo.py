"""Poisson MBO (arXiv 2006.11184, algorithm 2): Poisson learning in turns with a decision that keeps the class frequencies."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from paws.classifiers.frequencies import frequencies
from paws.classifiers.graph import Graph
from paws.classifiers.poisson import Poisson, probabilities, source
from paws.classifiers.problem import Problem

STEPS, TURNS = 20, 20  # of heat flow between two decisions (half as many as in the paper: as good here), and decisions at most
SETTLED = 1e-3  # share of images that change class in a turn, below which it ends
ROUNDS, RATE, CLOSE = 30, 0.3, 1e-3  # of the search for class weights, its step, and how near shares must come


class PoissonMbo(Poisson):
    """Heat flow from the labels and a decision that gives each class its share of the images, in turns."""

    name, title = "poisson_mbo", "Poisson MBO"

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        graph, count = problem.shared(Graph), len(problem.classes)
        sources = source(problem.visible_labels(left_out)[graph.images], count)
        start = problem.fitted(Poisson, left_out).distributions.numpy()
        scores = flow(graph.affinities, graph.roots, sources, start, frequencies(problem).double().numpy())
        return cls(count, graph.bank, probabilities(scores), graph.k)


def flow(affinities: Any, roots: np.ndarray, sources: np.ndarray, start: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """(M, C) scores after the last turn; the largest is of each class in a share ``prior`` (C,) of the images.

    The graph and the ``sources`` (M, C) are as `paws.classifiers.poisson.solution` takes them, ``start`` (M, C) are Poisson
    learning's probabilities. In float32.
    """
    import scipy.sparse

    step = 1 / (roots**2).max()  # for stability
    scaling = scipy.sparse.diags_array(roots)
    matrix = (scipy.sparse.diags_array(1 - step * roots**2) + step * (scaling @ affinities @ scaling)).tocsr()
    matrix, sources = matrix.astype(np.float32), (step * sources).astype(np.float32)
    balance = np.ones(len(prior))
    decided = (start * class_weights(start, prior, balance)).argmax(1)
    for _ in range(TURNS):
        scores = np.eye(len(prior), dtype=np.float32)[decided]
        for _ in range(STEPS):
            scores = matrix @ scores + sources
        balance = class_weights(scores, prior, balance)
        former, decided = decided, (scores * balance).argmax(1)
        if (former != decided).mean() < SETTLED:
            break
    return scores * balance


def class_weights(scores: np.ndarray, prior: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(C,) positive factors by which the largest of scores (M, C) is of each class in a share ``prior`` (C,) of the rows."""
    found, best, least = start, start, np.inf
    for i in range(ROUNDS):
        shares = np.bincount((scores * found).argmax(1), minlength=len(prior)) / len(scores)
        off = float(np.abs(shares - prior).max())
        if off < least:
            best, least = found, off
        if off <= CLOSE:
            break
        found = np.maximum(found + RATE * 10 ** (-i / ROUNDS) * (prior - shares), 1e-3)
        found = found / found.mean()
    return best
