"""Images that belong to no class: how likely an image is one, by how little of the labels reaches it over the pool's graph.

`Predictor.familiarity` says how much does. That of labels that were held out is that of images of the classes; the pool has
these and strangers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from paws.classifiers.graph import Graph
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.problem import Problem

UPPER = 0.5  # share of the images of the classes, the most familiar ones, that tell how many images are of the classes
ERRORS = 1.5  # standard errors that must speak for strangers
THRESHOLDS = 40  # looked at
ENOUGH, LEAST = 10, 50  # labels that are held out, and unlabelled images, below which nothing is said
RIDGE = 0.1  # penalty on the squared slope
LOWEST = 0.002  # share of the pool that may be stranger than anything
CERTAIN = 20.0  # log-odds
STRANGE = 0.5  # probability above which an image belongs rather to no class, and the classifier abstains
UNKNOWN = (CERTAIN, 0.0, -1e9)  # where nothing is known of strangers: no familiarity is as low


def stranger_probability(familiarity: Tensor, known: Tensor) -> Tensor:
    """(N,) probability in [0, 1] that images of ``familiarity`` (N,) belong to no class, by what `fit_strangers` found (3,).

    1 - sigmoid(offset + slope * familiarity) in the range of the pool. Below the lowest familiarity in it, where nothing is
    known, the probability of a class falls with the familiarity itself.
    """
    offset, slope, lowest = known.unbind()
    return 1 - (offset + slope * familiarity).sigmoid() * (familiarity - lowest).clamp_max(0).exp()


def fit_strangers(known: Tensor, weights: Tensor, pool: Tensor) -> tuple[float, float, float]:
    """Offset, slope and lowest of `stranger_probability`, from images of the classes and the unlabelled pool.

    Logistic regression from presence only (Ward et al. 2009): where a share pi of the pool is of the classes, an image of
    familiarity x is sigmoid(offset + slope * x) / pi times as likely among the known ones as in the pool.

    Args:
        known: (L,) familiarity of labelled images when their labels are held out.
        weights: (L,) of these, as often as their class occurs.
        pool: (U,) familiarity of images without a label.
    """
    from scipy.optimize import minimize

    share, lowest = share_of_classes(known, weights, pool), float(pool.quantile(LOWEST))
    if share == 1:
        return CERTAIN, 0.0, lowest
    weights, count = _normalised(weights)
    middle, width = float(known.mean()), float(known.std()) + 1e-6  # not those of the pool, in which strangers may be very far
    ours, theirs = (((part - middle) / width).double() for part in (known, pool))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        given = torch.from_numpy(values).requires_grad_()
        log_odds = [logsigmoid(given[0] + given[1] * x) - math.log(share) for x in (ours, theirs)]  # known, against the pool
        found = count * ((weights * softplus(-log_odds[0])).sum() + softplus(log_odds[1]).mean()) + RIDGE * given[1].square()
        (gradient,) = torch.autograd.grad(found, given)
        return float(found.detach()), gradient.numpy()

    with torch.enable_grad():
        start = np.array([math.log(share / (1 - share)), 1.0])
        offset, slope = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-CERTAIN, CERTAIN), (0, CERTAIN)]).x
    return float(offset - slope * middle / width), float(slope / width), lowest


def share_of_classes(known: Tensor, weights: Tensor, pool: Tensor) -> float:
    """The share of the pool that is of the classes, in (0, 1]; arguments as of `fit_strangers`.

    It is at most the share of the pool above a threshold over that of the known images, for any threshold (Blanchard, Lee and
    Scott 2010). Standard errors are left for chance, so that strangers are rather missed than made up.
    """
    weights, count = _normalised(weights)
    order = known.argsort()
    heaviness, share = weights[order].cumsum(0), 1.0
    for low in np.linspace(0, 1 - UPPER, THRESHOLDS):
        least = known[order][int((heaviness > low).nonzero()[0])]
        above = float(weights[known >= least].sum())
        error = math.sqrt(max(above * (1 - above), 0.25 / count) / count)
        if above > ERRORS * error:
            share = min(share, float((pool >= least).double().mean()) / (above - ERRORS * error))
    return max(share, 1e-6)


def _normalised(weights: Tensor) -> tuple[Tensor, float]:
    """Weights of sum 1, and how many equal ones would tell as much."""
    weights = (weights / weights.sum()).double()
    return weights, 1 / float(weights.square().sum())


def strangers_of(problem: Problem, frequencies: Tensor) -> tuple[float, float, float]:
    """What `fit_strangers` finds in a problem whose classes occur with these frequencies (C,); ``UNKNOWN`` where few labels, or
    none of some class, could be held out, or few images have no label."""
    if not problem.judged or len(problem.held) < ENOUGH:
        return UNKNOWN
    labels, held = problem.support_labels, problem.held
    found = torch.zeros(len(labels))
    for fold in range(problem.fold_count):
        own = problem.fold == fold
        found[own] = familiarity_of_pool(problem, frequencies, fold)[problem.labelled[own]]
    weights = (frequencies / torch.bincount(labels[held], minlength=len(problem.classes)))[labels[held]]
    pool = familiarity_of_pool(problem, frequencies)[problem.labels < 0]
    return fit_strangers(found[held], weights, pool) if len(pool) >= LEAST else UNKNOWN


def belonging(problem: Problem, frequencies: Tensor) -> Tensor | None:
    """(N,) probability in [0, 1] that images belong to a class, as `strangers_of` has it; None where it is the same for all."""
    found = strangers_of(problem, frequencies)
    if not found[1]:
        return None
    return 1 - stranger_probability(familiarity_of_pool(problem, frequencies), torch.tensor(found))


def familiarity_of_pool(problem: Problem, frequencies: Tensor, left_out: int | None = None) -> Tensor:
    """(N,) that of all images, without the labels of a fold, where classes occur with these frequencies (C,)."""
    found = problem.fitted(LabelSpreading, left_out).familiarity(problem.shared(Graph).near, frequencies)
    assert found is not None
    return found
