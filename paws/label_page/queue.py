"""Which pictures to show next, and which to confirm in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import torch
from torch import Tensor

from paws.label_page.belief import Belief
from paws.label_page.session import Picture
from paws.labels.suggest import choose
from paws.seeds import generator

AHEAD = 12  # pictures chosen at a time
POOL = 3000  # pictures, drawn at random, that are chosen from
SLOPE, SHIFT = 0.7, -0.3  # of the log-odds of guesses that were not taken before, which are right less often than they say
MEASURED = 8  # every so many pictures one is drawn at random, to measure by


@dataclass(frozen=True)
class Pick:
    """A picture to show, why, and how a label that it gets came about: "chosen" or "random"."""

    row: int
    reason: str
    how: str


@dataclass(frozen=True)
class Sheet:
    """Pictures to read in order, each with what it is taken for, the surest first."""

    rows: tuple[int, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    sure: int  # so many of the first, confirmed unseen, would reach the accuracy that was asked for
    waiting: int  # pictures like these, these and others

    @property
    def expected_wrong(self) -> float:
        """How many are expected to be of another class than they are taken for."""
        return sum(1 - p for p in self.probabilities)


def random_order(count: int) -> list[int]:
    """All rows in a random order, the same at every start."""
    return torch.randperm(count, generator=generator(0, "label order", count)).tolist()


def next_pictures(
    belief: Belief,
    pictures: Sequence[Picture],
    embedding: Callable[[Tensor], Tensor],
    order: Sequence[int],
    unreadable: Set[int],
) -> list[Pick]:
    """The pictures to show next: rejected ones, then typical and uncertain ones, every eighth at random; skipped ones last."""
    known = belief.ready.tolist()
    free = [row for row in order if pictures[row].open and row not in unreadable]
    fresh = [row for row in free if not pictures[row].skipped]
    rejected = [row for row in fresh if pictures[row].excluded]
    ready = [row for row in fresh if known[row] and not pictures[row].excluded]
    picks = [Pick(row, "not what it was taken for", "chosen") for row in rejected[:AHEAD]]
    if len(ready) > 1 and len(picks) < AHEAD:
        found = _chosen(belief, pictures, embedding, ready, AHEAD)
        picks += [Pick(row, _without_guess(reason), "chosen") for row, reason in found]
    given = sum(picture.how in ("chosen", "random") for picture in pictures)
    if len(ready) > AHEAD and belief.probabilities.shape[1] > 1:
        places = [i for i in range(len(rejected[:AHEAD]), len(picks)) if (given + i) % MEASURED == MEASURED - 1]
        for place, row in zip(places, ready, strict=False):  # which stand in a random order
            picks[place] = Pick(row, "drawn at random, to measure by", "random")
    shown = {pick.row for pick in picks}
    rest = [row for row in fresh if row not in shown]
    later = sorted((row for row in free if pictures[row].skipped), key=lambda row: pictures[row].skipped)
    picks += [Pick(row, "the next one", "chosen") for row in rest[: max(0, AHEAD - len(picks))]]
    picks += [Pick(row, "skipped before", "chosen") for row in later[: max(0, AHEAD - len(picks))]]
    return list({pick.row: pick for pick in picks}.values())[:AHEAD]


def _chosen(
    belief: Belief, pictures: Sequence[Picture], embedding: Callable[[Tensor], Tensor], ready: Sequence[int], count: int
) -> list[tuple[int, str]]:
    """Rows, and why, by `paws.labels.suggest.choose` among a random part of the pictures."""
    labelled = [row for row, picture in enumerate(pictures) if not picture.open and bool(belief.ready[row])]
    rows = torch.tensor([*labelled[-POOL:], *ready[:POOL]])
    known = range(len(rows) - len(ready[:POOL]))
    several = belief.probabilities.shape[1] > 1 and len(known) > 0
    count = min(count, len(ready[:POOL]))
    found = choose(embedding(rows), count, belief.probabilities[rows] if several else None, known, belief.classes)
    return [(int(rows[pick.row]), pick.reason) for pick in found]


def _without_guess(reason: str) -> str:
    """What a picture stands for, without what it is taken for: whether that is shown is for the person to say."""
    return reason.rpartition("; ")[2]


def sheet(
    belief: Belief,
    pictures: Sequence[Picture],
    accuracy: float,
    size: int,
    wanted: str | None = None,
    unreadable: Set[int] = frozenset(),
) -> Sheet | None:
    """Up to ``size`` pictures to read in order, the surest first, each with its guess; None where nothing is guessed.

    How sure they are was fitted to sheets of tuning folders: what is left when the surest were taken is harder than it looks.

    ``wanted``: among the pictures that look like one class. Those that were marked as wrong come one by one instead.
    """
    ready = belief.ready.tolist()
    rows = [row for row, p in enumerate(pictures) if p.open and not p.excluded and ready[row] and row not in unreadable]
    if belief.probabilities.shape[1] < 2 or not rows:
        return None
    confidence, guess = belief.probabilities[rows].max(1)
    asked = [c for c, name in enumerate(belief.classes) if wanted in (None, name)]
    mine = torch.isin(guess, torch.tensor(asked, dtype=torch.int64)).nonzero().flatten()
    if not len(mine):
        return None
    best = mine[confidence[mine].argsort(descending=True, stable=True)[:size]]
    chances = (SLOPE * confidence[best].logit(1e-6) + SHIFT).sigmoid()
    return Sheet(
        tuple(rows[i] for i in best.tolist()),
        tuple(belief.classes[c] for c in guess[best].tolist()),
        tuple(chances.tolist()),
        _sure(chances, 1 - accuracy),
        len(mine),
    )


def _sure(confidence: Tensor, bound: float) -> int:
    """How many of the first keep their mean risk within ``bound``."""
    risk = (1 - confidence.double()).cumsum(0) / torch.arange(1, len(confidence) + 1)
    return int((risk <= bound).sum())
