"""Temperature scaling (arXiv 1706.04599) on held-out labels, and the probability below which a classifier abstains."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = 1e-6  # of a probability of which the logarithm is taken
DEVIATION = 0.1  # of the logarithm of the inverse temperature of a vote above its floor, before any label tells
MARGIN = 0.4  # of a threshold by confidence
NEVER = 1.001  # a threshold that no probability reaches: nothing is sure


def log_probabilities(probabilities: Tensor) -> Tensor:
    """(..., C) probabilities -> their logarithms, none of them of less than `FLOOR`, which stand for a sum of 1 again."""
    return probabilities.clamp_min(FLOOR).log().log_softmax(-1)


def calibrated(probabilities: Tensor, inverse_temperature: float | Tensor) -> Tensor:
    """Softmax of log probabilities (N, C) times ``inverse_temperature``: p to that power, normalised."""
    return (log_probabilities(probabilities) * inverse_temperature).softmax(1)


def fit_inverse_temperature(probabilities: Tensor, labels: Tensor, deviation: float = math.inf) -> float:
    """The most likely inverse temperature for held-out probabilities (S, C) with labels (S,).

    Its logarithm has a normal prior of mean 0 and standard ``deviation``: few labels leave the probabilities nearly
    as they are.
    """
    log_p = log_probabilities(probabilities.double())
    candidates = torch.logspace(math.log10(0.05), math.log10(20), 241, dtype=torch.float64)
    losses = torch.stack([torch.nn.functional.cross_entropy(log_p * a, labels, reduction="sum") for a in candidates])
    return float(candidates[int((losses + (candidates.log() / deviation) ** 2 / 2).argmin())])


def confident_threshold(pool: Tensor, accuracy: float) -> float:
    """The smallest probability at and above which the mean confidence of the pool (N,) reaches ``accuracy`` and a margin.

    The margin is a share ``MARGIN`` of what is missing to 1: confidence that is right on average is not right everywhere.
    ``NEVER`` where no probability will do.
    """
    pool = pool.sort(descending=True).values.double()
    believed = pool.cumsum(0) / torch.arange(1, len(pool) + 1)  # (N,) mean confidence at and above each
    enough = int((believed >= accuracy + MARGIN * (1 - accuracy)).sum())
    return float(pool[enough - 1]) if enough else NEVER
