"""Class probabilities from features: one file a predictor, calibration, and the problem that they are fitted to.

`known` holds every predictor by its name: those of this package, and each subclass of `paws.classifiers.base.Predictor` that is
defined elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from paws.errors import InputError

if TYPE_CHECKING:
    from paws.classifiers.base import Predictor

BUILT_IN = (
    "combination",
    "paws_ensemble",
    "trained_encoders",
    "nearest_neighbours",
    "logistic_regression",
    "label_spreading",
    "soft_nearest_neighbours",
    "poisson",
    "poisson_mbo",
)


def known() -> dict[str, type[Predictor]]:
    """Every predictor by its name: those of this package in the order of ``BUILT_IN``, then others as they were defined."""
    from paws.classifiers.base import TABLE

    place = {import_module(f"paws.classifiers.{module}").__name__: i for i, module in enumerate(BUILT_IN)}
    return {each.name: each for each in sorted(TABLE.values(), key=lambda each: place.get(each.__module__, len(place)))}


def table() -> dict[str, type[Predictor]]:
    """Those that features are enough for, without encoders that were trained on the images."""
    return {name: each for name, each in known().items() if each.reads != "encoders"}


def predictor(name: str) -> type[Predictor]:
    """The predictor of a name, a title or an alias.

    Raises:
        InputError: there is none; the names are listed.
    """
    for each in known().values():
        if name in (each.name, each.title, *each.aliases):
            return each
    raise InputError(f"model {name!r} is not one of auto, {', '.join(table())}")
