"""Class frequencies of the pool, estimated from predictions of its images."""

from __future__ import annotations

import torch
from scipy.special import chdtri
from torch import Tensor

from paws.classifiers.base import Predictor
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.poisson import Poisson
from paws.classifiers.problem import SINGLE, Problem
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours

JUDGES: tuple[type[Predictor], ...] = (LogisticRegression, SoftNearestNeighbours, LabelSpreading)
OF_SINGLE: tuple[type[Predictor], ...] = (Poisson, SoftNearestNeighbours, LabelSpreading)  # one label a class: see `estimated`
TRUST = 0.5  # in an estimate from single labels; the rest is even
FUSED = 0.5  # weight of the log-probabilities of each of them in their common prediction
ROUNDS = 30  # of EM
LEAST = 1e-4  # frequency of a class
UNEVEN = 0.95  # how sure it must be that the counts of labels are no accident


def frequencies(problem: Problem) -> Tensor:
    """(C,) class frequencies of the pool: those that are given, else `estimated` ones."""
    return problem.shared(estimated) if problem.class_prior is None else problem.class_prior


def estimated(problem: Problem) -> Tensor:
    """(C,) class frequencies from what three predictors, for which all classes are alike, say of all images.

    The mean of EM's estimates from each of them and from their common prediction, drawn to even ones by the share of the
    deviation from even that their disagreement explains. From single labels logistic regression says what soft nearest
    neighbours say, so Poisson learning takes its place, and half of the estimate is even.
    """
    single = problem.labels_per_class < SINGLE
    logs = torch.stack([problem.on_pool(judge) for judge in (OF_SINGLE if single else JUDGES)])  # (3, N, C)
    each = torch.stack([em(found) for found in logs])  # (3, C)
    together = em((FUSED * logs.sum(0)).log_softmax(1))
    even = 1 / logs.shape[2]
    mean = torch.cat([each, together[None]]).mean(0)
    noise, signal = each.var(0).sum(), (each.mean(0) - even).square().sum()
    share = float((noise / signal.clamp_min(1e-9)).clamp(0, 1))
    found = (1 - share) * mean + share * even
    found = with_counts(TRUST * found + (1 - TRUST) * even if single else found, problem.support_labels).clamp_min(LEAST)
    return found / found.sum()


def em(logs: Tensor) -> Tensor:
    """(C,) the most likely class frequencies of N images with log-probabilities (N, C) for which all classes are alike.

    EM of Saerens et al. (2002): frequencies are the mean of the predictions that they lead to.
    """
    likelihood = logs.exp()
    found = torch.full((logs.shape[1],), 1 / logs.shape[1])
    for _ in range(ROUNDS):
        joint = likelihood * found
        found = (joint / joint.sum(1, keepdim=True)).mean(0)
    return found


def with_counts(found: Tensor, labels: Tensor) -> Tensor:
    """Estimated frequencies (C,), and the counts of the labels (S,) where these look like a sample of the pool.

    Counts that are more uneven than drawing the same number of each class explains (chi-square test) tell of the pool: the
    mean of ``found`` and of their frequencies with one added to each class.
    """
    counts = torch.bincount(labels, minlength=len(found)).float()
    even = counts.sum() / len(found)
    if float(((counts - even).square() / even).sum()) < chdtri(len(found) - 1, 1 - UNEVEN):
        return found
    return ((counts + 1) / (counts.sum() + len(found)) + found) / 2
