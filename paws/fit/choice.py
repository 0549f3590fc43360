"""What is chosen without any label that a model has seen: the predictor in use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from paws import classifiers
from paws.config.options import PREFERRED
from paws.metrics import accuracy, wilson_interval


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


def choose(right: Mapping[str, Tensor], requested: str | None) -> str:
    """The predictor in use, from which held-out labels (S,) bool each predicted rightly.

    Another one has to beat `PREFERRED` by more than two standard errors of the difference: there are several that may do so by
    chance, and the labels of a fold are predicted by few of PAWS's heads, all of which vote in the end.
    """
    ours, count = right[PREFERRED], len(right[PREFERRED])
    if requested is not None or not count:
        return requested or PREFERRED
    best = max(right, key=lambda name: int(right[name].sum()))
    difference = right[best].double() - ours.double()  # (S,) in {-1, 0, 1}
    error = float(difference.std()) / math.sqrt(count) if count > 1 else math.inf
    ahead = float(right[best].double().mean()) - float(ours.double().mean())
    return best if ahead > 2 * error else PREFERRED
