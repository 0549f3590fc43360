"""The folder of a fit, read back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paws.bundle.bundle import Bundle, load_bundle
from paws.bundle.table import read_table, rows_to_frame
from paws.classifiers import known
from paws.data.images import content_of, file_bytes, read_image
from paws.data.texts import from_json
from paws.errors import InputError
from paws.fit.feature_file import read_contents, read_features
from paws.fit.record import (
    BUNDLE,
    CHANGED,
    FEATURES,
    FILES,
    HELD_OUT,
    HELD_OUT_COLUMNS,
    PREDICTIONS,
    PREVIOUS,
    RECORD,
    FitRecord,
    read_record,
)
from paws.fit.sentences import accuracy_sentence
from paws.runs.lock import run_lock
from paws.runs.temporary import remove

if TYPE_CHECKING:
    import pandas as pd

    from paws.data.folder import FileSet


@dataclass(frozen=True, repr=False)
class FitRun:
    """A finished fit. N images of the folder, K random views, D features, S labelled images, C classes."""

    folder: Path
    record: FitRecord
    files: tuple[str, ...]  # (N) names relative to ``root``, in the order of all rows
    labels: Tensor  # (N,) int64 labels that the user gave, -1 elsewhere
    folds: tuple[int | None, ...]  # (N) fold of training, -1 where every model saw the label, None where there was no label
    groups: Tensor  # (N,) int64 the same number for copies of one image
    tested: dict[str, str]  # the labels of ``--test`` by the image's name

    def __repr__(self) -> str:
        record = self.record
        counts = f"{len(self.files):,} images, {record.label_count:,} labels, {len(record.classes)} classes"
        return f"FitRun({self.folder}: {counts}, {titles()[record.chosen]}, {accuracy_sentence(record)})"

    def _repr_html_(self) -> str:
        """The methods and their accuracy, in a notebook."""
        rows = "".join(
            f"<tr><td>{escape(titles()[row.method])}</td><td>{_share(row.accuracy.value)}</td><td>{_share(row.test.value)}</td></tr>"
            for row in self.record.scores
        )
        return f"<p>{escape(repr(self))}</p><table><tr><th>method</th><th>accuracy</th><th>test</th></tr>{rows}</table>"

    @property
    def root(self) -> Path:
        """The folder of the images."""
        return Path(self.record.images)

    @cached_property
    def features(self) -> np.memmap:
        """(N, 1 + K, D) float16, view 0 is the plain one; read from disk as it is used."""
        features = read_features(self.folder / FEATURES, self.record.backbone, self.record.contents)
        if len(features) != len(self.files):
            raise InputError(f"{self.folder / FEATURES}: do not fit {FILES}; run paws fit again")
        return features

    def changed_since(self, rows: Sequence[int]) -> list[int]:
        """Those of the images ``rows`` whose files hold other bytes than when they were fitted; none that is gone."""
        contents = read_contents(self.folder / FEATURES)
        paths = {row: self.root / self.files[row] for row in rows if row < len(contents)}
        return [row for row, path in paths.items() if path.is_file() and content_of(file_bytes(path)) != contents[row]]

    @property
    def plain(self) -> Tensor:
        """(N, D) float32 features of the plain views."""
        return torch.from_numpy(np.array(self.features[:, 0])).float()

    def views(self, rows: Sequence[int]) -> Tensor:
        """(n, 1 + K, D) float32 features of some images in all views."""
        return torch.from_numpy(np.array(self.features[list(rows)])).float()

    @cached_property
    def bundle(self) -> Bundle:
        """The classifier and its backbone."""
        return load_bundle(self.folder / BUNDLE)

    @cached_property
    def predictions(self) -> list[dict[str, str]]:
        """The rows of predictions.csv, one for each of ``files``. Raises InputError where they are not."""
        path = self.folder / PREDICTIONS
        rows = read_table(path)
        damaged = f"{path}: damaged or edited; run the same paws fit again"
        if [row.get("file") for row in rows] != list(self.files):
            raise InputError(damaged)
        try:
            if not all(0 <= float(row["probability"]) <= 1 and row["label"] for row in rows):
                raise InputError(damaged)
        except (KeyError, TypeError, ValueError):
            raise InputError(damaged) from None
        return rows

    def to_frame(self) -> pd.DataFrame:
        """`predictions` as a pandas DataFrame with numbers. Raises InputError as that, or where pandas is not installed."""
        return rows_to_frame(self.predictions)

    @cached_property
    def held_out(self) -> list[dict[str, str]]:
        """The rows of held_out.csv: every labelled image as the other labels have it. Raises InputError where they are not."""
        path = self.folder / HELD_OUT
        rows = read_table(path)
        labelled = {self.files[row] for row in (self.labels >= 0).nonzero().flatten().tolist()}
        columns = set(HELD_OUT_COLUMNS)
        if any(columns - row.keys() or None in row.values() for row in rows) or {row["file"] for row in rows} != labelled:
            raise InputError(f"{path}: damaged or edited; run the same paws fit again")
        return rows

    def test_labels(self, classes: Sequence[str], labels: Tensor) -> Tensor:
        """(N,) ids among ``classes`` of the images that ``--test`` labels and ``labels`` (N,) do not; -1 elsewhere."""
        ids = {name: c for c, name in enumerate(classes)}
        found = torch.tensor([ids.get(self.tested.get(name, ""), -1) for name in self.files], dtype=torch.int64)
        return found.masked_fill(labels >= 0, -1)

    @property
    def unlabelled(self) -> list[int]:
        """The rows of the images that have no label, nor one of ``--test``."""
        return [row for row, name in enumerate(self.files) if self.labels[row] < 0 and name not in self.tested]

    def image(self, row: int) -> Image.Image:
        """The image ``row`` upright in RGB, large ones reduced."""
        return Image.fromarray(read_image(self.root / self.files[row]).permute(1, 2, 0).numpy())


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def titles() -> dict[str, str]:
    """What pages and tables call each method, by its name."""
    return {name: each.title for name, each in known().items()}


def load_fit(folder: str | Path) -> FitRun:
    """The fit in a folder.

    Raises:
        InputError: the folder holds no finished fit, or files that this version cannot read.
    """
    folder = Path(folder)
    finish_changes(folder)
    record = read_record(folder)
    files = read_files(folder, record)
    if not (folder / PREDICTIONS).is_file():
        raise InputError(f"{folder}: {PREDICTIONS} is missing; run the same paws fit again")
    return FitRun(folder, record, *files)


def read_files(
    folder: Path, record: FitRecord
) -> tuple[tuple[str, ...], Tensor, tuple[int | None, ...], Tensor, dict[str, str]]:
    """The names (N), labels (N,), folds (N) and groups (N,) of files.json, and the test labels by name.

    Raises:
        InputError: it is damaged, or does not fit the ``record``.
    """
    path = folder / FILES
    try:
        files = from_json(path.read_bytes())
        names, labels, folds = tuple(files["names"]), torch.tensor(files["labels"], dtype=torch.int64), tuple(files["folds"])
        groups = torch.tensor(files.get("groups", range(len(names))), dtype=torch.int64)  # fits of before 0.2 have none
        tested = {str(name): str(label) for name, label in files.get("test", {}).items()}
    except FileNotFoundError:
        raise InputError(f"{folder}: holds no finished fit (no {FILES}); run paws fit") from None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error!r}); run the same paws fit again") from None
    flat = labels.ndim == groups.ndim == 1 and all(fold is None or isinstance(fold, int) for fold in folds)
    whole = flat and {len(names), len(labels), len(folds), len(groups)} == {record.image_count} and all(map(_is_inside, names))
    if not whole or not bool(((labels >= -1) & (labels < len(record.classes))).all()):
        raise InputError(f"{path}: does not fit {RECORD}; run the same paws fit again")
    return names, labels, folds, groups, tested


def _is_inside(name: Any) -> bool:
    """Whether a name leads to nothing outside of the folder of images."""
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in Path(name).parts


def undone_changes(folder: Path, record: FitRecord, given: FileSet) -> list[str]:
    """The images of a fit with changed labels that ``given`` labels otherwise; none where its files are damaged."""
    if not record.labels_changed:
        return []
    try:
        names, labels, folds, *_ = read_files(folder, record)
    except InputError:
        return []
    now = {name: y for name, y, fold in zip(names, labels.tolist(), folds, strict=True) if y >= 0 or fold is not None}
    asked = {name: given.classes[y] if y >= 0 else "" for name, y in zip(given.names, given.labels.tolist(), strict=True)}
    return [name for name, y in now.items() if name in asked and asked[name] != (record.classes[y] if y >= 0 else "")]


def put_in_place(folder: Path) -> None:
    """Put the files of ``folder/changed`` in place of those of a fit, the record last; hold the lock of the run meanwhile.

    Called again after a kill at any moment, it does what is left to do.
    """
    new = folder / CHANGED
    if not new.is_dir():
        return
    if (new / BUNDLE).is_dir():
        if (folder / BUNDLE).is_dir():
            remove(folder / PREVIOUS)
            os.rename(folder / BUNDLE, folder / PREVIOUS)
        os.rename(new / BUNDLE, folder / BUNDLE)
    for name in sorted((path.name for path in new.iterdir()), key=lambda name: name == RECORD):
        os.replace(new / name, folder / name)
    remove(new)


def finish_changes(folder: Path) -> None:
    """Finish what a killed ``paws fit`` or ``paws labels`` had written and not yet put in place.

    Raises:
        InputError: it is still at work, or the folder cannot be written.
    """
    if (folder / CHANGED).is_dir():
        with run_lock(folder):
            put_in_place(folder)


def read_former(folder: Path) -> FitRecord | None:
    """The record of a finished fit, None where there is none that this version can read."""
    try:
        return read_record(folder) if (folder / RECORD).is_file() else None
    except InputError:
        return None
