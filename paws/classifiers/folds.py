"""Which labelled images a model is not shown, so that it can be asked about them."""

from __future__ import annotations

import torch
from torch import Tensor

from paws.seeds import generator


def folds(labels: Tensor, count: int, seed: int) -> Tensor:
    """Fold (S,) int64 in [0, count) of each labelled image (S,): each class is spread evenly over the folds.

    The only image of a class is in no fold (-1): every model has to see it.
    """
    fold = torch.full_like(labels, -1)
    for c in labels.unique().tolist():
        rows = (labels == c).nonzero().flatten()
        if len(rows) > 1:
            draws = generator(seed, "folds", c)
            first = int(torch.randint(count, (1,), generator=draws))
            fold[rows[torch.randperm(len(rows), generator=draws)]] = (torch.arange(len(rows)) + first) % count
    return fold


def fold_count(labels: Tensor, most: int = 5) -> int:
    """Folds that suit the labels: as many as the largest class has images, between 2 and ``most``; 0 if all are single."""
    largest = int(torch.bincount(labels).max())
    return 0 if largest < 2 else min(most, largest)
