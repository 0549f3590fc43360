"""What is to be fitted: cached views, the labels that are known, and what may be seen of them when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from paws.classifiers.calibration import log_probabilities
from paws.classifiers.folds import fold_count, folds
from paws.classifiers.prior import class_prior
from paws.classifiers.space import Space, Views, fit_space, rows
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.classifiers.base import CrossFitted, Near, Predictor
    from paws.classifiers.heads import HeadSettings

T = TypeVar("T")
P = TypeVar("P", bound="Predictor")

FOLDS = 4  # at most
CHUNK = 512  # images predicted at a time

SINGLE = 1.5  # labels a class, below which most classes have one


@dataclass(frozen=True)
class Encoded:
    """What E encoders, trained on the images, add to the features: embeddings of W numbers each, in the last columns.

    Encoder i was not shown the labels of fold i modulo their number, nor was what taught it.
    """

    embeddings: Tensor  # (N, V, E * W) float16
    count: int  # E
    temperature: float  # of the vote that they were trained with
    settings: dict[str, Any] = field(default_factory=dict)  # how they were trained, for the record
    curves: list[dict[str, Any]] = field(default_factory=list)  # rows as in metrics.jsonl


@dataclass(frozen=True)
class Problem:
    """N images in V cached views of D features, S of them labelled with one of C classes; built by `problem_of`."""

    views: Views  # (N, V, D), with what encoders add (N, V, D + E * W)
    labels: Tensor  # (N,) int64, -1 where unknown
    classes: tuple[str, ...]
    space: Space
    projected: Tensor  # (N, V, P) float16 components
    class_prior: Tensor | None = None  # (C,) class frequencies of the pool; None: they are to be estimated
    seed: int = 0
    heads: HeadSettings | None = None  # how predictors that train do so; None: as by default
    device: str = "cpu"  # ... and where
    tell: Callable[[float], None] = lambda share: None  # told the share of training that is done
    groups: Tensor | None = None  # (N,) the same number for copies of one image, which are held out together
    encoded: Encoded | None = None
    _shared: dict[Any, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def labelled(self) -> Tensor:
        """(S,) the labelled images."""
        return (self.labels >= 0).nonzero().flatten()

    def shared(self, build: Callable[[Problem], T]) -> T:
        """``build(self)``, made once: what several predictors need, such as a graph of the images."""
        return self._once(build, lambda: build(self))

    @property
    def labels_per_class(self) -> float:
        """Labelled images of an average class, at least 1."""
        return len(self.support_labels) / len(self.classes)

    @cached_property
    def support_labels(self) -> Tensor:
        """(S,) their labels."""
        return self.labels[self.labelled]

    @cached_property
    def support(self) -> Tensor:
        """(S, D) float32 features of the labelled images, mean over their views."""
        return rows(self.views, self.labelled).float().mean(1)

    @cached_property
    def points(self) -> Tensor:
        """(S, P) float32 components of these."""
        return self.projected[self.labelled].float().mean(1)

    @cached_property
    def fold_count(self) -> int:
        """Folds of the labelled images; 0 where every class has a single one."""
        return fold_count(self.support_labels, FOLDS, groups=self._support_groups)

    @cached_property
    def fold(self) -> Tensor:
        """(S,) the fold of each labelled image, -1 where it cannot be held out."""
        return folds(self.support_labels, max(1, self.fold_count), self.seed, self._support_groups)

    @property
    def splits(self) -> tuple[int | None, ...]:
        """What is left out where something is fitted to all labels and once without each fold."""
        return None, *range(self.fold_count)

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

    @cached_property
    def judged(self) -> bool:
        """Whether every class has a label that can be held out."""
        return len(self.support_labels[self.held].unique()) == len(self.classes)

    def fitted(self, kind: type[P], left_out: int | None = None) -> P:
        """``kind.fit(self, left_out)``, made once."""
        return self._once((kind, left_out), lambda: kind.fit(self, left_out))

    def cross_fitted(self, kind: type[P]) -> CrossFitted[P]:
        """``kind.cross_fit(self)``, made once."""
        return self._once((kind, "cross"), lambda: kind.cross_fit(self))

    def keep_shared(self, build: Callable[[Problem], T], found: T) -> None:
        """Let `shared` give what was built elsewhere."""
        self._shared[build] = found

    def keep(self, kind: type[P], found: CrossFitted[P]) -> None:
        """Let `cross_fitted` give what was fitted elsewhere."""
        self._shared[kind, "cross"] = found

    def kept(self, kind: type[P]) -> CrossFitted[P] | None:
        """What `cross_fitted` would give, where it is there."""
        found: CrossFitted[P] | None = self._shared.get((kind, "cross"))
        return found

    def on_pool(self, kind: type[Predictor], left_out: int | None = None) -> Tensor:
        """(N, C) log-probabilities of all images by a predictor that was not shown the fold ``left_out``; made once."""
        return self._once((kind, left_out, "pool"), lambda: log_probabilities(kind.on_pool(self, left_out)))

    def seen_by(self, predictor: Predictor, images: Tensor | slice = slice(None)) -> Tensor:
        """(n, V, ·) float16 of ``images`` (n,), or of all: components, what encoders add, or both, as the predictor reads."""
        if self.encoded is None or predictor.reads == "components":
            return self.projected[images]
        if predictor.reads == "encoders":
            return self.encoded.embeddings[images]
        return torch.cat([self.projected[images], self.encoded.embeddings[images]], 2)

    def map_for(self, predictor: Predictor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and scale (D,) and directions (·, D): standardised by them, features become what the predictor reads."""
        space = self.space
        if self.encoded is None:
            return space.mean, space.scale, space.components
        count, added = len(space.components), self.encoded.embeddings.shape[2]
        rows = {"components": slice(count), "encoders": slice(count, None), "both": slice(None)}[predictor.reads]
        directions = torch.block_diag(space.components, torch.eye(added))[rows].clone()
        return torch.cat([space.mean, torch.zeros(added)]), torch.cat([space.scale, torch.ones(added)]), directions

    @torch.no_grad()
    def predict(
        self, predictor: Predictor, images: Tensor | None = None, left_out: int | None = None, near: Near | None = None
    ) -> Tensor:
        """(n, C) probabilities of ``images`` (n,), or of all, over their views, by the labels that are not left out.

        ``near``: the images of the pool that are nearest to all images, where they are known.
        """
        shown, found = self.shown(left_out), []
        support, labels = self.seen_by(predictor, self.labelled[shown]).float().mean(1), self.support_labels[shown]
        for part in (torch.arange(len(self.labels)) if images is None else images).split(CHUNK):
            close = None if near is None else (near[0][part], near[1][part])
            found.append(predictor.over_views(self.seen_by(predictor, part).float(), support, labels, near=close)[0])
        return torch.cat(found)

    def predict_fold(self, predictor: Predictor, left_out: int) -> tuple[Tensor, Tensor]:
        """Rows (S'',) of a fold, and the predictor's probabilities (S'', C) of them from the labelled images of the others."""
        rows = (self.fold == left_out).nonzero().flatten()
        return rows, self.predict(predictor, self.labelled[rows], left_out)

    def _once(self, key: Any, build: Callable[[], T]) -> T:
        if key not in self._shared:
            self._shared[key] = build()
        found: T = self._shared[key]
        return found


def with_encoders(problem: Problem, views: Views, encoded: Encoded) -> Problem:
    """The same problem with what encoders add to its features, in ``views`` (N, V, D + E * W).

    What predictors have found in the features alone stays, and what combines them is to be found anew.
    """
    kept = {key: value for key, value in problem._shared.items() if not (isinstance(key, tuple) and key[0].combines)}
    return replace(problem, views=views, encoded=encoded, _shared=kept)


def problem_of(
    views: Views,
    labels: Tensor,
    classes: Sequence[str],
    *,
    width: int,
    prior: str | Sequence[float] | None = None,
    seed: int = 0,
    known: tuple[Space, Tensor] | None = None,
    **training: Any,
) -> Problem:
    """Check the input, fit the space and project the views. ``training``: the fields from ``heads`` on.

    ``known``: the space and the components, where a former problem of the same views has them.

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
    frequencies = class_prior(prior, labels, classes)
    space = fit_space(views, width, seed=seed) if known is None else known[0]
    projected = space.project(views) if known is None else known[1]
    return Problem(views, labels, tuple(classes), space, projected, frequencies, seed, **training)
