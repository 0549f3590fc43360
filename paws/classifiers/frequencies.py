"""Class frequencies of the pool, estimated from predictions of its images."""

from __future__ import annotations

import torch
from scipy.special import chdtri
from torch import Tensor

from paws.classifiers.base import Predictor
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.poisson import Poisson
from paws.classifiers.problem import SINGLE, Problem
from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.classifiers.strangers import belonging

JUDGES: tuple[type[Predictor], ...] = (LogisticRegression, SoftNearestNeighbours)
FUSED = 0.5  # weight of the log-probabilities of each of them in their common prediction
ROUNDS = 30  # of EM
ADDED = 0.2  # images, as a share of the pool, that are added evenly to what Poisson learning counts
LEAST = 1e-4  # frequency of a class
UNEVEN = 0.95  # how sure it must be that the counts of labels are no accident


def frequencies(problem: Problem) -> Tensor:
    """(C,) class frequencies of the pool: those that are given, else `estimated` ones."""
    return problem.shared(estimated) if problem.class_prior is None else problem.class_prior


def estimated(problem: Problem) -> Tensor:
    """(C,) class frequencies from what predictors, for which all classes are alike, say of all images.

    EM's estimate from the common prediction of `JUDGES` is drawn to even frequencies by the share of its squared deviation from
    them that chance explains, as James and Stein do with means; its variance is that of the jackknife over the folds of the
    labels. From single labels it has none, and is even. Its logarithm is then drawn to that of `counted`: halfway where there
    are one or two labels a class, and by the square of their number less where there are more. What labels that look like a
    sample of the pool say is added. Images count as much as they are likely to belong to a class at all.
    """
    found, belongs = torch.full((len(problem.classes),), 1 / len(problem.classes)), None
    if problem.fold_count and problem.labels_per_class >= SINGLE:
        together = _together(problem)
        belongs = belonging(problem, em(together).clamp_min(LEAST))  # what that takes is estimated from all alike
        estimate = em(together, belongs)
        folds = torch.stack([em(_together(problem, fold), belongs) for fold in range(problem.fold_count)])  # (F, C)
        variance = (len(folds) - 1) * folds.var(0, correction=0).sum()
        share = float((variance / (estimate - found).square().sum().clamp_min(1e-9)).clamp(0, 1))
        found = (1 - share) * estimate + share * found
    weight = 0.5 * min(1.0, 2 / problem.labels_per_class) ** 2
    found = ((1 - weight) * found.clamp_min(LEAST).log() + weight * counted(problem, belongs).log()).softmax(0)
    found = with_counts(found, problem.support_labels).clamp_min(LEAST)
    return found / found.sum()


def counted(problem: Problem, weights: Tensor | None = None) -> Tensor:
    """(C,) share of the images that Poisson learning gives to each class, with `ADDED`: how much of the graph is nearest to it.

    Every class has the same mass of labels there, but nothing draws the counts to even ones. Images count by ``weights`` (N,),
    all alike if absent.
    """
    counts = torch.bincount(problem.on_pool(Poisson).argmax(1), weights, minlength=len(problem.classes)).float()
    return (counts / counts.sum() + ADDED / len(counts)) / (1 + ADDED)


def _together(problem: Problem, left_out: int | None = None) -> Tensor:
    """(N, C) log-probabilities of all images by the predictors together, which were not shown the fold ``left_out``."""
    return (FUSED * torch.stack([problem.on_pool(judge, left_out) for judge in JUDGES]).sum(0)).log_softmax(1)


def em(logs: Tensor, weights: Tensor | None = None) -> Tensor:
    """(C,) the most likely class frequencies of N images with log-probabilities (N, C) for which all classes are alike.

    Images count by ``weights`` (N,), all alike if absent.

    EM of Saerens et al. (2002): frequencies are the mean of the predictions that they lead to.
    """
    likelihood = logs.exp()
    found = torch.full((logs.shape[1],), 1 / logs.shape[1])
    for _ in range(ROUNDS):
        joint = likelihood * found
        posterior = joint / joint.sum(1, keepdim=True)
        found = posterior.mean(0) if weights is None else weights @ posterior / weights.sum()
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
