"""PAWS as an ensemble: heads of different seeds, each of which was not shown one fold of the labels.

So one training gives both the predictor and its cross-validation: a labelled image is predicted by the heads that did not see
its label, while the predictor votes with all heads over all labelled images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.classifiers.base import CrossFitted, Predictor, empty_projection, projection_sizes
from paws.classifiers.calibration import DEVIATION, fit_inverse_temperature, log_probabilities
from paws.classifiers.frequencies import frequencies
from paws.classifiers.heads import HeadSettings, head, settings_for, train_heads
from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.log_pool import each_and_all, fit_weights
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.poisson import Poisson
from paws.classifiers.problem import Problem
from paws.classifiers.strangers import belonging
from paws.seeds import generator
from paws.voting import above_floor, one_hot, vote_weights

SAMPLE = 2000  # images on which views are compared
TEACHERS: tuple[type[Predictor], ...] = (LogisticRegression, LabelSpreading, Poisson)
FUSED = 0.7  # weight of label spreading's log-probabilities in the teacher, before a held-out label is looked at
SPREAD, SCALE = 1.0, 60.0  # penalties on the squared log of what held-out labels do to each weight in it, and to all


class PawsEnsemble(Predictor):
    """Soft nearest neighbours over the support, averaged over the heads.

    A class votes with the same weight however many labelled images it has, as in the support sets of training. A temperature
    leaves something of the vote to every class, however far it is; the probabilities are what is above that.
    """

    name, title, aliases = "paws", "PAWS", ()
    votes = can_leave_out = True
    deviation = DEVIATION

    def __init__(self, num_classes: int, heads: Sequence[nn.Module], temperature: float, project: nn.Module) -> None:
        super().__init__(num_classes)
        self.heads, self.temperature, self.project = nn.ModuleList(heads), temperature, project

    @classmethod
    def fit(cls, problem: Problem, left_out: int | None = None) -> Self:
        """The predictor of `cross_fit`, or those of its heads that were not shown a fold."""
        every = problem.cross_fitted(cls).predictor
        return every if left_out is None else every.blind_to(left_out, problem.fold_count)

    @classmethod
    def cross_fit(cls, problem: Problem) -> CrossFitted[Self]:
        """One training, in which the folds left out go round the heads: head i is not shown fold i modulo their number.

        Nor are its teachers, whose three weights follow the labels of other folds. Where every class has a single label there
        are no folds. Images are drawn as often as they are likely to belong to a class at all.
        """
        settings, prior = settings_for(problem), frequencies(problem)
        count = head_count(problem.fold_count, settings)
        left_out = [i % problem.fold_count if problem.fold_count else None for i in range(count)]
        labels = [problem.visible_labels(fold) for fold in left_out]
        taught = {fold: teacher(problem, fold, prior) for fold in dict.fromkeys(left_out)}
        teachers = torch.stack([taught[fold] for fold in left_out])
        heads, curves = train_heads(problem, labels, teachers, prior, settings, problem.tell, belonging(problem, prior))
        every = cls(len(problem.classes), heads, settings.temperature, problem.space.half_whitened(settings.width))
        return every.judged(problem, asdict(settings) | {"heads": count}, curves)

    def judged(self, problem: Problem, settings: dict[str, Any], curves: list[dict[str, Any]]) -> CrossFitted[Self]:
        """With what the heads that were not shown a fold say of it."""
        held_out = torch.zeros(len(problem.support_labels), len(problem.classes))
        for fold in range(problem.fold_count):
            rows, votes = problem.predict_fold(self.blind_to(fold, problem.fold_count), fold)
            held_out[rows] = votes
        held, known = problem.held, problem.support_labels
        calibration = fit_inverse_temperature(held_out[held], known[held], self.deviation) if len(held) else 1.0
        return CrossFitted(self, held_out, calibration, calibration, agreement(problem, self), settings, curves)

    def blind_to(self, fold: int, count: int) -> Self:
        """The predictor of those heads that training did not show the labels of one of ``count`` folds."""
        return type(self)(self.num_classes, list(self.heads)[fold::count], self.temperature, self.project)

    def forward(self, x: Tensor, support: Tensor, labels: Tensor, own: bool = False) -> tuple[Tensor, Tensor]:
        rows = torch.arange(len(x), device=x.device) if own else None
        x, support = self.project(x), self.project(support)
        shares = [
            vote_weights(head(x), head(support), labels, self.num_classes, self.temperature, balanced=True, own=rows)
            for head in self.heads
        ]
        weights = torch.stack(shares).mean(0)  # (N, S), with the floor in them
        return above_floor(weights @ one_hot(labels, self.num_classes, x.dtype), self.temperature), weights

    def embed(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, P), L2-normalised; inner products are the mean over heads of the cosines that the vote compares."""
        x = self.project(x)
        embedded = [normalize(head(x), dim=1) for head in self.heads]
        return torch.cat(embedded, 1) / len(embedded) ** 0.5

    def with_labels(self, support: Tensor, labels: Tensor, num_classes: int) -> Predictor:
        return PawsEnsemble(num_classes, list(self.heads), self.temperature, self.project)

    def leave_out(
        self, x: Tensor, labels: Tensor, groups: Tensor, fold: Tensor, count: int, seed: int
    ) -> tuple[Tensor, Tensor]:
        """By the heads that were not shown the fold of an image; all heads vote on a label that came after training."""
        found = super().leave_out(x, labels, groups, fold, count, seed)[0]
        for number in range(count):
            rows, blind = fold == number, self.blind_to(number, count)
            found[rows] = super(PawsEnsemble, blind).leave_out(x, labels, groups, fold, count, seed)[0][rows]
        return found, fold != -1

    def config(self) -> dict[str, Any]:
        linears = [[layer for layer in head.modules() if isinstance(layer, nn.Linear)] for head in self.heads]
        sizes = [[layers[0].in_features, layers[0].out_features, layers[-1].out_features] for layers in linears]
        project = projection_sizes(self.project)
        return {**super().config(), "heads": sizes, "temperature": self.temperature, "project": project}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        heads, project = [head(*sizes) for sizes in config["heads"]], empty_projection(config["project"])
        return cls(config["num_classes"], heads, config["temperature"], project)


def head_count(fold_count: int, settings: HeadSettings) -> int:
    """Heads to train: as many for every fold, and about as many as asked for."""
    return fold_count * max(1, round(settings.heads / fold_count)) if fold_count else settings.heads


def teacher(problem: Problem, left_out: int | None, prior: Tensor) -> Tensor:
    """(N, C) log-probabilities of all images by methods that were not shown a fold, under class frequencies (C,)."""
    weights = teacher_weights(problem, left_out).tolist()
    logs = sum(weight * problem.on_pool(each, left_out) for weight, each in zip(weights, TEACHERS, strict=True))
    return (logs + prior.log()).log_softmax(1)


def teacher_weights(problem: Problem, left_out: int | None) -> Tensor:
    """(3,) weights of `TEACHERS` by the labels of the other folds, each by methods that were not shown it.

    Before a label tells: the fewer labels a class, the more the graph says. Logistic regression has no weight where labels are
    single, and Poisson learning less the more there are.
    """
    several = max(1.0, problem.labels_per_class)
    start = FUSED * torch.tensor([1 - 1 / several, 1.0, several**-0.5])
    told = problem.held[problem.fold[problem.held] != (-1 if left_out is None else left_out)]
    if not problem.judged or not len(told):
        return start
    logs = log_probabilities(torch.stack([problem.cross_fitted(each).held_out[told] for each in TEACHERS]))
    return fit_weights(logs, problem.support_labels[told], start, *each_and_all(len(start), SPREAD, SCALE))


@torch.inference_mode()
def agreement(problem: Problem, predictor: Predictor) -> float:
    """Share of a sample of the images whose plain view and one augmented view get the same class."""
    chosen = torch.randperm(len(problem.labels), generator=generator(problem.seed, "agreement"))[:SAMPLE]
    views = problem.seen_by(predictor, chosen)[:, [0, min(1, problem.projected.shape[1] - 1)]].float()  # (n, 2, P)
    support = problem.seen_by(predictor, problem.labelled).float().mean(1)
    plain, augmented = (predictor(views[:, v], support, problem.support_labels)[0].argmax(1) for v in (0, 1))
    return float((plain == augmented).double().mean())
