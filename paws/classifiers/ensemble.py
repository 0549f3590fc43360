"""PAWS as an ensemble: heads of different seeds, each of which was not shown one fold of the labels.

So one training gives both the classifier and its cross-validation: a labelled image is judged by the heads that did not see
its label, while the classifier votes with all heads over all labelled images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from paws.classifiers import compare
from paws.classifiers.calibration import SPREAD, calibrated, fit_exponent_to_confidence
from paws.classifiers.compare import SpreadGraph
from paws.classifiers.heads import HeadSettings, train_head
from paws.classifiers.problem import Problem
from paws.classifiers.rules import SoftVote
from paws.seeds import generator

SAMPLE = 2000  # images on which views and heads are compared


@dataclass(frozen=True)
class Member:
    """A trained head, the fold whose labels it has not seen (None: it has seen all), and how far its views agree."""

    head: nn.Module
    settings: HeadSettings
    left_out: int | None
    agreement: float


def train_members(
    problem: Problem,
    settings: HeadSettings,
    *,
    fill: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str = "cpu",
    tell: Callable[[float], None] = lambda share: None,
    curves: list[dict[str, Any]] | None = None,
) -> list[Member]:
    """Train the heads in turn, the folds left out going round.

    ``fill`` adds guessed labels to those (N,) that a head may see, for its supports; ``curves`` collects the metrics rows.
    """
    members: list[Member] = []
    count = head_count(problem, settings)
    for i in range(count):
        left_out = i % problem.fold_count if problem.fold_count else None

        def listen(row: dict[str, Any], i: int = i) -> None:
            if curves is not None:
                curves.append({"head": i, **row})
            tell((i + row["step"] / settings.steps) / count)

        known = problem.known(left_out)
        head = train_head(
            problem.projected,
            known if fill is None else fill(known),
            len(problem.classes),
            settings,
            seed=problem.seed * 1000 + i,
            prior=problem.prior,
            device=device,
            listener=listen,
        ).cpu()
        members.append(Member(head, settings, left_out, agreement(view_votes(problem, [head], settings)[0])))
    return members


def vote_of(problem: Problem, heads: Sequence[nn.Module], settings: HeadSettings) -> SoftVote:
    """The averaged vote of the heads."""
    return SoftVote(list(heads), settings.temperature, problem.space.projection())


def held_out(problem: Problem, members: Sequence[Member]) -> Tensor:
    """(S, C) vote on each labelled image by the members that left it out, over the others' labels; 0 where none did."""
    found = torch.zeros(len(problem.truth), len(problem.classes))
    for fold in range(problem.fold_count):
        blind = [member for member in members if member.left_out == fold]
        if blind:
            out, votes = problem.asked(vote_of(problem, [m.head for m in blind], blind[0].settings), fold)
            found[out] = votes
    return found


def head_count(problem: Problem, settings: HeadSettings) -> int:
    """Heads to train: as many for every fold, and no fewer than asked for; twice as many where half of them are dropped."""
    if not problem.fold_count:
        return 2 * settings.heads
    return -(-settings.heads // problem.fold_count) * problem.fold_count


@torch.inference_mode()
def view_votes(problem: Problem, heads: Sequence[nn.Module], settings: HeadSettings) -> Tensor:
    """(E, 2, n, C) votes of each head on the plain and on one augmented view of a sample of the images.

    Twice the plain view where there is no other.
    """
    chosen = torch.randperm(len(problem.labels), generator=generator(problem.seed, "agreement"))[:SAMPLE]
    views = problem.projected[chosen][:, [0, min(1, problem.projected.shape[1] - 1)]].float()  # (n, 2, P)
    votes = [SoftVote([head], settings.temperature)(views.flatten(0, 1), *_given(problem))[0] for head in heads]
    return torch.stack([vote.unflatten(0, (-1, 2)).transpose(0, 1) for vote in votes])


def _given(problem: Problem) -> tuple[Tensor, Tensor]:
    """Components (S, P) of the labelled images and their one-hot labels (S, C)."""
    return problem.projected[problem.labelled, 0].float(), one_hot(problem.truth, len(problem.classes)).float()


def agreement(votes: Tensor) -> float:
    """Share of images whose plain and augmented view get the same class by the votes (2, n, C)."""
    plain, augmented = votes.argmax(2)
    return float((plain == augmented).double().mean())


def exponent(problem: Problem, members: Sequence[Member], held_out: Tensor, graph: SpreadGraph) -> float:
    """The exponent that calibrates the members' averaged vote.

    With held-out labels: the exponent that suits the votes (S, C) of those that had not seen them gives the confidence these
    deserve on the pool. The average over all members is softer, and is brought to that, and to what it gains by naming other
    classes than they do where they differ. Without: to what single images of the classes that it names tell of them.
    """
    heads, settings = [member.head for member in members], members[0].settings
    votes = view_votes(problem, heads, settings)  # (E, 2, n, C)
    every = votes[:, 0].mean(0)  # (n, C)
    if len(problem.held):
        single = compare.exponent(problem, held_out, SPREAD)
        groups = [torch.tensor([m.left_out == fold for m in members]) for fold in range(problem.fold_count)]
        blind = torch.stack([votes[group, 0].mean(0) for group in groups])  # (F, n, C)
        deserved = float(calibrated(blind.flatten(0, 1), single).amax(1).mean())
        together = calibrated(every, fit_exponent_to_confidence(every, deserved))  # (n, C)
        theirs = together.gather(1, blind.argmax(2).T)  # (n, F) of the classes that the blind ones name
        confidence = 2 * deserved - float(theirs.mean())
    else:
        guess = SoftVote(heads, settings.temperature)(graph.bank, *_given(problem))[0].argmax(1)  # (M,)
        confidence = graph.recovery(guess, len(problem.classes))
    return fit_exponent_to_confidence(every, confidence)
