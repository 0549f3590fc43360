"""What is believed of every picture at one moment: the votes of now, mixed with what was trained last.

Letters: N pictures, C classes, S labelled pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paws.classifiers.calibration import fit_threshold
from paws.label_page.session import Picture
from paws.label_page.votes import Votes

HEADS = 0.8  # share of the heads in what is believed, the votes have the rest
SAMPLE = 5000  # pictures whose confidence the threshold is read off


@dataclass(frozen=True)
class Belief:
    """What is believed of N pictures at a ``revision``; probabilities of labelled ones have no meaning."""

    revision: int
    classes: tuple[str, ...]
    probabilities: Tensor  # (N, C) calibrated
    ready: Tensor  # (N,) bool: embedded, so that anything can be said
    threshold: float = 1.0  # probability from which on it is sure enough
    held_out: dict[int, tuple[str, float]] | None = None  # row of a labelled picture -> class and probability without its label


@dataclass(frozen=True)
class Trained:
    """Heads of the background process, fitted to so many ``labels``."""

    labels: int
    classes: tuple[str, ...]
    probabilities: Tensor  # (N, C)
    rows: Sequence[int]  # (S) labelled pictures whose label was held out
    held_out: Tensor  # (S, C)


def believe(
    votes: Votes, trained: Trained | None, revision: int, classes: tuple[str, ...], pictures: Sequence[Picture], accuracy: float
) -> Belief:
    """Bring the votes up to the labels of ``pictures`` (N), and mix them with heads where there are any.

    Heads count for less, the fewer of the labels of now they have seen. A class that a picture is known not to be of has no
    probability. ``accuracy`` is what guesses above the threshold should reach.
    """
    ids = {name: c for c, name in enumerate(classes)}
    labels = {row: picture.label for row, picture in enumerate(pictures) if picture.label is not None}
    votes.set_labels({row: ids[name] for row, name in labels.items()}, len(classes))
    found, rows, held = votes.probabilities()
    told = {row: (classes[c], p) for row, c, p in _tops(rows.tolist(), held)}
    if trained is not None and all(name in ids for name in trained.classes):
        share = HEADS * min(1.0, trained.labels / max(1, len(labels)))
        own = torch.zeros_like(found)
        own[:, [ids[name] for name in trained.classes]] = trained.probabilities
        found = torch.where(own.sum(1, keepdim=True) > 0, (1 - share) * found + share * own, found)
        told |= {row: (trained.classes[c], p) for row, c, p in _tops(trained.rows, trained.held_out) if row in labels}
    for row, picture in enumerate(pictures):
        if picture.excluded:
            found[row, [ids[name] for name in picture.excluded if name in ids]] = 0
            found[row] /= found[row].sum().clamp_min(1e-9)
    threshold = _threshold(found[votes.ready], told, labels, accuracy)
    return Belief(revision, classes, found, votes.ready.clone(), threshold, told)


def _threshold(pool: Tensor, told: dict[int, tuple[str, float]], labels: dict[int, str], accuracy: float) -> float:
    """The probability that reaches ``accuracy``, by those of some of the pool (N, C) and by held-out labels."""
    if not len(pool) or pool.shape[1] < 2:
        return 1.0
    some = pool[torch.linspace(0, len(pool) - 1, min(SAMPLE, len(pool))).long()].amax(1)
    judged = [(p, name == labels[row]) for row, (name, p) in told.items() if row in labels]
    confidence = torch.tensor([p for p, _ in judged])
    right = torch.tensor([good for _, good in judged], dtype=torch.bool)
    return fit_threshold(some, confidence, right, accuracy)


def _tops(rows: Sequence[int], probabilities: Tensor) -> list[tuple[int, int, float]]:
    """Row, most probable class and its probability."""
    if not len(rows) or not probabilities.shape[1]:
        return []
    top = probabilities.max(1)
    return list(zip(rows, top.indices.tolist(), top.values.tolist(), strict=True))
