"""From cached features and a few labels to a calibrated classifier: every predictor, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from paws import classifiers
from paws.classifiers.base import CrossFitted, Near
from paws.classifiers.calibration import NEVER, calibrated, confident_threshold
from paws.classifiers.classifier import Classifier
from paws.classifiers.conformal import set_threshold
from paws.classifiers.frequencies import frequencies
from paws.classifiers.graph import Graph
from paws.classifiers.heads import HeadSettings
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.problem import Problem, problem_of
from paws.classifiers.space import Views
from paws.classifiers.strangers import strangers_of
from paws.config.options import PREFERRED
from paws.errors import InputError
from paws.fit.choice import Score, predictor_named, score
from paws.metrics import accuracy as accuracy_of

WIDTH = 512  # principal components of the features, at most
SAMPLE = 5000  # images of the pool whose confidence the threshold is read off

Progress = Callable[[str, float], None]  # what is being done, and the share of all that is done


def _silent(what: str, share: float) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Fitted:
    """What `fit_features` found."""

    classifier: Classifier
    scores: tuple[Score, ...]  # best first
    chosen: str  # name of the predictor in use
    held_out: Tensor  # (S, C) calibrated probabilities of every labelled image by models that did not see its label
    agreement: float  # share of images whose views agree, by PAWS
    settings: dict[str, Any]
    curves: list[dict[str, Any]]  # rows as in metrics.jsonl, with the number of the head
    fold: Tensor  # (S,) int64 fold of each label, -1 where every model has seen it
    judged: bool = True  # whether every class has a label that could be held out
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)  # all of them, by the name of the predictor
    near: Near | None = None  # the images of the pool that are nearest to each of it


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
    none_class: str | None = None,
    settings: HeadSettings = HeadSettings(),
    device: str = "cpu",
    groups: Tensor | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Fit a classifier of C ``classes`` on cached views (N, V, D) with labels (N,), -1 where unlabelled.

    Args:
        views: float16 or float32 array, memory map or tensor; view 0 is the plain one. One view is enough.
        model: "auto" is the combination; or "paws", or the name of a baseline.
        prior: class frequencies of the pool: None or "estimate", "uniform", "labels", or one number a class.
        accuracy: what predictions above the classifier's threshold should reach.
        settings: of the heads that PAWS trains; what is left at its default may be suited to the labels and views.
        test: features (T, D), or in V views (T, V, D), and labels (T,) to report on; nothing is chosen by them.
        none_class: the class of images that belong to no other.
        groups: (N,) the same number for copies of one image: none of them judges what has seen another.
        progress: called with what is being done and the share of all that is done.

    Raises:
        InputError: fewer than two classes, a class without a label, an unknown model, prior or ``none_class``.
    """
    predictor_named(model)  # raises, before anything is computed
    tell = progress or _silent
    problem = feature_problem(
        views, labels, classes, seed=seed, prior=prior, settings=settings, device=device, groups=groups, progress=tell
    )
    return fit_problem(problem, model=model, accuracy=accuracy, test=test, none_class=none_class, tell=tell)


def feature_problem(
    views: Views,
    labels: Tensor,
    classes: Sequence[str],
    *,
    settings: HeadSettings,
    progress: Progress,
    **how: Any,
) -> Problem:
    """What `fit_problem` fits to; arguments as in `fit_features`."""
    progress("standardising features", 0.0)

    def tell(share: float) -> None:
        progress("training heads", 0.05 + 0.75 * share)

    return problem_of(views, labels, classes, width=WIDTH, heads=settings, tell=tell, **how)


def fit_problem(
    problem: Problem,
    *,
    model: str = "auto",
    accuracy: float = 0.95,
    test: tuple[Tensor, Tensor] | None = None,
    none_class: str | None = None,
    tell: Progress = _silent,
) -> Fitted:
    """The classifier of a problem, for which what was fitted before stays as it is; arguments as in `fit_features`."""
    requested = predictor_named(model)
    check_none_class(none_class, problem.classes)
    fitted: dict[str, CrossFitted[Any]] = {}
    table = {name: each for name, each in classifiers.known().items() if each.suits(problem)}
    for name, predictor in sorted(table.items(), key=lambda item: item[0] == PREFERRED):  # the combination of others comes last
        fitted[name] = problem.kept(predictor) or predictor.cross_fit(problem)
        problem.keep(predictor, fitted[name])
    tell("comparing", 0.8)
    built = {name: classifier_of(problem, found) for name, found in fitted.items()}
    held, known = problem.held, problem.support_labels
    scores = [score(name, fitted[name].held_out[held], known[held], _on_test(built[name], test)) for name in fitted]
    ours, chosen = fitted[PawsEnsemble.name], requested or PREFERRED
    tell("calibrating", 0.95)
    classifier = built[chosen]
    held_out = calibrated(fitted[chosen].held_out, fitted[chosen].held_out_calibration)
    unseen = problem.fold < 0
    held_out[unseen] = classifier.leave_one_out()[unseen]
    near = problem.shared(Graph).near
    if classifier.predictor.familiarity(near, classifier.frequencies) is not None:  # others cannot tell
        classifier.frequencies.copy_(frequencies(problem))
        classifier.strangers.copy_(torch.tensor(strangers_of(problem, classifier.frequencies)))
    classifier.threshold.fill_(_threshold(problem, classifier, accuracy))
    if problem.judged:
        classifier.set_threshold.fill_(set_threshold(held_out[held], known[held], frequencies(problem), accuracy))
    classifier.none_class = none_class
    tell("done", 1.0)
    described = ours.settings | {
        "components": WIDTH,
        "folds": problem.fold_count,
        "class_prior": frequencies(problem).tolist(),
        "weights": fitted[PREFERRED].settings["weights"],
    }
    curves, encoded = ours.curves, problem.encoded
    if encoded is not None:
        described, curves = described | {"encoders": encoded.settings}, encoded.curves
    scores.sort(key=lambda row: -row.accuracy)
    return Fitted(
        classifier,
        tuple(scores),
        chosen,
        held_out,
        ours.agreement,
        described,
        curves,
        problem.fold,
        problem.judged,
        built,
        near,
    )


def check_none_class(name: str | None, classes: Sequence[str]) -> None:
    """Raises InputError where the class of images that belong to no other is none of ``classes``."""
    if name is not None and name not in classes:
        raise InputError(f"--none-class {name!r}: no image has this label; the labels are {', '.join(classes)}")


def classifier_of(problem: Problem, found: CrossFitted[Any]) -> Classifier:
    """A predictor over all labels, calibrated."""
    mean, scale, directions = problem.map_for(found.predictor)
    return Classifier(
        problem.classes,
        found.predictor,
        mean,
        scale,
        problem.support,
        problem.support_labels,
        directions,
        calibration=found.calibration,
    )


def _on_test(classifier: Classifier, test: tuple[Tensor, Tensor] | None) -> float | None:
    if test is None:
        return None
    return accuracy_of(classifier.votes(torch.as_tensor(test[0])).probabilities, torch.as_tensor(test[1]))


def _threshold(problem: Problem, classifier: Classifier, accuracy: float) -> float:
    """Nothing is kept where a class has no label that could be held out: nothing shows how sure predictions may be."""
    if not problem.judged:
        return NEVER
    chosen = torch.linspace(0, len(problem.labels) - 1, min(SAMPLE, len(problem.labels))).long()
    pool = calibrated(
        problem.predict(classifier.predictor, chosen, near=problem.shared(Graph).near), classifier.calibration
    ).amax(1)
    return confident_threshold(pool, accuracy)
