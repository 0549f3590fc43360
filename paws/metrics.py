"""What is measured of predictions: accuracy, its interval, and calibration. One computation of each, used everywhere.

Letters: Q predictions, C classes. Shares are in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NORMAL_95 = 1.959963984540054  # deviations within which 95 % of a normal distribution lie
BINS = 15  # of confidence, of equal width, as in arXiv 1706.04599


def accuracy(probabilities: Tensor, labels: Tensor, k: int = 1) -> float:
    """Share of rows (Q, C), probabilities or logits, whose label (Q,) is among the ``k`` most probable classes."""
    return _hits(probabilities, labels, k).double().mean().item()


def figures(probabilities: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """What is reported of predictions (Q, C), probabilities or logits, of labels (Q,).

    ``top1``, ``top5``, ``per_class`` (top-1 by class name, of the classes that occur) and the number ``test_images``.
    """
    hits = _hits(probabilities, labels).double()
    counts = torch.bincount(labels, minlength=len(classes))  # (C,)
    shares = (torch.bincount(labels, hits, minlength=len(classes)) / counts).tolist()  # (C,)
    return {
        "top1": accuracy(probabilities, labels),
        "top5": accuracy(probabilities, labels, 5),
        "per_class": {name: share for name, share, count in zip(classes, shares, counts.tolist(), strict=True) if count},
        "test_images": len(labels),
    }


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share that was measured as ``right`` out of ``of`` (Wilson 1927); (0, 1) out of none."""
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, NORMAL_95**2 / of
    middle, half = share + z2 / 2, math.sqrt(z2 * (share * (1 - share) + z2 / 4))
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence is in [low, high): how many, their mean confidence, and the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(confidence: Tensor, correct: Tensor, bins: int = BINS) -> list[Bin]:
    """The bins, of equal width, that hold any prediction.

    Args:
        confidence: (Q,) probability of the predicted class.
        correct: (Q,) bool, whether it is the label.
    """
    confidence, correct = confidence.double(), correct.double()
    index = (confidence * bins).long().clamp_max(bins - 1)  # (Q,)
    count, said, right = (torch.bincount(index, weight, bins).tolist() for weight in (None, confidence, correct))
    return [Bin(b / bins, (b + 1) / bins, count[b], said[b] / count[b], right[b] / count[b]) for b in range(bins) if count[b]]


def calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Expected calibration error of Q predictions as in `reliability` (arXiv 1706.04599, eq. 5); nan of none."""
    found = reliability(confidence, correct, bins)
    return sum(b.count * abs(b.confidence - b.accuracy) for b in found) / len(correct) if found else float("nan")


def _hits(probabilities: Tensor, labels: Tensor, k: int = 1) -> Tensor:
    k = min(k, probabilities.shape[1])
    return (probabilities.topk(k, dim=1).indices == labels[:, None]).any(1)  # (Q,)
