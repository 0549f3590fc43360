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

from paws.fit.head import HeadSettings, train_head
from paws.fit.problem import Problem
from paws.rules import SoftVote
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
    count: int,
    *,
    device: torch.device | str = "cpu",
    tell: Callable[[float], None] = lambda share: None,
    curves: list[dict[str, Any]] | None = None,
) -> list[Member]:
    """Train ``count`` heads in turn, the folds left out going round; ``curves`` collects their metrics rows."""
    members = []
    for i in range(count):
        left_out = i % problem.fold_count if problem.fold_count else None

        def listen(row: dict[str, Any], i: int = i) -> None:
            if curves is not None:
                curves.append({"head": i, **row})
            tell((i + row["step"] / settings.steps) / count)

        head = train_head(
            problem.projected,
            problem.known(left_out),
            len(problem.classes),
            settings,
            seed=problem.seed * 1000 + i,
            prior=problem.prior,
            device=device,
            listener=listen,
        ).cpu()
        members.append(Member(head, settings, left_out, agreement(problem, vote_of(problem, [head], settings))))
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


@torch.inference_mode()
def view_votes(problem: Problem, vote: SoftVote) -> Tensor:
    """(2, n, C) votes on the plain and on one augmented view of a sample of the images; twice the plain one if it is alone."""
    chosen = torch.randperm(len(problem.labels), generator=generator(problem.seed, "agreement"))[:SAMPLE]
    views = problem.projected[chosen][:, [0, min(1, problem.projected.shape[1] - 1)]].float()  # (n, 2, P)
    support = problem.projected[problem.labelled, 0].float()  # (S, P)
    labels = one_hot(problem.truth, len(problem.classes)).float()
    inner = SoftVote(list(vote.heads), vote.temperature)  # the views are projected already
    return torch.stack([inner(views[:, i], support, labels)[0] for i in range(2)])


def agreement(problem: Problem, vote: SoftVote) -> float:
    """Share of images whose plain and augmented view get the same class."""
    plain, augmented = view_votes(problem, vote).argmax(2)
    return float((plain == augmented).double().mean())


def confirmation(problem: Problem, vote: SoftVote) -> tuple[Tensor, float]:
    """What stands in for held-out labels: votes (n, C) on plain views, and how often one head confirms another.

    The latter is the share of pairs of heads and images for which a head gives to the augmented view the class that another
    head gives to the plain one.
    """
    votes = torch.stack([view_votes(problem, SoftVote([head], vote.temperature)) for head in vote.heads])  # (E, 2, n, C)
    plain, augmented = votes.argmax(3).unbind(1)  # (E, n)
    same = (plain[:, None] == augmented[None]).double().mean(2)  # (E, E)
    apart = ~torch.eye(len(same), dtype=torch.bool)
    return votes[:, 0].mean(0), float(same[apart].mean() if len(same) > 1 else same.mean())
