"""The predictor in use, and what each of them is worth on labels that it has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from paws import classifiers
from paws.errors import InputError
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
        InputError: there is no such predictor, or none that stands alone.
    """
    if model == "auto":
        return None
    found = classifiers.predictor(model)
    if found.name not in classifiers.table():
        raise InputError(f"model {model!r} is part of the combination that --train makes; leave out --model")
    return found.name
