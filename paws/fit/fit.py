"""From cached features and a few labels to a calibrated classifier: PAWS, the baselines, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from paws.classifier import Classifier
from paws.errors import InputError
from paws.fit.calibrate import calibrated, fit_exponent, fit_threshold
from paws.fit.compare import BASELINES, Score, SpreadGraph, fit_baseline, score
from paws.fit.folds import fold_count, folds
from paws.fit.head import HeadSettings, train_head
from paws.fit.prior import class_prior
from paws.fit.space import Space, Views, fit_space, rows
from paws.rules import Rule, SoftVote

METHODS = ("PAWS", *BASELINES)
WIDTH = 256  # principal components that heads and graphs work on
NAMES = {"paws": "PAWS", "knn": "nearest neighbours", "logistic": "logistic regression"} | {m: m for m in METHODS}

Progress = Callable[[str, float], None]  # what is being done, and the share of it that is done


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
    curves: list[dict[str, Any]]  # rows as in metrics.jsonl


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
    device: str = "cpu",
    progress: Progress | None = None,
) -> Fitted:
    """Fit a classifier of C ``classes`` on cached views (N, V, D) with labels (N,), -1 where unlabelled.

    Args:
        views: float16 or float32 array, memory map or tensor; view 0 is the plain one. One view is enough.
        model: "auto" takes what predicts held-out labels best; or "paws", or the name of a baseline.
        prior: class frequencies that me-max expects: None or "uniform", "labels", or one number a class.
        accuracy: what predictions above the classifier's threshold should reach.
        test: features (T, D) and labels (T,) to report on; nothing is chosen by them.
        progress: called with what is being done and the share of it that is done.

    Raises:
        InputError: fewer than two classes, a class without a label, an unknown model or prior.
    """
    labels = torch.as_tensor(labels, dtype=torch.int64)
    _check(views, labels, classes, model)
    tell = progress or (lambda what, share: None)
    frequencies = class_prior(prior, labels, len(classes))
    tell("standardising", 0.0)
    space = fit_space(views, WIDTH, seed=seed)
    projected = space.project(views)
    labelled = (labels >= 0).nonzero().flatten()  # (S,)
    support, truth = rows(views, labelled)[:, 0].float(), labels[labelled]
    count = fold_count(truth)
    fold = folds(truth, max(1, count), seed)
    held = (fold >= 0).nonzero().flatten() if count else torch.empty(0, dtype=torch.int64)
    curves: list[dict[str, Any]] = []
    settings = HeadSettings()
    graph = SpreadGraph(views, labels, space, seed=seed)

    def rule_of(method: str, left_out: Tensor, final: bool) -> Rule:
        seen = torch.ones(len(truth), dtype=torch.bool)
        seen[left_out] = False
        known = torch.full_like(labels, -1)
        known[labelled[seen]] = truth[seen]
        if method == "PAWS":
            head = train_head(
                projected,
                known,
                len(classes),
                settings,
                seed=seed,
                prior=frequencies,
                device=device,
                listener=curves.append if final else None,
            )
            return SoftVote([head.cpu()], settings.temperature, space.projection())
        return fit_baseline(method, space.standardise(support[seen]), truth[seen], known, len(classes), graph)

    held_out: dict[str, Tensor] = {}
    for i, method in enumerate(METHODS):
        tell(f"cross-validating {method}", i / len(METHODS))
        found = torch.zeros(len(truth), len(classes))
        for f in range(count):
            out = (fold == f).nonzero().flatten()
            if len(out):
                found[out] = _vote(
                    rule_of(method, out, False), space, support[out], support[fold != f], truth[fold != f], len(classes)
                )
        held_out[method] = found
    rules = {method: rule_of(method, torch.empty(0, dtype=torch.int64), True) for method in METHODS}
    classifiers = {
        method: Classifier(
            classes,
            method,
            rules[method],
            space.mean,
            space.scale,
            support,
            truth,
            calibration=fit_exponent(held_out[method][held], truth[held]) if len(held) else 1.0,
        )
        for method in METHODS
    }
    scores = []
    for method, classifier in classifiers.items():
        row = score(method, held_out[method][held], truth[held], asdict(settings) if method == "PAWS" else {})
        if test is not None:
            predicted = classifier.votes(test[0]).probabilities.argmax(1)
            row = replace(row, test=float((predicted == test[1]).double().mean()))
        scores.append(row)
    scores.sort(key=lambda row: -row.accuracy)
    chosen, reason = _choose(scores, model, single=not len(held))
    classifier = classifiers[chosen]
    found = calibrated(held_out[chosen], float(classifier.calibration))
    loo = classifier.leave_one_out()
    found[fold < 0] = loo[fold < 0]
    predicted = torch.cat(
        [classifier.votes(rows(views, part)[:, 0]).probabilities for part in torch.arange(len(views)).split(4096)]
    )
    confidence, guess = found[held].max(1)
    known = len(held) >= 30
    classifier.threshold.fill_(
        fit_threshold(confidence, guess == truth[held], accuracy)
        if known
        else fit_threshold(predicted.max(1).values, None, accuracy)
    )
    agreement = 1.0
    if views.shape[1] > 1:
        sample = torch.arange(min(len(views), 2000))
        second = classifier.votes(rows(views, sample)[:, 1]).probabilities.argmax(1)
        agreement = float((second == predicted[sample].argmax(1)).double().mean())
    return Fitted(classifier, tuple(scores), chosen, reason, found, agreement, asdict(settings), curves)


def _vote(rule: Rule, space: Space, queries: Tensor, support: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    with torch.inference_mode():
        labels = one_hot(truth, num_classes).float()
        return rule(space.standardise(queries), space.standardise(support), labels)[0]


def _choose(scores: list[Score], model: str, *, single: bool) -> tuple[str, str]:
    if model != "auto":
        return NAMES[model], "it was asked for"
    if single:
        return "PAWS", "every class has a single label, so none can be held out to compare the methods"
    best = scores[0]
    ours = next(row for row in scores if row.method == "PAWS")
    if best.accuracy > ours.accuracy:
        return best.method, f"{best.method} predicts {best.accuracy:.1%} of the held-out labels, PAWS {ours.accuracy:.1%}"
    return "PAWS", f"PAWS predicts {ours.accuracy:.1%} of the held-out labels, no baseline more"


def _check(views: Views, labels: Tensor, classes: Sequence[str], model: str) -> None:
    if len(classes) < 2:
        raise InputError(f"{len(classes)} class(es) labelled; at least two are needed")
    if len(labels) != len(views):
        raise InputError(f"{len(labels)} labels for {len(views)} images")
    counts = torch.bincount(labels[labels >= 0], minlength=len(classes))
    if len(counts) > len(classes) or not bool(counts.all()):
        raise InputError(f"labels must cover exactly the classes 0 to {len(classes) - 1}; counts are {counts.tolist()}")
    if model != "auto" and model not in NAMES:
        raise InputError(f"model {model!r} is not one of auto, {', '.join(NAMES)}")
