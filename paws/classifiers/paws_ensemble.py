"""PAWS as an ensemble: heads of different seeds, each of which was not shown one fold of the labels.

So one training gives both the predictor and its cross-validation: a labelled image is predicted by the heads that did not see
its label, while the predictor votes with all heads over all labelled images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.classifiers.base import CrossFitted, Predictor, empty_projection, projection_sizes
from paws.classifiers.calibration import DEVIATION, calibrated, fit_inverse_temperature, inverse_temperature_for
from paws.classifiers.heads import HeadSettings, HeadTraining, head, settings_for
from paws.classifiers.label_spreading import Graph
from paws.classifiers.problem import Problem
from paws.seeds import generator
from paws.voting import above_floor, one_hot, vote_weights

SAMPLE = 2000  # images on which views and heads are compared
PSEUDO = 40  # pseudo-labels a class, at most, that label spreading adds to the supports of training where labels are few
SHARE = 0.1  # of the images of an even class that may get one


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
        every = problem.shared(cls.cross_fit).predictor
        return every if left_out is None else every.blind_to(left_out, problem.fold_count)

    @classmethod
    def cross_fit(cls, problem: Problem) -> CrossFitted[Self]:
        """One training, in which the folds left out go round the heads: head i is not shown fold i modulo their number.

        Where every class has a single label there are none, and half of the heads are kept: those whose views agree most.
        """
        settings, curves, heads, agreements = settings_for(problem), [], [], []
        pseudo, count = pseudo_labeller(problem), head_count(problem, settings)
        for i in range(count):
            left_out = i % problem.fold_count if problem.fold_count else None
            labels = pseudo(problem.visible_labels(left_out))
            training = HeadTraining(problem, labels, settings, seed=problem.seed * 1000 + i)
            for batch in training.method.source.batches(range(settings.steps)):
                loss, metrics = training.method.step(batch)
                training.update(batch.step, loss, metrics)
                problem.tell((i + (batch.step + 1) / settings.steps) / count)
            heads.append(training.trained())
            curves += [{"head": i, **row} for row in training.curve]
            agreements.append(agreement(view_votes(problem, heads[-1:], settings.temperature)[0]))
        kept = range(count) if problem.fold_count else sorted(range(count), key=lambda i: -agreements[i])[: -(-count // 2)]
        every = cls(len(problem.classes), [heads[i] for i in kept], settings.temperature, problem.space.projection())
        held_out = torch.zeros(len(problem.support_labels), len(problem.classes))
        for fold in range(problem.fold_count):
            rows, votes = problem.predict_fold(every.blind_to(fold, problem.fold_count), fold)
            held_out[rows] = votes
        single = _held_out_calibration(problem, held_out)
        return CrossFitted(
            every,
            held_out,
            _calibration(problem, every, single),
            single,
            agreement=sum(agreements[i] for i in kept) / len(kept),
            settings=asdict(settings),
            curves=curves,
        )

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


def head_count(problem: Problem, settings: HeadSettings) -> int:
    """Heads to train: as many for every fold, and no fewer than asked for; twice as many where half of them are dropped."""
    if not problem.fold_count:
        return 2 * settings.heads
    return -(-settings.heads // problem.fold_count) * problem.fold_count


def pseudo_labeller(problem: Problem) -> Callable[[Tensor], Tensor]:
    """Where labels are few: adds to labels (N,) the pseudo-labels of which label spreading is most confident.

    They fill the supports of training only.
    """
    count = min(PSEUDO, int(SHARE * len(problem.labels) / len(problem.classes)))
    if problem.many_labels or not count:
        return lambda labels: labels
    return lambda labels: problem.shared(Graph).pseudo_labelled(labels, count)


@torch.inference_mode()
def view_votes(problem: Problem, heads: Sequence[nn.Module], temperature: float) -> Tensor:
    """(E, 2, n, C) votes of each head on the plain and on one augmented view of a sample of the images.

    Twice the plain view where there is no other.
    """
    chosen = torch.randperm(len(problem.labels), generator=generator(problem.seed, "agreement"))[:SAMPLE]
    views = problem.projected[chosen][:, [0, min(1, problem.projected.shape[1] - 1)]].float()  # (n, 2, P)
    votes = [_vote_of_components(problem, [head], temperature, views.flatten(0, 1)) for head in heads]
    return torch.stack([vote.unflatten(0, (-1, 2)).transpose(0, 1) for vote in votes])


def agreement(votes: Tensor) -> float:
    """Share of images whose plain and augmented view get the same class by the votes (2, n, C)."""
    plain, augmented = votes.argmax(2)
    return float((plain == augmented).double().mean())


def _vote_of_components(problem: Problem, heads: Sequence[nn.Module], temperature: float, components: Tensor) -> Tensor:
    """(n, C) votes of heads on components (n, P), which need no projection."""
    vote = PawsEnsemble(len(problem.classes), heads, temperature, nn.Identity())
    found: Tensor = vote(components, problem.projected[problem.labelled, 0].float(), problem.support_labels)[0]
    return found


def _held_out_calibration(problem: Problem, held_out: Tensor) -> float:
    held = problem.held
    return fit_inverse_temperature(held_out[held], problem.support_labels[held], DEVIATION) if len(held) else 1.0


def _calibration(problem: Problem, every: PawsEnsemble, single: float) -> float:
    """The inverse temperature of the averaged vote of all heads.

    With held-out labels: ``single``, which suits the votes of those heads that had not seen them, gives the confidence these
    deserve on the pool. The average over all heads is softer, and is brought to that, and to what it gains by predicting
    other classes than they do where they differ. Without: to what single images of the predicted classes tell of them.
    """
    heads = list(every.heads)
    votes = view_votes(problem, heads, every.temperature)  # (E, 2, n, C)
    mean = votes[:, 0].mean(0)  # (n, C)
    if len(problem.held):
        blind = torch.stack([votes[fold :: problem.fold_count, 0].mean(0) for fold in range(problem.fold_count)])  # (F, n, C)
        deserved = float(calibrated(blind.flatten(0, 1), single).amax(1).mean())
        together = calibrated(mean, inverse_temperature_for(mean, deserved))  # (n, C)
        theirs = together.gather(1, blind.argmax(2).T)  # (n, F) of the classes that the blind ones predict
        confidence = 2 * deserved - float(theirs.mean())
    else:
        graph = problem.shared(Graph)
        confidence = graph.recovery(_vote_of_components(problem, heads, every.temperature, graph.bank).argmax(1))
    return inverse_temperature_for(mean, confidence)
