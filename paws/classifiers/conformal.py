"""Sets of classes that hold the true one with a given probability, by split conformal prediction on held-out labels."""

from __future__ import annotations

import torch
from torch import Tensor


def set_threshold(probabilities: Tensor, labels: Tensor, frequencies: Tensor, accuracy: float) -> float:
    """The probability t for which {classes of probability >= t} holds the class of an image with probability ``accuracy``.

    The score of a label is the probability of its class (Sadinle, Lei and Wasserman 2019). Labels that were drawn otherwise
    than the pool is made up are weighed by how often their class occurs there (label shift: Podkopaev and Ramdas 2021). Each
    image is predicted by a model that has not seen its label (cross-conformal prediction: Vovk 2015), so that the promise is
    that of practice, to within a few percent, rather than a theorem.

    Args:
        probabilities: (S, C) of labelled images, held out.
        labels: (S,) int64, their classes.
        frequencies: (C,) of the classes in the pool.
        accuracy: in (0, 1).

    Returns:
        t in [0, 1]; 0, all classes, where the labels are too few to promise less: 19 evenly drawn ones for 0.95.
    """
    if not len(labels):
        return 0.0
    weights = frequencies.double()[labels] / torch.bincount(labels, minlength=len(frequencies))[labels]
    own, order = probabilities.gather(1, labels[:, None]).flatten().sort(descending=True)
    held = weights[order].cumsum(0) / (weights.sum() + weights.max())  # the image in question weighs as much as the heaviest
    enough = (held >= accuracy).nonzero().flatten()
    return float(own[enough[0]]) if len(enough) else 0.0
