"""The log-linear combination of logistic regression, label spreading and PAWS's heads, weighted by held-out labels.

Each part gives log-probabilities for which all classes are alike; their weighted sum and the class frequencies of the pool make
the combination. One sum of weights is also its temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from paws import classifiers
from paws.classifiers import log_pool
from paws.classifiers.base import CrossFitted, Near, Predictor
from paws.classifiers.calibration import log_probabilities
from paws.classifiers.frequencies import frequencies
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.log_pool import pooled
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.problem import SINGLE, Problem
from paws.classifiers.trained_encoders import TrainedEncoders

PARTS: tuple[type[Predictor], ...] = (LogisticRegression, LabelSpreading, PawsEnsemble)
PAWS = 2  # the place from which on parts have the class frequencies in them
WEIGHTS = (0.10, 0.10, 0.50)  # of these, before a held-out label is looked at
SINGLE_WEIGHTS = (0.0, 0.08, 0.42)  # ... with single labels, from which logistic regression is a nearest neighbour
ENCODERS = 0.5  # weight of encoders trained on the images, where there are some: like the others', before the factor
SHARPNESS, GROWTH = 0.99, 0.22  # factor of all weights but those: SHARPNESS * (labels a class) ** GROWTH
SPREAD, SCALE = 5.0, 60.0  # penalties on the squared log of what held-out labels do to each weight, and to all
LEARNING = 0.5  # weights that suit predictions from a share of the labels are this power of it as large
FREE = 3.0  # ... to the weight of encoders trained on the images, and to all others beside them


class Combination(Predictor):
    """Probabilities proportional to frequency * product of the parts' probabilities, each to the power of its weight.

    PAWS, and what stands behind it, has the class frequencies in its vote, which are taken out of it.
    """

    name, title, aliases = "combination", "all methods combined", ("combined",)
    votes = combines = True
    deviation = 1e-6  # its weights are its temperature
    weights: Tensor
    prior: Tensor

    def __init__(self, num_classes: int, parts: Sequence[Predictor], weights: Tensor, prior: Tensor) -> None:
        super().__init__(num_classes)
        self.parts = torch.nn.ModuleList(parts)
        self.register_buffer("weights", weights)  # (M,)
        self.register_buffer("prior", prior)  # (C,)
        self.added = sum(part.width for part in parts if isinstance(part, TrainedEncoders))  # columns behind the components
        self.reads = "both" if self.added else "components"

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        """With the weights of all held-out labels, or with those before them, where a fold must not be looked at."""
        parts, prior = [problem.fitted(part, left_out) for part in parts_of(problem)], frequencies(problem)
        weights = _start(problem)
        if left_out is None and problem.judged:
            known = problem.support_labels[problem.held]
            weights = _fitted(problem, _held_out(problem, prior), known, weights) * _flatter(problem)
        return cls(len(problem.classes), parts, weights, prior)

    @classmethod
    def cross_fit(cls, problem: Problem) -> CrossFitted[Self]:
        """The held-out probabilities of a fold are weighted by the held-out labels of the other folds alone."""
        held, known, prior = problem.held, problem.support_labels, frequencies(problem)
        start = _start(problem)
        every, found = problem.fitted(cls), torch.zeros(len(known), len(problem.classes))
        if len(held):
            logs = _held_out(problem, prior)  # (M, S', C)
            for fold in range(problem.fold_count):
                own = problem.fold[held] == fold
                weights = _fitted(problem, logs[:, ~own], known[held][~own], start) if problem.judged else start
                found[held[own]] = pooled(logs[:, own], weights, prior)
        return CrossFitted(every, found, 1.0, 1.0, settings={"weights": every.named_weights()})

    @classmethod
    def on_pool(cls, problem: Problem, left_out: int | None = None) -> Tensor:
        found, prior = problem.fitted(cls, left_out), frequencies(problem)
        parts = [
            problem.on_pool(part, left_out).exp() for part in parts_of(problem)
        ]  # which may know the neighbours of all images
        return pooled(even(parts, prior), found.weights, prior)

    @property
    def members(self) -> list[Predictor]:
        """The parts as a list."""
        return list(self.parts)  # type: ignore[arg-type]

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor | None]:
        return self.over_views(x[:, None], support, labels, own)

    def over_views(
        self, views: Tensor, support: Tensor, labels: Tensor, own: bool = False, near: Near | None = None
    ) -> tuple[Tensor, Tensor | None]:
        found = [part.over_views(self._of(part, views), self._of(part, support), labels, own, near) for part in self.members]
        return self._pooled([probabilities for probabilities, _ in found]), found[-1][1]

    def _of(self, part: Predictor, x: Tensor) -> Tensor:
        """The columns of (..., P + added) that a part reads."""
        behind = x.shape[-1] - self.added
        return x[..., behind:] if part.reads == "encoders" else x[..., :behind]

    def _pooled(self, found: Sequence[Tensor]) -> Tensor:
        return pooled(even(found, self.prior), self.weights, self.prior)

    def near(self, views: Tensor) -> Near | None:
        """Of the one graph that its parts have."""
        return next((near for part in self.members if (near := part.near(self._of(part, views))) is not None), None)

    def familiarity(self, near: Near, frequencies: Tensor) -> Tensor | None:
        return next((found for part in self.members if (found := part.familiarity(near, frequencies)) is not None), None)

    def named_weights(self) -> dict[str, float]:
        """The weight of each part by its name."""
        return {part.name: round(weight, 4) for part, weight in self.weighted_parts()}

    def weighted_parts(self) -> list[tuple[Predictor, float]]:
        return list(zip(self.members, self.weights.tolist(), strict=True))

    def embed(self, x: Tensor) -> Tensor:
        return self.members[-1].embed(self._of(self.members[-1], x))

    def leave_out(
        self, x: Tensor, labels: Tensor, groups: Tensor, fold: Tensor, count: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """What the parts say that have not seen an image's label."""
        found = [part.leave_out(self._of(part, x), labels, groups, fold, count, seed) for part in self.members]
        return self._pooled([probabilities for probabilities, _ in found]), torch.stack([unseen for _, unseen in found]).all(0)

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        """All parts with the new labels; the frequencies stay, and are even where the number of classes changed."""
        parts = [part.with_labels(self._of(part, support), labels, num_classes) for part in self.members]
        same = num_classes == self.num_classes
        prior = self.prior if same else torch.full((num_classes,), 1 / num_classes).to(self.prior)
        return Combination(num_classes, parts, self.weights, prior)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "parts": [{"name": part.name, **part.config()} for part in self.members]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        parts = []
        for each in config["parts"]:
            shape = dict(each)
            parts.append(classifiers.predictor(shape.pop("name")).from_config(shape))
        return cls(config["num_classes"], parts, torch.zeros(len(parts)), torch.ones(config["num_classes"]))


def even(found: Sequence[Tensor], prior: Tensor) -> Tensor:
    """(M, N, C) log-probabilities for which all classes are alike, from the probabilities (N, C) of each part."""
    logs = [log_probabilities(part) for part in found]
    logs[PAWS:] = [(part - prior.log()).log_softmax(1) for part in logs[PAWS:]]
    return torch.stack(logs)


def parts_of(problem: Problem) -> tuple[type[Predictor], ...]:
    """What is combined: encoders trained on the images too, where there are some."""
    return PARTS if problem.encoded is None else (*PARTS, TrainedEncoders)


def start_weights(labels: Tensor, num_classes: int, *, encoders: bool = False) -> Tensor:
    """(M,) weights before a held-out label is looked at: the more labels (S,) a class, the surer."""
    several = len(labels) / num_classes
    known = SINGLE_WEIGHTS if several < SINGLE else WEIGHTS
    weights = torch.tensor((*known, ENCODERS) if encoders else known)
    return weights if several < SINGLE else weights * SHARPNESS * several**GROWTH


def fit_weights(logs: Tensor, labels: Tensor, start: Tensor, *, encoders: bool = False) -> Tensor:
    """(M,) weights by held-out labels (S,), of which few hardly move them from ``start`` (`log_pool.fit_weights`).

    Args:
        logs: (M, S, C) held-out log-probabilities of the parts, for which all classes are alike.
        labels: (S,) their classes.
        start: (M,) weights without any label.
        encoders: the last part are encoders trained on the images, which may be worth nothing or everything: their weight, and
            that of all others together, are held less.
    """
    moves, penalties = log_pool.each_and_all(len(start), SPREAD, SCALE)
    if encoders:
        last = moves[:, len(start) - 1 : len(start)]
        moves = torch.cat([moves, 1 - last], 1)
        penalties = torch.cat([penalties, torch.tensor([FREE])]).index_fill(0, torch.tensor([len(start) - 1]), FREE)
    return log_pool.fit_weights(logs, labels, start, moves, penalties)


def _start(problem: Problem) -> Tensor:
    return start_weights(problem.support_labels, len(problem.classes), encoders=problem.encoded is not None)


def _fitted(problem: Problem, logs: Tensor, labels: Tensor, start: Tensor) -> Tensor:
    share = (1 - 1 / problem.fold_count) ** LEARNING  # held-out labels are predicted without those of their fold
    return fit_weights(logs, labels, start * share, encoders=problem.encoded is not None) / share


def _flatter(problem: Problem) -> Tensor:
    """(M,) by how much flatter the mean over encoders is than one of them, which held-out labels judge; 1 for other parts.

    Encoders that err in different images are less sure together, and right more often. How sure: how far the log-probability of
    the likeliest class is above the mean over classes, on average over the pool.
    """
    factors = torch.ones(len(parts_of(problem)))
    if problem.encoded is not None:
        together, *apart = (
            float((logs.amax(1) - logs.mean(1)).mean())
            for logs in (problem.on_pool(TrainedEncoders, fold) for fold in (None, *range(problem.fold_count)))
        )
        factors[-1] = max(1.0, sum(apart) / len(apart) / together)
    return factors


def _held_out(problem: Problem, prior: Tensor) -> Tensor:
    """(M, S', C) what the parts, for which all classes are alike, say of the labels that are held out."""
    return even([problem.cross_fitted(part).held_out[problem.held] for part in parts_of(problem)], prior)
