"""What is chosen without any label that a model has seen: the predictor in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from paws import classifiers
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.metrics import accuracy, wilson_interval

DEFAULT = PawsEnsemble.name  # in use unless another predictor is clearly better


@dataclass(frozen=True)
class Score:
    """Accuracy of a predictor on labelled images that it did not see, in [0, 1], with a 95 % interval."""

    method: str  # its name
    accuracy: float
    low: float
    high: float
    test: float | None = None


def score(method: str, probabilities: Tensor, labels: Tensor, test: float | None = None) -> Score:
    """Accuracy of held-out probabilities (S, C) with Wilson's interval; nan and [0, 1] where there are none."""
    share = accuracy(probabilities, labels) if len(labels) else math.nan
    low, high = wilson_interval(int((probabilities.argmax(1) == labels).sum()), len(labels))
    return Score(method, share, low, high, test)


def predictor_named(model: str) -> str | None:
    """The name of the predictor that an option stands for; None for "auto".

    Raises:
        InputError: there is no such predictor.
    """
    return None if model == "auto" else classifiers.predictor(model).name


def choose(right: Mapping[str, Tensor], requested: str | None, agreement: float) -> tuple[str, str]:
    """The predictor in use and one sentence why, from which held-out labels (S,) bool each predicted rightly.

    Another one has to beat ``DEFAULT`` by more than two standard errors of the difference: there are several that may do so by
    chance, and the labels of a fold are predicted by few of PAWS's heads, all of which vote in the end.
    """
    title = {name: each.title for name, each in classifiers.table().items()}
    if requested is not None:
        return requested, f"{title[requested]} was asked for."
    ours, count = right[DEFAULT], len(right[DEFAULT])
    if not count:
        return DEFAULT, (
            "Every class has a single label, so none can be held out to compare the methods; "
            f"{title[DEFAULT]}'s heads were chosen by how well two views of an image agree ({agreement:.0%} do)."
        )
    best = max(right, key=lambda name: int(right[name].sum()))
    share, own = float(right[best].double().mean()), float(ours.double().mean())
    difference = right[best].double() - ours.double()  # (S,) in {-1, 0, 1}
    error = float(difference.std()) / math.sqrt(count) if count > 1 else math.inf
    if share - own > 2 * error:
        return best, f"{title[best]} names {share:.1%} of {count} held-out labels rightly, {title[DEFAULT]} {own:.1%}."
    said = f"{title[DEFAULT]} names {own:.1%} of {count} held-out labels rightly"
    if share > own:
        return DEFAULT, f"{said}, {title[best]} {share:.1%}: no more apart than by chance."
    return DEFAULT, f"{said}, and no baseline more."
