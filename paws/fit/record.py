"""The folder of a fit: what it holds, and reading it back."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paws.bundle.bundle import Bundle, load_bundle
from paws.bundle.table import DIGITS, FIT_COLUMNS, Prediction, read_table, write_rows
from paws.data.folder import FileSet
from paws.data.images import read_image
from paws.errors import InputError
from paws.metrics import calibration_error, reliability
from paws.runs.files import write_text, writing
from paws.runs.log import Metrics

if TYPE_CHECKING:
    from paws.fit.fit import Fitted

RECORD, FILES, HELD_OUT, PREDICTIONS = "fit.json", "files.json", "held_out.csv", "predictions.csv"
PREVIOUS, LABELS = "bundle.previous", "labels.csv"  # what paws labels leaves: the former bundle, all labels of now
STORE = ("views.f16", "done.u8", "views.json")  # in the folder of features
CHECKED, FEATURES, BUNDLE = "checked.json", "features", "bundle"
OWN = (
    RECORD,
    FILES,
    HELD_OUT,
    PREDICTIONS,
    CHECKED,
    FEATURES,
    BUNDLE,
    PREVIOUS,
    LABELS,
    "metrics.jsonl",
    "metrics.csv",
    "report.html",
    "finetuned",
)


@dataclass(frozen=True)
class FitRun:
    """A finished fit. N images of the folder, K random views, D features, S labelled images, C classes."""

    folder: Path
    record: dict[str, Any]  # fit.json: settings, counts, scores, calibration, seconds of each step, versions
    files: tuple[str, ...]  # (N) names relative to ``root``, in the order of all rows
    labels: Tensor  # (N,) int64 labels that the user gave, -1 elsewhere

    @property
    def root(self) -> Path:
        """The folder of the images."""
        return Path(self.record["images"])

    @cached_property
    def features(self) -> np.memmap:
        """(N, 1 + K, D) float16, view 0 is the plain one; read from disk as it is used."""
        shape = json.loads((self.folder / FEATURES / STORE[2]).read_text(encoding="utf-8"))["shape"]
        return np.memmap(self.folder / FEATURES / STORE[0], np.float16, "r", shape=tuple(shape))

    @property
    def plain(self) -> Tensor:
        """(N, D) float32 features of the plain views."""
        return torch.from_numpy(np.array(self.features[:, 0])).float()

    @cached_property
    def bundle(self) -> Bundle:
        """The classifier and its backbone."""
        return load_bundle(self.folder / BUNDLE)

    @cached_property
    def predictions(self) -> list[dict[str, str]]:
        """The rows of predictions.csv, one for each of ``files``."""
        return read_table(self.folder / PREDICTIONS)

    @cached_property
    def held_out(self) -> list[dict[str, str]]:
        """The rows of held_out.csv: file, label, predicted, probability of every labelled image."""
        return read_table(self.folder / HELD_OUT)

    def image(self, row: int) -> Image.Image:
        """The image ``row`` upright in RGB, large ones reduced."""
        return Image.fromarray(read_image(self.root / self.files[row]).permute(1, 2, 0).numpy())


def load_fit(folder: str | Path) -> FitRun:
    """The fit in a folder.

    Raises:
        InputError: the folder holds no finished fit.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files = json.loads((folder / FILES).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: holds no finished fit (no {Path(str(error.filename)).name}); run paws fit") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: its record cannot be read: {error}") from None
    if not (folder / PREDICTIONS).is_file():
        raise InputError(f"{folder}: its fit did not come to an end (no {PREDICTIONS}); run the same paws fit again")
    return FitRun(folder, record, tuple(files["names"]), torch.tensor(files["labels"], dtype=torch.int64))


def write_held_out(folder: Path, files: FileSet, fitted: Fitted) -> None:
    """held_out.csv: every labelled image with what models that did not see its label predict."""
    rows = (files.labels >= 0).nonzero().flatten().tolist()
    confidence, predicted = fitted.held_out.max(1)
    text = io.StringIO()
    write_rows(
        text,
        (
            {"file": files.names[row], "label": files.classes[int(y)], "predicted": files.classes[p], "probability": f"{c:.4f}"}
            for row, y, p, c in zip(rows, files.labels[rows], predicted.tolist(), confidence.tolist(), strict=True)
        ),
        ("file", "label", "predicted", "probability"),
    )
    write_text(folder / HELD_OUT, text.getvalue())


def write_metrics(folder: Path, fitted: Fitted) -> None:
    """metrics.jsonl and metrics.csv: the training of the head."""
    metrics = Metrics(folder)
    for row in fitted.curves:
        metrics.write(row)
    metrics.close()


def write_predictions(folder: Path, predictions: Iterable[Prediction], given: Sequence[str]) -> int:
    """predictions.csv, whole or not at all, with the label ``given`` to each image, "" where there is none.

    Returns how many images the classifier abstains from.
    """
    abstained = 0
    with writing(folder / PREDICTIONS, text=True) as file:
        write_rows(file, [], FIT_COLUMNS)
        for prediction, label in zip(predictions, given, strict=True):
            abstained += prediction.abstain
            write_rows(file, [prediction.row(given=label)], FIT_COLUMNS, header=False)
    return abstained


def write_record(folder: Path, *, files: FileSet, fitted: Fitted, about: dict[str, Any]) -> None:
    """files.json, then fit.json: with it the fit is there."""
    write_text(folder / FILES, json.dumps({"names": list(files.names), "labels": files.labels.tolist()}))
    labels = files.labels[files.labels >= 0]
    confidence, predicted = fitted.held_out.max(1)
    scores = [{**asdict(s), "accuracy": None if math.isnan(s.accuracy) else s.accuracy} for s in fitted.scores]
    whole = {
        **about,
        "classes": list(files.classes),
        "image_count": len(files),
        "label_count": len(labels),
        "scores": scores,
        "chosen": fitted.chosen,
        "reason": fitted.reason,
        "agreement": fitted.agreement,
        "head": fitted.settings,
        "threshold": round(float(fitted.classifier.threshold), DIGITS),
        "calibration": {
            "measured_on": "labelled images, by models that did not see their labels",
            "error": calibration_error(confidence, predicted == labels),
            "bins": [asdict(found) for found in reliability(confidence, predicted == labels)],
        },
        "versions": {name: version(name) for name in ("paws-ssl", "torch", "timm", "onnxruntime", "scikit-learn")},
    }
    write_text(folder / RECORD, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
