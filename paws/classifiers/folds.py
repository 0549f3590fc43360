"""Which labelled images a model is not shown, so that it can be asked about them."""

from __future__ import annotations

import torch
from torch import Tensor

from paws.seeds import generator


def folds(labels: Tensor, count: int, seed: int, groups: Tensor | None = None) -> Tensor:
    """Fold (S,) int64 in [0, count) of each labelled image (S,): each class is spread evenly over the folds.

    ``groups`` (S,): images with the same number, such as copies of one file, are in the same fold, as a model that has seen
    one of them knows the others. The only group of a class is in no fold (-1): every model has to see it.
    """
    groups = torch.arange(len(labels)) if groups is None else groups
    fold = torch.full_like(labels, -1)
    placed: dict[int, int] = {}  # fold of each group, also where its copies have labels of several classes
    for c in labels.unique().tolist():
        rows = (labels == c).nonzero().flatten()
        units = list(dict.fromkeys(groups[rows].tolist()))
        if len(units) > 1:
            draws = generator(seed, "folds", c)
            first = int(torch.randint(count, (1,), generator=draws))
            for place, unit in enumerate(torch.randperm(len(units), generator=draws).tolist()):
                placed.setdefault(units[unit], (place + first) % count)
            fold[rows] = torch.tensor([placed[group] for group in groups[rows].tolist()])
    return fold


def fold_count(labels: Tensor, most: int = 5, groups: Tensor | None = None) -> int:
    """Folds that suit the labels (S,): as many as the class with most ``groups`` has of them; 0 where none has two.

    There are between 2 and ``most``. Without ``groups`` every image is one of its own.
    """
    groups = torch.arange(len(labels)) if groups is None else groups
    pairs = torch.stack([labels, groups], 1).unique(dim=0)  # (class, group), each once
    largest = int(torch.bincount(pairs[:, 0]).max())
    return 0 if largest < 2 else min(most, largest)
