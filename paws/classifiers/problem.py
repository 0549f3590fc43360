"""What is to be fitted: cached views, the labels that are known, and what may be seen of them when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from paws.classifiers.folds import fold_count, folds
from paws.classifiers.prior import class_prior
from paws.classifiers.space import Space, Views, fit_space, rows
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.classifiers.base import Predictor
    from paws.classifiers.heads import HeadSettings

T = TypeVar("T")

MANY = 6  # labels a class from which on the labelled images make up half of the pool of training


@dataclass(frozen=True)
class Problem:
    """N images in V cached views of D features, S of them labelled with one of C classes; built by `problem_of`."""

    views: Views  # (N, V, D)
    labels: Tensor  # (N,) int64, -1 where unknown
    classes: tuple[str, ...]
    space: Space
    projected: Tensor  # (N, V, P) float16
    class_prior: Tensor | None = None  # (C,) class frequencies that are expected of the pool; None: even ones
    seed: int = 0
    heads: HeadSettings | None = None  # how predictors that train do so; None: as by default
    device: str = "cpu"  # ... and where
    tell: Callable[[float], None] = lambda share: None  # told the share of training that is done
    groups: Tensor | None = None  # (N,) the same number for copies of one image, which are held out together
    _shared: dict[Any, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def labelled(self) -> Tensor:
        """(S,) the labelled images."""
        return (self.labels >= 0).nonzero().flatten()

    def shared(self, build: Callable[[Problem], T]) -> T:
        """``build(self)``, made once: what several predictors need, such as a graph of the images."""
        if build not in self._shared:
            self._shared[build] = build(self)
        found: T = self._shared[build]
        return found

    @cached_property
    def support_labels(self) -> Tensor:
        """(S,) their labels."""
        return self.labels[self.labelled]

    @property
    def many_labels(self) -> bool:
        """Whether there are enough labels for training to need no others."""
        return len(self.support_labels) >= MANY * len(self.classes)

    @cached_property
    def support(self) -> Tensor:
        """(S, D) float32 features of their plain views."""
        return rows(self.views, self.labelled)[:, 0].float()

    @cached_property
    def fold_count(self) -> int:
        """Folds of the labelled images; 0 where every class has a single one."""
        return fold_count(self.support_labels, groups=self._support_groups)

    @cached_property
    def fold(self) -> Tensor:
        """(S,) the fold of each labelled image, -1 where it cannot be held out."""
        return folds(self.support_labels, max(1, self.fold_count), self.seed, self._support_groups)

    @property
    def _support_groups(self) -> Tensor | None:
        return None if self.groups is None else self.groups[self.labelled]

    @cached_property
    def held(self) -> Tensor:
        """(S',) rows of the labelled images that are held out by one fold or another."""
        return (self.fold >= 0).nonzero().flatten() if self.fold_count else torch.empty(0, dtype=torch.int64)

    def shown(self, left_out: int | None) -> Tensor:
        """(S,) bool of the labelled images outside of a fold; of all of them without one."""
        return torch.ones(len(self.support_labels), dtype=torch.bool) if left_out is None else self.fold != left_out

    def visible_labels(self, left_out: int | None) -> Tensor:
        """(N,) the labels without those of a fold."""
        labels = self.labels.clone()
        labels[self.labelled[~self.shown(left_out)]] = -1
        return labels

    @torch.inference_mode()
    def predict_fold(self, predictor: Predictor, left_out: int) -> tuple[Tensor, Tensor]:
        """Rows (S'',) of a fold, and the predictor's probabilities (S'', C) of them from the labelled images of the others."""
        rows, shown = (self.fold == left_out).nonzero().flatten(), self.shown(left_out)
        queries, support = self.space.standardise(self.support[rows]), self.space.standardise(self.support[shown])
        return rows, predictor(queries, support, self.support_labels[shown])[0]


def problem_of(
    views: Views,
    labels: Tensor,
    classes: Sequence[str],
    *,
    width: int,
    prior: str | Sequence[float] | None = None,
    seed: int = 0,
    **training: Any,
) -> Problem:
    """Check the input, fit the space and project the views. ``training``: the fields from ``heads`` on.

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
    return Problem(views, labels, tuple(classes), space, space.project(views), frequencies, seed, **training)
