"""What is to be fitted: cached views, the labels that are known, and what may be seen of them when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from paws.classifiers.folds import fold_count, folds
from paws.classifiers.prior import class_prior
from paws.classifiers.rules import Rule
from paws.classifiers.space import Space, Views, fit_space, rows
from paws.errors import InputError


@dataclass(frozen=True)
class Problem:
    """N images in V cached views of D features, S of them labelled with one of C classes; built by `problem_of`."""

    views: Views  # (N, V, D)
    labels: Tensor  # (N,) int64, -1 where unknown
    classes: tuple[str, ...]
    space: Space
    projected: Tensor  # (N, V, P) float16
    prior: Tensor | None  # (C,) class frequencies that me-max expects
    seed: int

    @cached_property
    def labelled(self) -> Tensor:
        """(S,) the labelled images."""
        return (self.labels >= 0).nonzero().flatten()

    @cached_property
    def truth(self) -> Tensor:
        """(S,) their labels."""
        return self.labels[self.labelled]

    @cached_property
    def support(self) -> Tensor:
        """(S, D) float32 features of their plain views."""
        return rows(self.views, self.labelled)[:, 0].float()

    @cached_property
    def fold_count(self) -> int:
        """Folds of the labelled images; 0 where every class has a single one."""
        return fold_count(self.truth)

    @cached_property
    def fold(self) -> Tensor:
        """(S,) the fold of each labelled image, -1 where it cannot be held out."""
        return folds(self.truth, max(1, self.fold_count), self.seed)

    @cached_property
    def held(self) -> Tensor:
        """(S',) rows of the labelled images that are held out by one fold or another."""
        return (self.fold >= 0).nonzero().flatten() if self.fold_count else torch.empty(0, dtype=torch.int64)

    def known(self, left_out: int | None) -> Tensor:
        """(N,) the labels without those of a fold."""
        labels = self.labels.clone()
        if left_out is not None:
            labels[self.labelled[self.fold == left_out]] = -1
        return labels

    @torch.inference_mode()
    def asked(self, rule: Rule, left_out: int) -> tuple[Tensor, Tensor]:
        """Rows (S'',) of a fold, and the rule's probabilities (S'', C) of them over the labelled images of the others."""
        out, others = (self.fold == left_out).nonzero().flatten(), self.fold != left_out
        queries, support = self.space.standardise(self.support[out]), self.space.standardise(self.support[others])
        return out, rule(queries, support, one_hot(self.truth[others], len(self.classes)).float())[0]


def problem_of(
    views: Views,
    labels: Tensor,
    classes: Sequence[str],
    *,
    width: int,
    prior: str | Sequence[float] | None = None,
    seed: int = 0,
) -> Problem:
    """Check the input, fit the space and project the views.

    Raises:
        InputError: fewer than two classes, a class without a label, labels that do not fit the views, a bad prior.
    """
    labels = torch.as_tensor(labels, dtype=torch.int64)
    if len(classes) < 2:
        raise InputError(f"{len(classes)} class(es) labelled; at least two are needed")
    if len(labels) != len(views):
        raise InputError(f"{len(labels)} labels for {len(views)} images")
    counts = torch.bincount(labels[labels >= 0], minlength=len(classes))
    if len(counts) > len(classes) or not bool(counts.all()):
        raise InputError(f"labels must cover exactly the classes 0 to {len(classes) - 1}; counts are {counts.tolist()}")
    frequencies = class_prior(prior, labels, len(classes))
    space = fit_space(views, width, seed=seed)
    return Problem(views, labels, tuple(classes), space, space.project(views), frequencies, seed)
