"""Honest probabilities: an exponent fitted on labelled images by models that did not see their label, and a threshold."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = 1e-6
ENOUGH = 30  # held-out labels from which a threshold is read off directly


def calibrated(probabilities: Tensor, exponent: float) -> Tensor:
    """p ** exponent, normalised, of probabilities (N, C)."""
    return (probabilities.clamp_min(FLOOR).log() * exponent).softmax(1)


def fit_exponent(probabilities: Tensor, labels: Tensor) -> float:
    """The exponent of least log loss on held-out probabilities (S, C) with labels (S,); 1 / temperature of the logits."""
    log_p = probabilities.double().clamp_min(FLOOR).log()
    exponents = torch.logspace(math.log10(0.05), math.log10(20), 121, dtype=torch.float64)
    losses = [torch.nn.functional.cross_entropy(log_p * a, labels) for a in exponents]
    return float(exponents[int(torch.stack(losses).argmin())])


def fit_exponent_to_confidence(probabilities: Tensor, confidence: float) -> float:
    """The exponent that brings the mean largest probability of (N, C) to ``confidence``, where no label tells."""
    low, high = 0.02, 50.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        if float(calibrated(probabilities, middle).amax(1).mean()) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def fit_threshold(confidence: Tensor, correct: Tensor | None, accuracy: float) -> float | None:
    """The smallest probability above which predictions reach ``accuracy``; 1 where nothing reaches it.

    Confidence (N,) of predictions, with ``correct`` (N,) bool; None where these are fewer than ``ENOUGH``. Without
    ``correct`` the probabilities are taken at their word.
    """
    if correct is not None and len(correct) < ENOUGH:
        return None
    order = confidence.argsort(descending=True)
    values = (confidence if correct is None else correct)[order].double()
    reached = values.cumsum(0) / torch.arange(1, len(order) + 1)
    good = (reached >= accuracy).nonzero().flatten()
    return float(confidence[order[good[-1]]]) if len(good) else 1.0


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error in [0, 1] of the top class over ``bins`` of equal width (arXiv 1706.04599, eq. 5)."""
    confidence, predicted = probabilities.max(1)
    correct = (predicted == labels).double()
    index = (confidence * bins).long().clamp_max(bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, index, confidence.double() - correct)
    return float(gaps.abs().sum() / len(labels))
