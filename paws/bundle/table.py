"""Predictions as rows of a CSV file or as JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from paws.classifiers.strangers import STRANGE
from paws.errors import InputError
from paws.runs.files import writing

if TYPE_CHECKING:
    import pandas as pd

NEAREST = 3
SEPARATOR = "; "  # of the classes of a set
DIGITS = 4  # of a probability, as it is written and compared with the threshold
COLUMNS = (
    "file",
    "label",
    "probability",
    "second",
    "second_probability",
    "abstain",
    "set",
    "none",
    "unfamiliar",
    *(f"{name}_{k}" for k in range(1, NEAREST + 1) for name in ("nearest", "weight")),
)
NUMBERS = ("probability", "second_probability", "none", "unfamiliar", *(f"weight_{k}" for k in range(1, NEAREST + 1)))
FIT_COLUMNS = (*COLUMNS, "given")  # given: the label that the user gave, empty for all others
PREDICT_COLUMNS = (*COLUMNS, "error")  # error: why an image could not be read, empty for all others


@dataclass(frozen=True)
class Prediction:
    """What the classifier says of one image; ``label`` is empty and ``error`` says why where it could not be read."""

    file: str
    label: str = ""
    probability: float = 0.0  # calibrated, in [0, 1]
    second: str = ""
    second_probability: float = 0.0
    abstain: bool = True  # the probability is below what reaches the accuracy asked for, or it belongs rather to no class
    classes: tuple[str, ...] = ()  # which hold the true one with the accuracy that was asked for; none where that is not known
    none: float | None = None  # probability that it belongs to no class; None where nothing tells of it
    unfamiliar: float = 0.0  # in [0, 2]: 1 - cosine to the nearest labelled image
    nearest: tuple[tuple[str, float], ...] = ()  # labelled images and their share of the vote, the largest first
    error: str = ""

    def row(self, **more: str) -> dict[str, str]:
        """The columns of a table; numbers with four digits, nothing where the image could not be read."""
        row = {"file": self.file, "error": self.error, **more}
        if self.error:
            return row
        row |= {
            "label": self.label,
            "probability": f"{self.probability:.{DIGITS}f}",
            "second": self.second,
            "second_probability": f"{self.second_probability:.{DIGITS}f}",
            "abstain": "yes" if self.abstain else "no",
            "set": SEPARATOR.join(self.classes),
            "none": "" if self.none is None else f"{self.none:.{DIGITS}f}",
            "unfamiliar": f"{self.unfamiliar:.4f}",
        }
        for k, (file, weight) in enumerate(self.nearest[:NEAREST], 1):
            row |= {f"nearest_{k}": file, f"weight_{k}": f"{weight:.4f}"}
        return row

    def json(self) -> str:
        """One line of JSON; of an image that could not be read, its file and the error."""
        if self.error:
            return json.dumps({"file": self.file, "error": self.error})
        nearest = [{"file": file, "weight": round(weight, 6)} for file, weight in self.nearest]
        about: dict[str, Any] = {"file": self.file, "label": self.label, "probability": round(self.probability, 6)}
        about |= {"second": self.second, "second_probability": round(self.second_probability, 6)}
        about |= {
            "abstain": self.abstain,
            "set": list(self.classes),
            "none": self.none if self.none is None else round(self.none, 6),
        }
        about |= {"unfamiliar": round(self.unfamiliar, 6), "nearest": nearest}
        return json.dumps(about)


def abstains(probability: float, threshold: float, strange: float) -> bool:
    """Whether a classifier with this threshold abstains from an image that is ``strange`` with that probability.

    By the digits that are written.
    """
    return round(probability, DIGITS) < round(threshold, DIGITS) or strange > STRANGE


def write_rows(file: TextIO, rows: Iterable[dict[str, str]], columns: Sequence[str], *, header: bool = True) -> None:
    """Append CSV rows; columns that a row lacks are empty, others are left out."""
    writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
    quoting = csv.DictWriter(file, columns, "", "ignore", lineterminator="\n", quoting=csv.QUOTE_ALL)
    if header:
        writer.writeheader()
    for row in rows:  # csv quotes a field for its own end of line alone, and reads others as one too
        (quoting if any("\r" in value for value in row.values()) else writer).writerow(row)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table. Raises InputError where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of predictions: {error}") from None


def write_new_table(path: Path, rows: Iterable[dict[str, str]], columns: Sequence[str]) -> None:
    """Write a table that a person is going to work on, whole or not at all.

    Raises:
        InputError: ``path`` exists, as somebody may have worked on it, or cannot be written.
    """
    with writing(path, text=True, new=True) as file:
        write_rows(file, rows, columns)


def to_frame(predictions: Sequence[Prediction]) -> pd.DataFrame:
    """A pandas DataFrame with the columns of a table; numbers and ``abstain`` are numbers and bools.

    Raises:
        InputError: pandas is not installed.
    """
    rows = []
    for p in predictions:
        row: dict[str, Any] = {"file": p.file, "label": p.label, "probability": p.probability, "second": p.second}
        row |= {"second_probability": p.second_probability, "abstain": p.abstain, "set": SEPARATOR.join(p.classes)}
        row |= {"none": p.none, "unfamiliar": p.unfamiliar}
        for k, (file, weight) in enumerate(p.nearest[:NEAREST], 1):
            row |= {f"nearest_{k}": file, f"weight_{k}": weight}
        rows.append(row)
    return _pandas().DataFrame(rows, columns=list(COLUMNS))


def rows_to_frame(rows: Sequence[dict[str, str]]) -> pd.DataFrame:
    """`to_frame` of the rows of a table that was written, with the columns that it has.

    Raises:
        InputError: pandas is not installed.
    """
    frame = _pandas().DataFrame(list(rows))
    for name in NUMBERS:
        frame[name] = [float(text) if text else None for text in frame[name]]
    frame["abstain"] = frame["abstain"] == "yes"
    return frame


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise InputError("a table as a DataFrame needs pandas: pip install 'paws-ssl[pandas]'") from None
    return pd
