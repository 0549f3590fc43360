"""The tables that a fit writes into its folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.bundle.bundle import Bundle
from paws.bundle.table import FIT_COLUMNS, Prediction, write_rows
from paws.classifiers.base import Near
from paws.classifiers.strangers import STRANGE
from paws.fit.record import FILES, HELD_OUT, HELD_OUT_COLUMNS, PREDICTED, PREDICTIONS
from paws.runs.files import write_text, writing
from paws.runs.log import Metrics

CHUNK = 512  # images predicted at a time


def write_files(
    folder: Path,
    names: Sequence[str],
    labels: Sequence[int],
    folds: Sequence[int | None],
    groups: Sequence[int],
    test: Mapping[str, str],
) -> None:
    """files.json: all N images with their labels, the folds of the labels that training has seen, groups of copies, and the
    labels of ``--test`` by the image's name."""
    found = {"names": list(names), "labels": list(labels), "folds": list(folds), "groups": list(groups), "test": dict(test)}
    write_text(folder / FILES, json.dumps(found))


def write_held_out(
    folder: Path, files: Sequence[str], labels: Sequence[str], predicted: Sequence[tuple[str, float, str]]
) -> None:
    """held_out.csv: every labelled image with its label and what was ``predicted``: class, probability, provenance."""
    text = io.StringIO()
    rows = (
        dict(zip(HELD_OUT_COLUMNS, (file, label, name, f"{probability:.4f}", provenance), strict=True))
        for file, label, (name, probability, provenance) in zip(files, labels, predicted, strict=True)
    )
    write_rows(text, rows, HELD_OUT_COLUMNS)
    write_text(folder / HELD_OUT, text.getvalue())


def write_metrics(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """metrics.jsonl and metrics.csv: the training of the heads, or of the whole network."""
    metrics = Metrics(folder)
    for row in rows:
        metrics.write(row)
    metrics.close()


def predicted(
    bundle: Bundle,
    names: Sequence[str],
    features: np.memmap,
    advance: Callable[[int], None] = lambda count: None,
    near: Near | None = None,
) -> Iterator[Prediction]:
    """Predictions of images from their features in all views (N, V, D), and the nearest of the pool where they are known."""
    for start in range(0, len(names), CHUNK):
        rows = slice(start, start + CHUNK)
        part = torch.from_numpy(np.array(features[rows])).float()  # (n, V, D)
        yield from bundle.predict_features(names[rows], part, None if near is None else (near[0][rows], near[1][rows]))
        advance(len(part))


def write_predictions(folder: Path, predictions: Iterable[Prediction], given: Sequence[str]) -> tuple[int, int]:
    """predictions.csv, whole or not at all, with the label ``given`` to each image, "" where there is none.

    Returns how many images the classifier abstains from, and how many without a label belong rather to no class.
    """
    abstained = strange = 0

    def rows() -> Iterator[dict[str, str]]:
        nonlocal abstained, strange
        for prediction, label in zip(predictions, given, strict=True):
            abstained += prediction.abstain
            strange += not label and (prediction.none or 0) > STRANGE
            yield prediction.row(given=label)

    with writing(folder / PREDICTIONS, text=True) as file:
        write_rows(file, rows(), FIT_COLUMNS)
    write_text(folder / PREDICTED, f"{_sha256(folder / PREDICTIONS)}  {PREDICTIONS}\n")
    return abstained, strange


def has_predictions(folder: Path) -> bool:
    """Whether predictions.csv is there as it was written."""
    try:
        return (folder / PREDICTED).read_text(encoding="utf-8").split()[:1] == [_sha256(folder / PREDICTIONS)]
    except (OSError, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
