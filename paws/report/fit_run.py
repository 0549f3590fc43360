"""The contents of the page of ``paws fit``: what its folder holds, and a sample of its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paws.classifiers import predictor
from paws.fit.record import FitRecord
from paws.fit.run import FitRun, load_fit, titles
from paws.fit.sentences import describe, frequencies_sentence, notes, verdict
from paws.metrics import Bin
from paws.report.contents import Contents, Evaluated, Gallery, Headline, MethodBar, written
from paws.report.label_work import label_page, suggested, suspected
from paws.report.thumbnails import open_file
from paws.runs.log import read_metrics
from paws.seeds import generator

SHOWN, EXTREME, SHOWN_LABELLED = 900, 150, 600  # images in the gallery; least sure and most unfamiliar ones among them


def fit_contents(folder: Path) -> Contents:
    """Read a run folder of ``paws fit``. Raises InputError for a folder without a finished fit."""
    fit = load_fit(folder)
    table = _Table(fit)
    record, classes = fit.record, fit.record.classes
    truth = fit.test_labels(classes, fit.labels).numpy()
    title = titles()
    return Contents(
        title=folder.resolve().name,
        summary=f"{len(fit.files):,} images of the folder “{fit.root.name}”, {record.label_count:,} of them labelled, in "
        f"{len(classes)} classes; features of {_backbone(record.backbone)}. In use is {title[record.chosen]}.",
        classes=classes,
        headline=_headline(record),
        facts=_facts(fit, table),
        notes=tuple(notes(record)),
        bars=_bars(record, title),
        measured_on=describe(record.score.accuracy),
        verdict=" ".join(filter(None, (verdict(record, title), frequencies_sentence(record)))),
        curves=tuple(read_metrics(folder)),
        evaluated=_evaluated(fit, table, truth),
        threshold=record.threshold.value if 0 < (record.threshold.value or 0) <= 1 else None,
        labelled=np.bincount(fit.labels[fit.labels >= 0].numpy(), minlength=len(classes)),
        shares=np.bincount(table.predicted, minlength=len(classes)) / len(fit.files),
        gallery=_gallery(fit, table, truth),
        suspicious=suspected(fit),
        suggestions=suggested(fit),
        label_page=label_page(folder),
        about=_about(fit),
    )


class _Table:
    """predictions.csv as arrays over the N images of the fit."""

    def __init__(self, fit: FitRun) -> None:
        ids = {name: c for c, name in enumerate(fit.record.classes)}
        rows = fit.predictions
        self.predicted = np.array([ids[row["label"]] for row in rows])
        self.probability = np.array([float(row["probability"]) for row in rows])
        self.unfamiliar = np.array([float(row["unfamiliar"]) for row in rows])
        told = all(row.get("none") for row in rows)
        self.none = np.array([float(row["none"]) for row in rows]) if told else None
        self.abstains = np.array([row["abstain"] == "yes" for row in rows])
        row_of = {name: i for i, name in enumerate(fit.files)}
        k = sum(f"nearest_{i}" in rows[0] for i in range(1, 10))
        self.neighbours = np.array([[row_of.get(row[f"nearest_{i}"], -1) for i in range(1, k + 1)] for row in rows])  # (N, k)
        self.weights = np.array([[float(row[f"weight_{i}"] or 0) for i in range(1, k + 1)] for row in rows])  # (N, k)


def _evaluated(fit: FitRun, table: _Table, truth: np.ndarray) -> Evaluated | None:
    """Predictions held against the test labels ``truth`` (N,) where there are any, else against the labels that were given."""
    record, rows = fit.record, np.flatnonzero(truth >= 0)
    measured = record.test_calibration if len(rows) else record.calibration
    if measured.error.value is None or measured.error.provenance == "before_relabelling":
        return None
    if len(rows):
        arrays = truth[rows], table.predicted[rows], table.probability[rows]
    else:
        ids = {name: c for c, name in enumerate(record.classes)}
        counts = np.bincount(fit.labels[fit.labels >= 0].numpy(), minlength=len(ids))
        wanted = measured.error.provenance
        kept = [row for row in fit.held_out if row["provenance"] == wanted and counts[ids[row["label"]]] > 1]
        labels, predicted = (np.array([ids[row[column]] for row in kept], int) for column in ("label", "predicted"))
        arrays = labels, predicted, np.array([float(row["probability"]) for row in kept])
    bins = [Bin(**found.model_dump()) for found in measured.bins]
    return Evaluated(*arrays, describe(measured.error), measured.error.value, bins)


def _headline(record: FitRecord) -> Headline | None:
    figure = record.headline
    return None if figure.value is None else Headline(figure.value, figure.interval, f"right on {describe(figure)}.")


def _facts(fit: FitRun, table: _Table) -> tuple[tuple[str, str], ...]:
    agreement = fit.record.view_agreement
    facts = [
        (f"{len(fit.files):,}", "images predicted"),
        (f"{fit.record.label_count:,}", "of them labelled by you"),
        (f"{1 - table.abstains.mean():.0%}", "sure enough to be used as they are"),
    ]
    if agreement.value is not None and fit.record.chosen == "paws":
        facts.append((f"{agreement.value:.0%}", f"get the same class from another view, of {describe(agreement)}"))
    return tuple(facts)


def _bars(record: FitRecord, title: dict[str, str]) -> tuple[MethodBar, ...]:
    """The methods in the order of the record, best first; none where nothing could be held out."""
    wanted = record.score.accuracy.provenance
    return tuple(
        MethodBar(
            title[row.method],
            row.accuracy.value,
            row.accuracy.interval,
            row.method == record.chosen,
            row.test.value,
            "" if row.accuracy.provenance == wanted else describe(row.accuracy),
        )
        for row in record.scores
        if row.accuracy.value is not None
    )


def _sample(fit: FitRun, table: _Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows shown without a label (the least sure, the strangest, others at random) and with one (their nearest first)."""
    free = np.flatnonzero(fit.labels.numpy() < 0)
    if len(free) > SHOWN:
        unsure = free[np.argsort(table.probability[free], kind="stable")[:EXTREME]]
        strangeness = table.unfamiliar if table.none is None else table.none
        strange = free[np.argsort(-strangeness[free], kind="stable")[:EXTREME]]
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
        none=None if table.none is None else table.none[rows],
        neighbours=np.where(given[:, None] < 0, position[table.neighbours[rows]], -1),
        weights=table.weights[rows] if predictor(fit.record.chosen).votes else None,
        of=len(fit.files),
    )


def _backbone(config: dict[str, Any]) -> str:
    """The names of a backbone, which may be several."""
    return " + ".join(part["name"] for part in config.get("parts", [config]))


def _about(fit: FitRun) -> dict[str, dict[str, str]]:
    """Settings, backbone, seconds of each step and versions, as recorded."""
    record = fit.record
    run = {"folder": str(fit.folder), "images": str(fit.root), "labels": record.labels or "sub-folders"}
    groups = {"run": run, "settings": record.settings, "backbone": record.backbone, "head": record.head}
    groups |= {"seconds": record.seconds, "versions": record.versions}
    return {
        group: {key: written(value) for key, value in values.items() if value is not None} for group, values in groups.items()
    }
