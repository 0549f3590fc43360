"""Which pictures to show next, and which to confirm together."""

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
MEASURED = 8  # every so many pictures one is drawn at random, to measure by
ENOUGH = 6  # pictures from which on a group is worth a look
MIXED = 0.4  # share of a group that may be wrong where no class has sure ones


@dataclass(frozen=True)
class Pick:
    """A picture to show, why, and how a label that it gets came about: "chosen" or "random"."""

    row: int
    reason: str
    how: str


@dataclass(frozen=True)
class Group:
    """Pictures to look through together, each with what it is taken for."""

    label: str  # of all of them, "" where each has its own
    rows: tuple[int, ...]
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    sure: bool  # confirmed unseen, they would reach the accuracy that was asked for
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


def group(
    belief: Belief,
    pictures: Sequence[Picture],
    accuracy: float,
    size: int,
    wanted: str | None = None,
    unreadable: Set[int] = frozenset(),
) -> Group | None:
    """Up to ``size`` pictures to confirm as one class, ``wanted`` or the one that suits most; None where no class has enough.

    By rising risk: as many as can be confirmed unseen while the expected share of right ones stays at ``accuracy``. Where no
    class has enough of them, pictures that are less sure.
    """
    ready = belief.ready.tolist()
    open_rows = [row for row, p in enumerate(pictures) if p.open and row not in unreadable and ready[row]]
    if belief.probabilities.shape[1] < 2 or not open_rows:
        return None
    rows = torch.tensor(open_rows)
    confidence, guess = belief.probabilities[rows].max(1)
    least = 1 if wanted else ENOUGH
    found: list[Group] = []
    for c, name in enumerate(belief.classes):
        mine = (guess == c).nonzero().flatten()
        if not len(mine) or wanted not in (None, name):
            continue
        ordered = mine[confidence[mine].argsort(descending=True, stable=True)]  # surest first
        sure = _sure(ordered[:size], confidence, 1 - accuracy)
        kept = sure if len(sure) >= least else _sure(ordered[:size], confidence, MIXED)
        kept = ordered[:size] if wanted and not len(kept) else kept
        if len(kept) >= least:
            labels, sure_enough = (name,) * len(kept), len(sure) >= least
            found.append(
                Group(name, tuple(rows[kept].tolist()), labels, tuple(confidence[kept].tolist()), sure_enough, len(mine))
            )
    return max(found, key=lambda each: (each.sure, len(each.rows) - each.expected_wrong), default=None)


def telling(
    belief: Belief,
    pictures: Sequence[Picture],
    embedding: Callable[[Tensor], Tensor],
    order: Sequence[int],
    size: int,
    wanted: str | None = None,
    unreadable: Set[int] = frozenset(),
) -> Group | None:
    """Up to ``size`` pictures that teach most, each with its guess, those of one guess together; None where nothing is guessed.

    They are chosen as those that are shown one by one: typical of many that are unsure, and unlike each other. ``wanted``:
    among the pictures that look like one class.
    """
    if belief.probabilities.shape[1] < 2:
        return None
    known, confidence, guess = belief.ready.tolist(), *(part.tolist() for part in belief.probabilities.max(1))
    ready = [row for row in order if pictures[row].open and not pictures[row].excluded and known[row] and row not in unreadable]
    ready = [row for row in ready if wanted in (None, belief.classes[guess[row]])]
    if not ready:
        return None
    rows = sorted(
        (row for row, _ in _chosen(belief, pictures, embedding, ready, size)), key=lambda row: (guess[row], -confidence[row])
    )
    labels = tuple(belief.classes[guess[row]] for row in rows)
    return Group(wanted or "", tuple(rows), labels, tuple(confidence[row] for row in rows), False, len(ready))


def _sure(ordered: Tensor, confidence: Tensor, bound: float) -> Tensor:
    """As many of the first of ``ordered`` rows as keep their mean risk within ``bound``."""
    risk = (1 - confidence[ordered].double()).cumsum(0) / torch.arange(1, len(ordered) + 1)
    return ordered[: int((risk <= bound).sum())]
