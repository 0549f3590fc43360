"""What a fit found, as it stands in fit.json: every figure with what it was measured on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paws.classifiers.calibration import NEVER
from paws.data.texts import from_json
from paws.errors import InputError
from paws.runs.files import write_text
from paws.runs.folder import kind_of

RECORD, FILES, HELD_OUT, PREDICTIONS = "fit.json", "files.json", "held_out.csv", "predictions.csv"
PREVIOUS = "bundle.previous"  # the bundle before the last fit or change of labels
LABELS = "labels.csv"  # what paws labels leaves: all labels of now
CHANGED = "changed"  # what a fit or paws labels is about to put in place
PREDICTED = ".predictions.sha256"  # the checksum of the predictions
CHECKED, FEATURES, BUNDLE = "checked.json", "features", "bundle"
RESULTS = (FILES, HELD_OUT, PREDICTIONS, PREDICTED, "metrics.jsonl", "metrics.csv", RECORD)  # that a fit writes beside BUNDLE
OWN = (
    *RESULTS,
    CHECKED,
    FEATURES,
    BUNDLE,
    PREVIOUS,
    LABELS,
    CHANGED,
    "report.html",
    "training",
    "finetuned",  # of former versions
)
VERSION: Literal[3] = 3  # of fit.json; 2 knew a network trained on all labels; 1 had no version and no provenance

HELD_OUT_COLUMNS = ("file", "label", "predicted", "probability", "provenance")

Provenance = Literal["cross_validated", "seen_in_training", "before_relabelling", "none"]
Images = Literal["labelled", "test", "all"]


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

    def before_relabelling(self) -> Self:
        """The same figure after labels were changed."""
        return self if self.provenance == "none" else self.model_copy(update={"provenance": "before_relabelling"})


class Threshold(Figure):
    """A probability below which the classifier abstains; above 1, which none reaches, where nothing is kept as sure."""

    value: float | None = Field(default=None, ge=0, le=NEVER)


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
    """The whole of fit.json. docs/own-images.md describes it."""

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
    contents: str | None = None  # names the bytes of all images in the order of files.json; None: of before that
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
    threshold: Threshold
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


def is_fit(folder: Path) -> bool:
    """Whether ``folder`` is that of a fit, finished or not."""
    return (folder / RECORD).is_file() or kind_of(folder) == "fit"


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
        what = "the same command again goes on" if kind_of(folder) == "fit" else "run paws fit"
        raise InputError(f"{folder}: holds no finished fit (no {RECORD}); {what}") from None
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
