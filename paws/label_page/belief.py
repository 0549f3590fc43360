"""What is believed of every picture at one moment: what was learned last, and the votes of now for what came since.

Letters: N pictures, C classes, S labelled pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.calibration import NEVER, confident_threshold
from paws.classifiers.logistic_regression import LogisticRegression
from paws.label_page.session import Picture
from paws.label_page.votes import Votes
from paws.seeds import generator

SCALE, PENALTY = 8.0, 50.0  # of unit vectors, and the inverse strength of the penalty, for logistic regression on all labels
AT_ONCE = 1000  # labels that it is fitted to, at most, as somebody waits
CHUNK = 4096  # pictures at a time
FLOOR = -14.0  # log-probability


@dataclass(frozen=True)
class Belief:
    """What is believed of N pictures at a ``revision``; probabilities of labelled ones have no meaning."""

    revision: int
    classes: tuple[str, ...]
    probabilities: Tensor  # (N, C) calibrated
    ready: Tensor  # (N,) bool: embedded, so that anything can be said
    threshold: float = NEVER  # probability from which on it is sure enough
    held_out: dict[int, tuple[str, float]] | None = None  # row of a labelled picture -> class and probability without its label
    voted: Tensor | None = None  # (N, C) what the votes say alone, where something else was learned

    def guesses(self) -> dict[int, tuple[str, float]]:
        """Most probable class and its probability, of each row that anything can be said of."""
        if len(self.classes) < 2:
            return {}
        top = self.probabilities.max(1)
        found = zip(top.values.tolist(), top.indices.tolist(), self.ready.tolist(), strict=True)
        return {row: (self.classes[c], p) for row, (p, c, ready) in enumerate(found) if ready}


@dataclass(frozen=True)
class Trained:
    """What the background process has learned from so many ``labels``: the classifier that a fit would make of them."""

    labels: int
    classes: tuple[str, ...]
    probabilities: Tensor  # (N, C)
    rows: Sequence[int]  # (S) labelled pictures whose label was held out
    held_out: Tensor  # (S, C)


def believe(
    votes: Votes, trained: Trained | None, revision: int, classes: tuple[str, ...], pictures: Sequence[Picture], accuracy: float
) -> Belief:
    """Bring the votes up to the labels of ``pictures`` (N), and mix them with what was ``trained``, where there is something.

    What was learned from all labels is believed alone; the more of them came since, the more the votes count. A class that a
    picture is known not to be of has no probability. ``accuracy`` is what guesses above the threshold should reach.
    """
    ids = {name: c for c, name in enumerate(classes)}
    labels = {row: picture.label for row, picture in enumerate(pictures) if picture.label is not None}
    votes.set_labels({row: ids[name] for row, name in labels.items()}, len(classes))
    found, rows, held = votes.probabilities()
    told, voted = {row: (classes[c], p) for row, c, p in _tops(rows.tolist(), held)}, None
    if trained is not None and all(name in ids for name in trained.classes):
        share = min(1.0, trained.labels / max(1, len(labels)))
        voted, own = found, torch.zeros_like(found)
        own[:, [ids[name] for name in trained.classes]] = trained.probabilities
        found = torch.where(own.sum(1, keepdim=True) > 0, (1 - share) * found + share * own, found)
        told |= {row: (trained.classes[c], p) for row, c, p in _tops(trained.rows, trained.held_out) if row in labels}
    for row, picture in enumerate(pictures):
        if picture.excluded:
            found[row, [ids[name] for name in picture.excluded if name in ids]] = 0
            found[row] /= found[row].sum().clamp_min(1e-9)
    counts = votes.counts
    judged = len(counts) > 1 and bool((counts[counts > 0] > 1).all())  # as in a fit, nothing is sure before
    threshold = confident_threshold(found[votes.ready].amax(1), accuracy) if judged else NEVER
    return Belief(revision, classes, found, votes.ready.clone(), threshold, told, voted)


def up_to_date(belief: Belief, votes: Votes, pictures: Sequence[Picture]) -> Belief:
    """The ``belief`` as the labels of ``pictures`` (N) change it at once: what is guessed next to each other, not how surely.

    The geometric mean of the votes and of logistic regression, in half-whitened components, on the labels of now, or `AT_ONCE`
    random ones. What was learned in the background is not in it: with it, more guesses are wrong (docs/label.md).
    """
    ids = {name: c for c, name in enumerate(belief.classes)}
    rows = [row for row, picture in enumerate(pictures) if picture.label in ids and bool(votes.ready[row])]
    rows = [rows[i] for i in torch.randperm(len(rows), generator=generator(0, "labels at once", len(rows)))[:AT_ONCE].tolist()]
    labels = torch.tensor([ids[str(pictures[row].label)] for row in rows], dtype=torch.int64)
    if len(labels.unique()) < 2:
        return belief

    def points(rows: Sequence[int] | slice) -> Tensor:  # (M, P)
        return SCALE * normalize(votes.half_whitened(rows), dim=1)

    fitted = LogisticRegression.of(points(rows), labels, len(ids), PENALTY)
    with torch.inference_mode():
        starts = range(0, len(votes.z), CHUNK)
        said = torch.cat([fitted.linear(points(slice(start, start + CHUNK))) for start in starts])  # (N, C)
        voted = belief.probabilities if belief.voted is None else belief.voted
        found = said.log_softmax(1).clamp_min(FLOOR) + voted.log().clamp_min(FLOOR)
    return replace(belief, probabilities=(found / 2).softmax(1))


def _tops(rows: Sequence[int], probabilities: Tensor) -> list[tuple[int, int, float]]:
    """Row, most probable class and its probability."""
    if not len(rows) or not probabilities.shape[1]:
        return []
    top = probabilities.max(1)
    return list(zip(rows, top.indices.tolist(), top.values.tolist(), strict=True))
