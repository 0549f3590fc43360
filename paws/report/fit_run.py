"""The contents of the page of ``paws fit``: what its folder holds, and a sample of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paws.classifiers import predictor
from paws.data.labels import read_labels
from paws.errors import InputError
from paws.fit.record import FitRun, load_fit
from paws.metrics import wilson_interval
from paws.report.contents import Bar, Contents, Gallery, Headline, Judged, written
from paws.report.label_work import suggested, suspected
from paws.report.thumbnails import open_file
from paws.runs.log import read_metrics
from paws.seeds import generator

SHOWN, EXTREME, SHOWN_LABELLED = 900, 150, 600  # images in the gallery; least sure and most unfamiliar ones among them


def fit_contents(folder: Path) -> Contents:
    """Read a run folder of ``paws fit``. Raises InputError for a folder without a finished fit."""
    fit = load_fit(folder)
    table = _Table(fit)
    record, classes, notes = fit.record, table.classes, []
    truth = np.full(len(fit.files), -1)
    if record["settings"].get("test"):
        try:
            truth = _test_labels(fit, classes)
        except InputError as error:
            notes.append(f"The test labels cannot be read any more, so the figures are of held-out labels ({error}).")
    judged = _judged_on_test(table, truth) if (truth >= 0).any() else _judged_held_out(fit, classes)
    if judged is None:
        notes.append(
            "Every class has a single label, so none could be held out and no accuracy can be stated. "
            f"Of {record['agreement']:.0%} of the images a second view gets the same prediction."
        )
    if record["unreadable"]:
        notes.append(f"{len(record['unreadable'])} files of the folder could not be read and were left out.")
    return Contents(
        title=folder.resolve().name,
        summary=f"{len(fit.files):,} images of the folder “{fit.root.name}”, {record['label_count']:,} of them labelled, in "
        f"{len(classes)} classes; features of {record['backbone']['name']}. In use is {predictor(record['chosen']).title}.",
        classes=classes,
        headline=None if judged is None else _headline(judged),
        facts=_facts(fit, table),
        notes=tuple(notes),
        bars=_bars(record),
        measured_on="labelled images, by models that did not see their labels",
        verdict=_sentence(record["reason"]),
        curves=tuple(read_metrics(folder)),
        judged=judged,
        threshold=record["threshold"] if 0 < record["threshold"] <= 1 else None,
        labelled=np.bincount(fit.labels[fit.labels >= 0].numpy(), minlength=len(classes)),
        shares=np.bincount(table.predicted, minlength=len(classes)) / len(fit.files),
        gallery=_gallery(fit, table, truth),
        suspicious=suspected(fit),
        suggestions=suggested(fit),
        about=_about(fit),
    )


class _Table:
    """predictions.csv as arrays over the N images of the fit."""

    def __init__(self, fit: FitRun) -> None:
        self.classes: tuple[str, ...] = tuple(fit.record["classes"])
        ids = {name: c for c, name in enumerate(self.classes)}
        rows = fit.predictions
        self.predicted = np.array([ids[row["label"]] for row in rows])
        self.probability = np.array([float(row["probability"]) for row in rows])
        self.unfamiliar = np.array([float(row["unfamiliar"]) for row in rows])
        self.abstains = np.array([row["abstain"] == "yes" for row in rows])
        row_of = {name: i for i, name in enumerate(fit.files)}
        k = sum(f"nearest_{i}" in rows[0] for i in range(1, 10))
        self.neighbours = np.array([[row_of.get(row[f"nearest_{i}"], -1) for i in range(1, k + 1)] for row in rows])  # (N, k)
        self.weights = np.array([[float(row[f"weight_{i}"] or 0) for i in range(1, k + 1)] for row in rows])  # (N, k)


def _test_labels(fit: FitRun, classes: tuple[str, ...]) -> np.ndarray:
    """(N,) class ids of the images that the test labels name, -1 elsewhere."""
    row_of = {name: i for i, name in enumerate(fit.files)}
    ids = {name: c for c, name in enumerate(classes)}
    truth = np.full(len(fit.files), -1)
    for row in read_labels(fit.record["settings"]["test"]):
        if row.file in row_of and row.label in ids:
            truth[row_of[row.file]] = ids[row.label]
    return truth


def _judged_on_test(table: _Table, truth: np.ndarray) -> Judged:
    rows = np.flatnonzero(truth >= 0)
    return Judged(truth[rows], table.predicted[rows], table.probability[rows], f"{len(rows):,} images with test labels")


def _judged_held_out(fit: FitRun, classes: tuple[str, ...]) -> Judged | None:
    """Labelled images by models that did not see their label; None when no class has two labels."""
    ids = {name: c for c, name in enumerate(classes)}
    counts = np.bincount(fit.labels[fit.labels >= 0].numpy(), minlength=len(classes))
    rows = [row for row in fit.held_out if counts[ids[row["label"]]] > 1]
    if not rows:
        return None
    truth, predicted = (np.array([ids[row[column]] for row in rows]) for column in ("label", "predicted"))
    confidence = np.array([float(row["probability"]) for row in rows])
    return Judged(truth, predicted, confidence, f"{len(rows):,} labelled images, by models that did not see their labels")


def _headline(judged: Judged) -> Headline:
    right, count = int((judged.truth == judged.predicted).sum()), len(judged.truth)
    return Headline(right / count, wilson_interval(right, count), f"of {judged.on.replace(', by', ' are named rightly by')}.")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _facts(fit: FitRun, table: _Table) -> tuple[tuple[str, str], ...]:
    return (
        (f"{len(fit.files):,}", "images predicted"),
        (f"{fit.record['label_count']:,}", "of them labelled by you"),
        (f"{1 - table.abstains.mean():.0%}", "sure enough to be used as they are"),
        (f"{fit.record['agreement']:.0%}", "predicted alike from another view"),
    )


def _bars(record: dict[str, Any]) -> tuple[Bar, ...]:
    """The methods in the order of the record, best first; none where nothing could be held out."""
    return tuple(
        Bar(
            predictor(row["method"]).title,
            row["accuracy"],
            (row["low"], row["high"]),
            row["method"] == record["chosen"],
            row["test"],
        )
        for row in record["scores"]
        if row["accuracy"] is not None
    )


def _sample(fit: FitRun, table: _Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows shown without a label (the least sure, the most unfamiliar, others at random) and with one (their nearest first)."""
    free = np.flatnonzero(fit.labels.numpy() < 0)
    if len(free) > SHOWN:
        unsure = free[np.argsort(table.probability[free], kind="stable")[:EXTREME]]
        strange = free[np.argsort(-table.unfamiliar[free], kind="stable")[:EXTREME]]
        chosen = np.union1d(unsure, strange)
        rest = np.setdiff1d(free, chosen)
        drawn = torch.randperm(len(rest), generator=generator(0, "report"))[: SHOWN - len(chosen)].numpy()
        free = np.union1d(chosen, rest[drawn])
    near = table.neighbours[free]
    near = np.unique(near[near >= 0])
    others = np.setdiff1d(np.flatnonzero(fit.labels.numpy() >= 0), near)
    drawn = torch.randperm(len(others), generator=generator(0, "report"))[: max(0, SHOWN_LABELLED - len(near))].numpy()
    return free, np.union1d(near, others[drawn])


def _gallery(fit: FitRun, table: _Table, truth: np.ndarray) -> Gallery:
    rows = np.concatenate(_sample(fit, table))
    position = np.full(len(fit.files) + 1, -1)  # the last place stands for "no neighbour"
    position[rows] = np.arange(len(rows))
    given = fit.labels.numpy()[rows]
    features = torch.from_numpy(np.array(fit.features[rows, 0])).float()

    def open_picture(i: int) -> Image.Image:
        return open_file(fit.root / fit.files[rows[i]])

    return Gallery(
        names=[fit.files[row] for row in rows],
        given=given,
        truth=truth[rows],
        predicted=table.predicted[rows],
        probability=table.probability[rows],
        embedding=fit.bundle.classifier.embed(features).numpy(),
        open=open_picture,
        abstains=table.abstains[rows],
        unfamiliar=table.unfamiliar[rows],
        neighbours=np.where(given[:, None] < 0, position[table.neighbours[rows]], -1),
        weights=table.weights[rows] if predictor(fit.record["chosen"]).votes else None,
        of=len(fit.files),
    )


def _about(fit: FitRun) -> dict[str, dict[str, str]]:
    """Settings, backbone, seconds of each step and versions, as recorded."""
    record = fit.record
    run = {"folder": str(fit.folder), "images": str(fit.root), "labels": record["labels"] or "sub-folders"}
    groups = {"run": run, "settings": record["settings"], "backbone": record["backbone"], "head": record["head"]}
    groups |= {"seconds": record["seconds"], "versions": record["versions"]}
    return {
        group: {key: written(value) for key, value in values.items() if value is not None} for group, values in groups.items()
    }
