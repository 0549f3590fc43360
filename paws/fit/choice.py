"""What is chosen without any label that a model has seen: settings, heads, and the method in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from paws.classifiers.compare import BASELINES, SpreadGraph
from paws.classifiers.ensemble import Member
from paws.classifiers.heads import HeadSettings
from paws.classifiers.problem import Problem
from paws.classifiers.rules import floor
from paws.errors import InputError

WIDTH = 256  # principal components of the features that heads start from
MANY = 6  # labels a class from which on the labelled images make up half of the pool
SUREST = 40  # images a class, at most, that LabelSpreading adds to the supports of training where labels are few
SHARE = 0.1  # of the images of an even class that it may add
METHODS = ("PAWS", *BASELINES)
SHORT = {"paws": "PAWS", "knn": "nearest neighbours", "logistic": "logistic regression", "spreading": "LabelSpreading"}


def method_named(model: str) -> str | None:
    """The method that an option names, in full or in short; None for "auto".

    Raises:
        InputError: there is no such method.
    """
    if model == "auto":
        return None
    name = SHORT.get(model, model)
    if name not in METHODS:
        raise InputError(f"model {model!r} is not one of auto, {', '.join([*SHORT, *METHODS])}")
    return name


def settings_for(problem: Problem, settings: HeadSettings) -> HeadSettings:
    """How heads are trained: many labels are seen more often, single views are told apart by dropout, many classes by a lower
    temperature.

    None of it happens where ``settings`` ask for something of the kind already.
    """
    if _many(problem) and not settings.label_share:
        settings = replace(settings, label_share=0.5)
    if problem.projected.shape[1] == 1 and not (settings.dropout or settings.noise):
        settings = replace(settings, dropout=0.3)
    if settings.temperature == HeadSettings.temperature:
        settings = replace(settings, temperature=temperature_for(len(problem.classes)))
    return settings


def temperature_for(num_classes: int) -> float:
    """The temperature of heads: that of the defaults up to ten classes, and lower for more.

    Among many classes the vote on the right one is diluted by what the temperature leaves to each of the others
    (`paws.classifiers.rules.floor`); all together they get what nine others get at the default.
    """
    most = HeadSettings.temperature
    left = 9 * floor(10, most)
    return min(most, num_classes / (num_classes - 1) / math.log((num_classes - 1) * (1 - left) / left))


def filler_for(problem: Problem, graph: SpreadGraph) -> Callable[[Tensor], Tensor] | None:
    """Where labels are few: adds those (N,) of the images that LabelSpreading is surest of. Supports of training only."""
    num_classes = len(problem.classes)
    count = min(SUREST, int(SHARE * len(problem.labels) / num_classes))
    return None if _many(problem) or not count else lambda labels: graph.surest(labels, num_classes, count)


def _many(problem: Problem) -> bool:
    return len(problem.truth) >= MANY * len(problem.classes)


def steadiest(members: Sequence[Member]) -> list[Member]:
    """The half of the heads whose views agree most."""
    order = sorted(members, key=lambda member: -member.agreement)
    return order[: -(-len(order) // 2)]


def choose(right: Mapping[str, Tensor], asked: str | None, agreement: float) -> tuple[str, str]:
    """The method in use and one sentence why, from which held-out labels (S,) bool each method named rightly.

    A baseline has to beat PAWS by more than two standard errors of the difference: there are several that may do so by chance,
    and the labels of a fold are judged by few of PAWS's heads, all of which vote in the end.
    """
    if asked is not None:
        return asked, f"{asked} was asked for."
    ours, count = right["PAWS"], len(right["PAWS"])
    if not count:
        return "PAWS", (
            "Every class has a single label, so none can be held out to compare the methods; PAWS's heads were chosen by how "
            f"well two views of an image agree ({agreement:.0%} do)."
        )
    best = max(right, key=lambda method: int(right[method].sum()))
    share, own = float(right[best].double().mean()), float(ours.double().mean())
    difference = right[best].double() - ours.double()  # (S,) in {-1, 0, 1}
    error = float(difference.std()) / math.sqrt(count) if count > 1 else math.inf
    if share - own > 2 * error:
        return best, f"{best} names {share:.1%} of {count} held-out labels rightly, PAWS {own:.1%}."
    if share > own:
        return "PAWS", (
            f"PAWS names {own:.1%} of {count} held-out labels rightly, {best} {share:.1%}: no more apart than by chance."
        )
    return "PAWS", f"PAWS names {own:.1%} of {count} held-out labels rightly, and no baseline more."
