"""What a predictor is: fitted to a problem, it gives class probabilities of standardised features.

Letters: N queries, S labelled images (the support), P components of the features, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.classifiers.calibration import DEVIATION, fit_inverse_temperature
from paws.classifiers.folds import fold_count, folds
from paws.classifiers.problem import Problem
from paws.errors import InputError

Reads = Literal["components", "encoders", "both"]
Near = tuple[Tensor, Tensor]  # squared distances (N, k) to the images of the pool that are nearest, and which these are (N, k)
TABLE: dict[str, type[Predictor]] = {}

P = TypeVar("P", bound="Predictor")


@dataclass(frozen=True)
class CrossFitted(Generic[P]):
    """A predictor fitted to all labels, and what predictors that were not shown a label say of its image."""

    predictor: P
    held_out: Tensor  # (S, C) probabilities, not calibrated; 0 where an image is in no fold
    calibration: float  # inverse temperature that calibrates the predictor
    held_out_calibration: float  # ... and the held-out probabilities
    agreement: float = math.nan  # share of images that two views give the same class, where views are compared
    settings: dict[str, Any] = field(default_factory=dict)  # how it was trained, for the record
    curves: list[dict[str, Any]] = field(default_factory=list)  # of its training, rows as in metrics.jsonl


class Predictor(nn.Module):
    """A way to get class probabilities from features. Defining a subclass enters it into ``paws.classifiers.table()``."""

    name: ClassVar[str]  # the key in options, files and records
    title: ClassVar[str]  # what pages and tables call it
    aliases: ClassVar[tuple[str, ...]] = ()  # further names that options take
    votes: ClassVar[bool] = False  # whether the weights of labelled images decide the prediction
    deviation: ClassVar[float] = math.inf  # of `fit_inverse_temperature`, for held-out probabilities
    reads: Reads = "components"  # of the features, or what encoders trained on the images add to these, or both
    combines: ClassVar[bool] = False  # whether it is made of other predictors
    can_leave_out: ClassVar[bool] = False  # whether ``own`` leaves each labelled image out of its own prediction

    num_classes: int

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        TABLE[cls.name] = cls

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    @classmethod
    def suits(cls, problem: Problem) -> bool:
        """Whether the problem has what it reads."""
        return cls.reads != "encoders" or problem.encoded is not None

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        """Fit to the labels of a problem; those of the fold ``left_out`` must not be looked at."""
        raise NotImplementedError

    @classmethod
    def cross_fit(cls, problem: Problem) -> CrossFitted[Self]:
        """Fit to all labels and, for the held-out probabilities, once without each fold."""
        found = torch.zeros(len(problem.support_labels), len(problem.classes))
        for fold in range(problem.fold_count):
            rows, probabilities = problem.predict_fold(problem.fitted(cls, fold), fold)
            found[rows] = probabilities
        held, deviation = problem.held, cls.deviation if problem.judged else DEVIATION
        calibration = fit_inverse_temperature(found[held], problem.support_labels[held], deviation) if len(held) else 1.0
        return CrossFitted(problem.fitted(cls), found, calibration, calibration)

    @classmethod
    def on_pool(cls, problem: Problem, left_out: int | None = None) -> Tensor:
        """(N, C) probabilities of all images of a problem over their views, without the labels of a fold."""
        return problem.predict(problem.fitted(cls, left_out), left_out=left_out)

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        """Probabilities (N, C), whose rows sum to 1, and the share (N, S) of each labelled image in them, if it `votes`.

        Args:
            x: (N, P) principal components of the standardised features.
            support: (S, P) those of the labelled images.
            labels: (S,) int64, their classes.
            own: the queries are the support, and no image may vote on itself where the predictor `can_leave_out`.
        """
        raise NotImplementedError

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """`forward` of images in V views (N, V, P): the mean over the views, unless a predictor knows better.

        ``near`` is what `near` gives, where it is known.
        """
        count = views.shape[1]
        found = [self(views[:, v], support, labels, own) for v in range(count)]
        weights = [part for _, part in found if part is not None]
        return torch.stack([part for part, _ in found]).mean(0), torch.stack(weights).mean(0) if weights else None

    def near(self, views: Tensor) -> Near | None:
        """The images of the pool nearest to images in V views (N, V, P); None for a predictor that does not ask for them."""
        return None

    def familiarity(self, near: Near, frequencies: Tensor) -> Tensor | None:
        """(N,) how much of the labels, of classes that occur so often (C,), reaches images, as a logarithm; None where a
        predictor does not know."""
        return None

    def weighted_parts(self) -> list[tuple[Predictor, float]]:
        """The predictors that it combines, with their weights; none where it stands alone."""
        return []

    def embed(self, x: Tensor) -> Tensor:
        """(N, P) -> (N, E), L2-normalised: the space in which images are alike for this predictor."""
        return normalize(x, dim=1)

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        """The predictor for other labelled images (S, P) of classes (S,), without the pool.

        Raises:
            InputError: it cannot do without the pool.
        """
        raise InputError(f"{self.title} has to see the whole folder again: fit again with the new labels")

    def leave_out(
        self, x: Tensor, labels: Tensor, groups: Tensor, fold: Tensor, count: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """What labelled images (S, P) of classes (S,) are by the others, after labels were changed.

        Args:
            groups: (S,) the same number for copies of one image, none of which votes on another.
            fold: (S,) of ``count`` that training left out with the image; -1 where it saw the label, -2 where there was none.
            seed: of the folds of a predictor that is fitted again.

        Returns:
            probabilities (S, C), not calibrated, and (S,) bool, whether no model that gave them has seen the image's label.
        """
        found, unseen = torch.zeros(len(x), self.num_classes), torch.ones(len(x), dtype=torch.bool)
        if not self.can_leave_out:
            again = folds(labels, max(1, fold_count(labels, groups=groups)), seed, groups)
            for number in again.unique().tolist():
                out = again == number
                kept = ~out if number >= 0 else torch.ones_like(out)
                found[out] = self.with_labels(x[kept], labels[kept], self.num_classes)(x[out], x[kept], labels[kept])[0]
            return found, unseen
        found = self(x, x, labels, True)[0]
        numbers, sizes = groups.unique(return_counts=True)
        for number in numbers[sizes > 1].tolist():
            out = groups == number
            found[out] = self(x[out], x[~out], labels[~out])[0]
        return found, unseen

    def config(self) -> dict[str, Any]:
        """JSON-able: the arguments with which `from_config` makes an empty predictor of this shape."""
        return {"num_classes": self.num_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """An empty predictor to load a state dict into."""
        return cls(**config)


def empty_projection(sizes: list[int] | None) -> nn.Module:
    """A linear map of sizes [from, to] to load weights into, or the identity."""
    return nn.Identity() if sizes is None else nn.Linear(sizes[0], sizes[1], bias=False)


def projection_sizes(project: nn.Module) -> list[int] | None:
    """What `empty_projection` needs to make one of the same shape."""
    return [project.in_features, project.out_features] if isinstance(project, nn.Linear) else None


def squared_distance(x: Tensor, y: Tensor) -> Tensor:
    """(N, D), (M, D) -> (N, M) squared Euclidean distances, up to what is the same for all y."""
    return (y * y).sum(1) - 2 * x @ y.T
