"""What a report page shows, as plain arrays: filled from a fit or from a training run, drawn by `paws.report.page`.

N images of the gallery, C classes, k nearest labelled images. A part that a run does not have is None or empty, and the page
leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from paws.metrics import Bin

Interval = tuple[float, float]


@dataclass(frozen=True)
class Headline:
    """The one figure the page opens with: a share in [0, 1], its 95 % interval, and the text that goes on from it."""

    value: float
    interval: Interval | None
    text: str


@dataclass(frozen=True)
class MethodBar:
    """A method in the comparison: share right in [0, 1] with its 95 % interval; ``test`` on labels given for testing.

    ``note`` says what its accuracy was measured on where that is not what the others' was.
    """

    method: str
    accuracy: float
    interval: Interval | None
    chosen: bool = False
    test: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Evaluated:
    """Predictions held against labels.

    ``truth`` and ``predicted`` int64 (M,) class ids, ``confidence`` (M,) probability of the predicted class; ``on`` names
    the images, e.g. "450 images of the test split".
    ``calibration_error`` and the ``bins`` of the reliability diagram are measured on the same.
    """

    truth: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    on: str
    calibration_error: float
    bins: Sequence[Bin]


@dataclass(frozen=True)
class Gallery:
    """The images that the map and the wall show, a bounded sample of the run's.

    ``given`` (N,) label that the model knows, ``truth`` (N,) label known to us alone, both -1 where unknown; ``predicted``,
    ``probability``, ``abstains``, ``unfamiliar``, ``none`` (N,), the probability of belonging to no class, None where nothing
    tells of it; ``neighbours`` (N, k) positions in this gallery and ``weights`` (N, k) their share of the vote (None where they
    are only the nearest); ``embedding`` (N, P) what the model compares; ``open(i)`` gives the picture or raises InputError.
    """

    names: list[str]
    given: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    embedding: np.ndarray
    open: Callable[[int], Image.Image]
    abstains: np.ndarray | None = None
    unfamiliar: np.ndarray | None = None
    none: np.ndarray | None = None
    neighbours: np.ndarray | None = None
    weights: np.ndarray | None = None
    of: int = 0  # images in the run that the sample stands for

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Listed:
    """An image in a list of things to do: its name, the picture's opener, and cells in the order of the list's columns."""

    name: str
    open: Callable[[], Image.Image]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """A whole page."""

    title: str
    summary: str  # what was run and on what, in one sentence
    classes: tuple[str, ...]
    headline: Headline | None = None
    facts: tuple[tuple[str, str], ...] = ()  # figure and what it counts, beside the headline
    notes: tuple[str, ...] = ()  # what a reader must know before trusting a figure
    bars: tuple[MethodBar, ...] = ()
    measured_on: str = ""  # what the bars' accuracy was measured on
    verdict: str = ""  # why the method in use was chosen
    curves: tuple[dict[str, Any], ...] = ()  # metrics rows
    evaluated: Evaluated | None = None
    threshold: float | None = None  # probability below which the model abstains
    labelled: np.ndarray | None = None  # (C,) labelled images of each class
    shares: np.ndarray | None = None  # (C,) share of each class among the predictions
    gallery: Gallery | None = None
    suspicious: tuple[Listed, ...] = ()
    suggestions: tuple[Listed, ...] = ()
    label_page: str | None = None  # address of the labelling page, where it runs now
    about: dict[str, dict[str, str]] = field(default_factory=dict)  # group -> setting -> value


def written(value: Any) -> str:
    """A setting as a person writes it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {written(part)}" for name, part in value.items() if part is not None) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(written, value)) or "none"
    return "yes" if value is True else "no" if value is False else str(value)
