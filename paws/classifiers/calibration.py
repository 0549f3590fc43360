"""Honest probabilities: an exponent fitted on labelled images by models that did not see their label, and a threshold."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = 1e-6
SPREAD = 0.1  # deviation of the logarithm of the exponent that calibrates a vote above its floor, before any label tells
WORTH = 30  # held-out labels that tell as much of a threshold as the calibrated probabilities do


def calibrated(probabilities: Tensor, exponent: float) -> Tensor:
    """p ** exponent, normalised, of probabilities (N, C)."""
    return (probabilities.clamp_min(FLOOR).log() * exponent).softmax(1)


def fit_exponent(probabilities: Tensor, labels: Tensor, spread: float = math.inf) -> float:
    """The most likely exponent for held-out probabilities (S, C) with labels (S,); 1 / temperature of the logits.

    Its logarithm is expected to be 0 with the deviation ``spread``: few labels leave the probabilities nearly as they are.
    """
    log_p = probabilities.double().clamp_min(FLOOR).log()
    exponents = torch.logspace(math.log10(0.05), math.log10(20), 241, dtype=torch.float64)
    losses = torch.stack([torch.nn.functional.cross_entropy(log_p * a, labels, reduction="sum") for a in exponents])
    return float(exponents[int((losses + (exponents.log() / spread) ** 2 / 2).argmin())])


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


def fit_threshold(pool: Tensor, held_out: Tensor, correct: Tensor, accuracy: float) -> float:
    """The smallest probability at and above which predictions reach ``accuracy``; 1 where none does.

    Precision above a probability is estimated from two sides: the calibrated confidence of images of the pool (N,), which
    counts as ``WORTH`` labels, and the confidence of held-out labels (S,) with whether they were ``correct`` (S,) bool. So few
    labels leave the probabilities at their word, and many take over.
    """
    pool, order = pool.sort(descending=True).values.double(), held_out.argsort(descending=True)
    believed = pool.cumsum(0) / torch.arange(1, len(pool) + 1)  # (N,) mean confidence at and above each
    kept = torch.searchsorted(-held_out[order].double(), -pool, right=True)  # (N,) held-out labels at and above each
    right = torch.cat([torch.zeros(1), correct[order].double().cumsum(0)])[kept]  # (N,)
    good = ((right + WORTH * believed) / (kept + WORTH) >= accuracy).nonzero().flatten()
    return float(pool[good[-1]]) if len(good) else 1.0
