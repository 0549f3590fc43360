"""Sets of classes: the quantile by hand, coverage on made-up predictions, uneven pools, and too few labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paws.classifiers.conformal import set_threshold

EVEN = torch.full((4,), 0.25)


def predictions(count: int, seed: int, frequencies: Tensor = EVEN, *, each: int | None = None) -> tuple[Tensor, Tensor]:
    """Probabilities (N, 4), vaguer for later classes, and labels (N,): by frequency, or ``each`` a class."""
    generator = torch.Generator().manual_seed(seed)
    if each is None:
        labels = torch.multinomial(frequencies, count, replacement=True, generator=generator)
    else:
        labels = torch.arange(4).repeat(each)
    noise = torch.randn(len(labels), 4, generator=generator)
    sharp = 4.0 / (1 + labels.float())[:, None]
    return (sharp * torch.eye(4)[labels] + noise).softmax(1), labels


def coverage(threshold: float, probabilities: Tensor, labels: Tensor) -> float:
    return float((probabilities.gather(1, labels[:, None]) >= threshold).float().mean())


def test_the_threshold_is_the_quantile_of_the_labels_own_probabilities() -> None:
    own = torch.tensor([0.9, 0.2, 0.7, 0.5, 0.4, 0.8, 0.6, 0.3, 0.95])
    probabilities = torch.stack([own, 1 - own], 1)
    labels = torch.zeros(9, dtype=torch.int64)
    frequencies = torch.tensor([1.0, 0.0])
    # nine labels and the image in question: 8 of 10 for 0.8, which leaves the lowest one out
    assert set_threshold(probabilities, labels, frequencies, 0.8) == pytest.approx(0.3)
    assert set_threshold(probabilities, labels, frequencies, 0.9) == pytest.approx(0.2)
    assert set_threshold(probabilities, labels, frequencies, 0.95) == 0.0, "too few labels for that"
    assert set_threshold(probabilities[:0], labels[:0], frequencies, 0.5) == 0.0


def test_sets_hold_the_true_class_as_often_as_asked() -> None:
    found = []
    for seed in range(60):
        threshold = set_threshold(*predictions(100, seed), EVEN, 0.9)
        found.append(coverage(threshold, *predictions(2000, 1000 + seed)))
    assert 0.895 < sum(found) / len(found) < 0.93


def test_evenly_drawn_labels_are_weighed_as_the_pool_is_made_up() -> None:
    uneven = torch.tensor([0.05, 0.05, 0.1, 0.8])  # most images are of the vaguest class
    weighed, alike = [], []
    for seed in range(60):
        labelled = predictions(0, seed, each=40)
        pool = predictions(2000, 1000 + seed, uneven)
        weighed.append(coverage(set_threshold(*labelled, uneven, 0.9), *pool))
        alike.append(coverage(set_threshold(*labelled, EVEN, 0.9), *pool))
    assert 0.895 < sum(weighed) / 60 < 0.94
    assert sum(alike) / 60 < 0.88, "without the weights too few"
