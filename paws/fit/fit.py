"""From cached features and a few labels to a calibrated classifier: PAWS, the baselines, and the choice between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from paws.classifiers import compare, ensemble
from paws.classifiers.calibration import SPREAD, calibrated, fit_threshold
from paws.classifiers.classifier import Classifier
from paws.classifiers.compare import BASELINES, Score, SpreadGraph, score
from paws.classifiers.ensemble import Member
from paws.classifiers.heads import HeadSettings
from paws.classifiers.problem import Problem, problem_of
from paws.classifiers.rules import Rule
from paws.classifiers.space import Views, rows
from paws.fit.choice import WIDTH, choose, filler_for, method_named, settings_for, steadiest

SAMPLE = 5000  # images of the pool whose confidence the threshold is read off

Progress = Callable[[str, float], None]  # what is being done, and the share of all that is done


@dataclass(frozen=True)
class Fitted:
    """What `fit_features` found."""

    classifier: Classifier
    scores: tuple[Score, ...]  # best first
    chosen: str  # the method in use
    reason: str  # one sentence why
    held_out: Tensor  # (S, C) calibrated probabilities of every labelled image by models that did not see its label
    agreement: float  # share of images whose views agree
    settings: dict[str, Any]
    curves: list[dict[str, Any]]  # rows as in metrics.jsonl, with the number of the head


def fit_features(
    views: Views,
    labels: Tensor,
    classes: Sequence[str],
    *,
    seed: int = 0,
    model: str = "auto",
    prior: str | Sequence[float] | None = None,
    accuracy: float = 0.95,
    test: tuple[Tensor, Tensor] | None = None,
    settings: HeadSettings = HeadSettings(),
    device: str = "cpu",
    progress: Progress | None = None,
) -> Fitted:
    """Fit a classifier of C ``classes`` on cached views (N, V, D) with labels (N,), -1 where unlabelled.

    Args:
        views: float16 or float32 array, memory map or tensor; view 0 is the plain one. One view is enough.
        model: "auto" takes what predicts held-out labels best; or "paws", or the name of a baseline.
        prior: class frequencies that me-max expects: None or "uniform", "labels", or one number a class.
        accuracy: what predictions above the classifier's threshold should reach.
        settings: of the heads that PAWS trains; what is left at its default may be suited to the labels and views.
        test: features (T, D) and labels (T,) to report on; nothing is chosen by them.
        progress: called with what is being done and the share of all that is done.

    Raises:
        InputError: fewer than two classes, a class without a label, an unknown model or prior.
    """
    asked = method_named(model)
    tell = progress or (lambda what, share: None)
    tell("standardising features", 0.0)
    problem = problem_of(views, labels, classes, width=WIDTH, prior=prior, seed=seed)
    settings = settings_for(problem, settings)
    graph = SpreadGraph(problem)
    curves: list[dict[str, Any]] = []
    members = _members(problem, settings, graph, device, lambda share: tell("training heads", 0.05 + 0.75 * share), curves)
    tell("comparing", 0.8)
    held_out = {"PAWS": ensemble.held_out(problem, members)}
    held_out |= {method: compare.held_out(method, problem, graph) for method in BASELINES}
    classifiers = _classifiers(problem, members, graph, held_out)
    scores = [_score(problem, classifiers[method], held_out[method], test) for method in classifiers]
    scores.sort(key=lambda row: -row.accuracy)
    right = {method: (held_out[method].argmax(1) == problem.truth)[problem.held] for method in classifiers}
    agreement = sum(member.agreement for member in members) / len(members)
    chosen, reason = choose(right, asked, agreement)
    tell("calibrating", 0.95)
    classifier = classifiers[chosen]
    found = calibrated(held_out[chosen], compare.exponent(problem, held_out[chosen], SPREAD if chosen == "PAWS" else math.inf))
    unseen = problem.fold < 0
    found[unseen] = classifier.leave_one_out()[unseen]
    classifier.threshold.fill_(_threshold(problem, classifier, found, accuracy))
    tell("done", 1.0)
    described = asdict(settings) | {"width": WIDTH, "folds": problem.fold_count, "prior": prior}
    return Fitted(classifier, tuple(scores), chosen, reason, found, agreement, described, curves)


def _members(
    problem: Problem,
    settings: HeadSettings,
    graph: SpreadGraph,
    device: str,
    tell: Callable[[float], None],
    curves: list[dict[str, Any]],
) -> list[Member]:
    """The heads that vote. Where labels are few their supports are filled up; with single ones the steadiest are kept."""
    fill = filler_for(problem, graph)
    members = ensemble.train_members(problem, settings, fill=fill, device=device, tell=tell, curves=curves)
    return members if problem.fold_count else steadiest(members)


def _classifiers(
    problem: Problem, members: Sequence[Member], graph: SpreadGraph, held_out: dict[str, Tensor]
) -> dict[str, Classifier]:
    """Every method over all labels, calibrated."""
    heads, space = [member.head for member in members], problem.space
    rules: dict[str, Rule] = {"PAWS": ensemble.vote_of(problem, heads, members[0].settings)}
    rules |= {method: compare.fit_baseline(method, problem, graph) for method in BASELINES}
    exponents = {method: compare.exponent(problem, held_out[method]) for method in BASELINES}
    exponents["PAWS"] = ensemble.exponent(problem, members, held_out["PAWS"], graph)
    support = (space.mean, space.scale, problem.support, problem.truth)
    return {
        method: Classifier(problem.classes, method, rule, *support, calibration=exponents[method])
        for method, rule in rules.items()
    }


def _score(problem: Problem, classifier: Classifier, held_out: Tensor, test: tuple[Tensor, Tensor] | None) -> Score:
    row = score(classifier.method, held_out[problem.held], problem.truth[problem.held])
    if test is None:
        return row
    predicted = classifier.votes(torch.as_tensor(test[0])).probabilities.argmax(1)
    return replace(row, test=float((predicted == torch.as_tensor(test[1])).double().mean()))


def _threshold(problem: Problem, classifier: Classifier, held_out: Tensor, accuracy: float) -> float:
    chosen = torch.linspace(0, len(problem.labels) - 1, min(SAMPLE, len(problem.labels))).long()
    pool = classifier.votes(rows(problem.views, chosen)[:, 0]).probabilities.amax(1)
    confidence, guess = held_out[problem.held].max(1)
    return fit_threshold(pool, confidence, guess == problem.truth[problem.held], accuracy)
