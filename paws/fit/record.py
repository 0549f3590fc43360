"""What a fit found, as it stands in fit.json: every figure with what it was measured on, and the words for it.

The command line, the page and the files take their sentences from here (`describe`, `verdict`, `notes`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paws.data.texts import from_json
from paws.errors import InputError
from paws.runs.files import write_text

RECORD, FILES, HELD_OUT, PREDICTIONS = "fit.json", "files.json", "held_out.csv", "predictions.csv"
PREVIOUS, LABELS = "bundle.previous", "labels.csv"  # what paws labels leaves: the former bundle, all labels of now
CHANGED = "changed"  # what paws labels is about to put in place
PREDICTED = ".predictions.sha256"  # the checksum of the predictions
CHECKED, FEATURES, BUNDLE = "checked.json", "features", "bundle"
OWN = (
    RECORD,
    FILES,
    HELD_OUT,
    PREDICTIONS,
    PREDICTED,
    CHECKED,
    FEATURES,
    BUNDLE,
    PREVIOUS,
    LABELS,
    CHANGED,
    "metrics.jsonl",
    "metrics.csv",
    "report.html",
    "training",
    "finetuned",  # of former versions
)
VERSION: Literal[3] = 3  # of fit.json; 2 knew a network trained on all labels; 1 had no version and no provenance

HELD_OUT_COLUMNS = ("file", "label", "predicted", "probability", "provenance")
SHOWN = 12  # classes, images or pairs named in a sentence
SAME = 1e-6  # how far even frequencies may be apart

Provenance = Literal["cross_validated", "seen_in_training", "before_relabelling", "none"]
Images = Literal["labelled", "test", "all"]

IMAGES: dict[Images, str] = {"labelled": "labelled images", "test": "images with test labels", "all": "images"}
PROVENANCE: dict[Provenance, str] = {
    "cross_validated": ", by models that did not see their labels",
    "seen_in_training": ", which training has seen",
    "before_relabelling": ", before labels were changed",
    "none": "",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Part):
    """A number in [0, 1] with what it was measured on; ``value`` is None where nothing could be measured.

    ``provenance``: "cross_validated", the labels it was held against were not shown to the models that predicted them (the
    fold or the image was left out, or they are test labels); "seen_in_training", they were; "before_relabelling", labels have
    been changed since; "none", no label tells of it.
    """

    value: float | None = Field(default=None, ge=0, le=1)
    provenance: Provenance = "none"
    count: int = Field(default=0, ge=0)  # images it was measured on
    images: Images = "labelled"
    interval: tuple[float, float] | None = None  # 95 %, Wilson

    def before_relabelling(self) -> Figure:
        """The same figure after labels were changed."""
        return self if self.provenance == "none" else self.model_copy(update={"provenance": "before_relabelling"})


class Score(_Part):
    """The accuracy of one method: on the labelled images, and on test labels where there are any."""

    method: str  # its name in the table of classifiers
    accuracy: Figure = Figure()
    test: Figure = Figure(images="test")


class Bin(_Part):
    """Predictions whose confidence lies in [low, high): how many, their mean confidence and the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


class Calibration(_Part):
    """Expected calibration error of the method in use (15 bins, arXiv 1706.04599, eq. 5), and its reliability diagram."""

    error: Figure = Figure()
    bins: tuple[Bin, ...] = ()


class NearCopy(_Part):
    """Two images with labels that look almost the same, though their bytes differ."""

    files: tuple[str, str]
    labels: tuple[str, str]
    across: bool  # one is labelled for training and the other for the test


class FitRecord(_Part):
    """The whole of fit.json. Its schema is described in docs/reference.md."""

    version: Literal[3] = VERSION
    key: str | None  # names everything the fit depends on; None once labels were changed by hand
    images: str  # folder
    labels: str | None  # file of labels; None where sub-folders are the classes
    settings: dict[str, Any]  # the options of paws fit
    backbone: dict[str, Any]
    head: dict[str, Any]  # how the heads were trained
    classes: tuple[str, ...]
    counts: dict[str, int]  # labelled images of each class
    image_count: int
    label_count: int
    labels_changed: int = 0  # by paws labels, since training
    unreadable: dict[str, str] = {}  # file -> why it was left out
    near_copies: tuple[NearCopy, ...] = ()  # among labelled and test images
    scores: tuple[Score, ...]  # the most accurate first
    chosen: str  # name of the method in use
    frequencies: dict[str, float] = {}  # of the classes in the pool, as they are taken to be
    weights: dict[str, float] = {}  # of the methods in the combination, by name
    never_judged: tuple[str, ...] = ()  # classes with no label that could be held out
    view_agreement: Figure = Figure(images="all")  # share of images that a head of PAWS predicts alike from another view
    threshold: Figure  # probability below which the classifier abstains
    calibration: Calibration = Calibration()
    test_calibration: Calibration = Calibration(error=Figure(images="test"))
    seconds: dict[str, float] = {}  # of each step
    versions: dict[str, str]

    @property
    def score(self) -> Score:
        """That of the method in use."""
        return next((row for row in self.scores if row.method == self.chosen), Score(method=self.chosen))

    @property
    def headline(self) -> Figure:
        """Its accuracy on test labels where there are any, else on the labelled images."""
        return self.score.accuracy if self.score.test.value is None else self.score.test


def describe(figure: Figure) -> str:
    """What a figure was measured on, e.g. "100 labelled images, by models that did not see their labels"."""
    return f"{figure.count:,} {IMAGES[figure.images]}{PROVENANCE[figure.provenance]}"


def accuracy_sentence(record: FitRecord) -> str:
    """The accuracy of the method in use: on test labels where there are any, else on the labelled images."""
    figure = record.headline
    return "no accuracy can be stated" if figure.value is None else f"{figure.value:.1%} right on {describe(figure)}"


def verdict(record: FitRecord, titles: dict[str, str]) -> str:
    """Why the method in use is used, in one sentence; ``titles`` by method."""
    title = titles[record.chosen]
    if record.labels_changed:
        return f"{title} was chosen before labels were changed."
    if record.settings.get("model", "auto") != "auto":
        return f"{title} was asked for."
    parts = ", ".join(f"{titles[name]} {weight:.2f}" for name, weight in record.weights.items())
    made_of = f"Weights of the methods: {parts}, "
    own = record.score.accuracy
    others = [row for row in record.scores if row.method != record.chosen and row.accuracy.value is not None]
    if own.value is None or not others:
        return made_of + "fixed beforehand, as every class has a single label and none can be held out."
    best = max(others, key=lambda row: row.accuracy.value or 0.0)
    how = "fixed beforehand, as not every class can be held out" if record.never_judged else "fitted to held-out labels"
    return (
        f"{made_of}{how}. It names {own.value:.1%} of {own.count} held-out labels rightly, "
        f"the best single method, {titles[best.method]}, {best.accuracy.value or 0:.1%}."
    )


def frequencies_sentence(record: FitRecord) -> str:
    """How often each class is taken to be among the images, the most frequent first; empty where that was not noted."""
    asked, shares = record.settings.get("prior", "estimate"), record.frequencies.values()
    if asked == "estimate" and shares and max(shares) - min(shares) < SAME:
        asked = "uniform"  # nothing spoke for others
    how = {"estimate": "estimated", "uniform": "taken to be even", "labels": "as among the labels"}.get(str(asked), "as given")
    order = sorted(record.frequencies.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {share:.0%}" for name, share in order[:SHOWN])
    return f"class frequencies, {how}: {shown}{', …' if len(order) > SHOWN else ''}" if order else ""


def notes(record: FitRecord) -> list[str]:
    """What a reader must know before trusting the figures of a record."""
    found = []
    if record.score.accuracy.value is None and record.score.test.value is None:
        found.append("Every class has a single label, so none could be held out and no accuracy can be stated.")
    elif record.never_judged:
        count, names = len(record.never_judged), ", ".join(record.never_judged[:SHOWN])
        more = ", …" if count > SHOWN else ""
        found.append(
            f"{count} of {len(record.classes)} classes ({names}{more}) have no label that can be held out: the accuracy does "
            "not tell of them, no method was preferred by it, and no prediction is kept as sure."
        )
    if encoders := record.head.get("encoders"):
        found.append(f"{encoders['count']} encoders were trained on the pixels: {encoders['why']}.")
    if record.labels_changed:
        found.append(f"{record.labels_changed} labels were changed since training. Measured before: {_outdated(record)}.")
    if record.unreadable:
        found.append(f"{len(record.unreadable)} files of the folder could not be read and were left out.")
    return found + _near_copies(record.near_copies)


def _near_copies(pairs: tuple[NearCopy, ...]) -> list[str]:
    """How many images look almost the same, and what is wrong with their labels."""
    across = sum(pair.across for pair in pairs)
    named = ", ".join(" and ".join(pair.files) for pair in pairs[:SHOWN]) + (", …" if len(pairs) > SHOWN else "")
    other = [pair for pair in pairs if pair.labels[0] != pair.labels[1]]
    told = "; ".join(
        f"{a} is {one!r} and {b} is {two!r}" for (a, b), (one, two) in ((p.files, p.labels) for p in other[:SHOWN])
    )
    found = [f"{len(pairs)} pairs of labelled images look almost the same and flatter the accuracy: {named}."] if pairs else []
    if across:
        found.append(f"{across} of these pairs are a test image and a labelled one: the test figure flatters.")
    if other:
        found.append(f"{len(other)} of these pairs have two labels: {told}{'; …' if len(other) > SHOWN else ''}.")
    return found


def _outdated(record: FitRecord) -> str:
    """The figures that were measured before labels were changed."""
    own = record.score
    parts = {
        "accuracy": [own.accuracy],
        "test accuracy": [own.test],
        "calibration": [record.calibration.error, record.test_calibration.error],
        "threshold": [record.threshold],
        "views": [record.view_agreement],
        "the other methods": [figure for row in record.scores if row != own for figure in (row.accuracy, row.test)],
    }
    outdated = [part for part, figures in parts.items() if any(f.provenance == "before_relabelling" for f in figures)]
    return ", ".join(outdated) or "nothing"


def read_record(folder: Path) -> FitRecord:
    """The record of a fit.

    Raises:
        InputError: there is none, it is damaged, or another version of paws wrote it.
    """
    path = folder / RECORD
    try:
        found = from_json(path.read_bytes())
        version = found.get("version", 1)
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no finished fit (no {RECORD}); run paws fit") from None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as the record of a fit ({error}); run the same paws fit again") from None
    if version != VERSION:
        raise InputError(
            f"{path}: is of format {version}, and this version of paws reads {VERSION}; "
            "run the same paws fit again, which keeps the features"
        )
    try:
        return FitRecord.model_validate_json(json.dumps(found), strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()[:3])
        raise InputError(f"{path}: damaged ({wrong}); run the same paws fit again") from None


def write_record(folder: Path, record: FitRecord) -> None:
    """Write fit.json, whole or not at all: with it the fit is there."""
    write_text(folder / RECORD, json.dumps(record.model_dump(mode="json"), indent=1) + "\n")
