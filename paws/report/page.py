"""From contents to one HTML file: figures, tables, and the data that the page's script filters."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paws.report import figures
from paws.report.contents import Contents, Gallery, Listed
from paws.report.projection import project
from paws.report.thumbnails import Thumbnails, fitting

GALLERY_BYTES = 3_000_000  # of thumbnails in a page that stays below 5 MB
PALETTE = ("#3f7fd1", "#d9822b", "#3d9a57", "#cf4d4d", "#8a63c9", "#8f6a55", "#d264a8", "#6f7f8c", "#a39a25", "#2fa3b0")
METRICS_OF_LOSS = ("loss", "cross_entropy", "nt_xent", "suncet")
NOT_CURVES = ("step", "epoch", "images_per_second", "head")
TITLES = {
    "loo_top1": "Leave-one-out accuracy",
    "validation_top1": "Validation accuracy",
    "batch_top1": "Accuracy within the batch",
    "epoch_loss": "Loss of the epoch",
}


def render(contents: Contents) -> str:
    """The page as HTML that needs nothing else: no network, no other file."""
    environment = Environment(
        loader=PackageLoader("paws.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "short": figures.shortened}
    gallery = contents.gallery
    thumbnails = Thumbnails()
    pictures = None
    if gallery is not None:
        thumbnails = fitting([partial(gallery.open, i) for i in range(len(gallery))], GALLERY_BYTES)
        pictures = gallery_data(gallery, contents.classes, thumbnails)
    evaluated = contents.evaluated
    counts = None if evaluated is None else figures.confusion_matrix(evaluated, len(contents.classes))
    return environment.get_template("template.html").render(
        contents=contents,
        style=Markup(_asset("style.css")),
        script=Markup(_asset("script.js")),
        curves=curve_figures(contents.curves),
        comparison=Markup(figures.comparison(contents.bars)) if contents.bars else None,
        confusion=None if counts is None else Markup(figures.confusion(counts, contents.classes)),
        confused=[] if counts is None else confused(counts, contents.classes),
        matrix_classes=figures.MATRIX_CLASSES,
        reliability=None if evaluated is None else Markup(figures.reliability(evaluated.bins, contents.threshold)),
        table=class_table(contents, counts),
        pictures=pictures,
        has_truth=gallery is not None and bool(((gallery.truth >= 0) & (gallery.given < 0)).any()),
        suspicious=listed(contents.suspicious),
        suggestions=listed(contents.suggestions),
        missing=sorted(set(thumbnails.missing)),
    )


def percent(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage; a dash where there is none."""
    return "–" if share is None or np.isnan(share) else f"{100 * share:.{digits}f} %"


def _asset(name: str) -> str:
    return files("paws.report").joinpath(name).read_text(encoding="utf-8")


def curve_figures(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, Markup]]:
    """Title, explanation and figure of each group of metrics that the rows hold."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in NOT_CURVES]
    losses = [name for name in names if name in METRICS_OF_LOSS]
    if losses == ["loss", "cross_entropy"] and all(row.get("loss") == row.get("cross_entropy") for row in rows):
        losses = ["loss"]
    drawn: list[tuple[str, str, Markup]] = []
    if losses:
        drawn.append(("Losses", "", Markup(figures.curve(rows, losses))))
    if "me_max" in names:
        entropy = [{**row, "entropy": -row["me_max"]} for row in rows if "me_max" in row]
        text = "In nats. It falls when the predictions crowd into few classes."
        drawn.append(("Entropy of the mean prediction", text, Markup(figures.curve(entropy, ["entropy"]))))
    for name in names:
        points = sum(isinstance(row.get(name), int | float) for row in rows)
        if name not in METRICS_OF_LOSS and name not in ("me_max", "lr") and points > 1:  # one point is no curve
            title = TITLES.get(name, name.replace("_", " ").capitalize())
            drawn.append((title, "", Markup(figures.curve(rows, [name]))))
    if "lr" in names:
        drawn.append(("Learning rate", "", Markup(figures.curve(rows, ["lr"]))))
    return drawn


def confused(counts: np.ndarray, classes: Sequence[str], most: int = 8) -> list[tuple[str, str, int]]:
    """The most frequent mistakes: true class, predicted class, how often."""
    off = counts - np.diag(counts.diagonal())
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    pairs = [(int(cell) // len(counts), int(cell) % len(counts)) for cell in order]
    return [(classes[true], classes[predicted], int(off[true, predicted])) for true, predicted in pairs if off[true, predicted]]


def class_table(contents: Contents, counts: np.ndarray | None) -> list[dict[str, Any]]:
    """A row per class: labelled images, share among the predictions, and how it fares on labels that were held out."""
    rows: list[dict[str, Any]] = []
    for c, name in enumerate(contents.classes):
        row: dict[str, Any] = {"name": name}
        if contents.labelled is not None:
            row["labelled"] = int(contents.labelled[c])
        if contents.shares is not None:
            row["share"] = float(contents.shares[c])
        if counts is not None:
            true, named = int(counts[c].sum()), int(counts[:, c].sum())
            row["recall"] = counts[c, c] / true if true else None
            row["precision"] = counts[c, c] / named if named else None
        rows.append(row)
    return rows


def colours(number: int) -> list[str]:
    """A colour per class that reads on white and on black: a hand-picked set, or hues by the golden angle."""
    if number <= len(PALETTE):
        return list(PALETTE[:number])
    shades = [colorsys.hls_to_rgb((c * 0.618034) % 1, (0.42, 0.58)[c % 2], 0.55) for c in range(number)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in shade) for shade in shades]


def gallery_data(gallery: Gallery, classes: Sequence[str], thumbnails: Thumbnails) -> dict[str, Any]:
    """Columns of the gallery for the script, numbers rounded to what is shown."""
    places = project(gallery.embedding)

    def column(values: np.ndarray | None, digits: int = 3) -> list[Any] | None:
        return None if values is None else np.round(values, digits).tolist() if values.dtype.kind == "f" else values.tolist()

    return {
        "classes": list(classes),
        "colours": colours(len(classes)),
        "names": gallery.names,
        "given": column(gallery.given),
        "truth": column(gallery.truth),
        "predicted": column(gallery.predicted),
        "probability": column(gallery.probability),
        "abstains": column(gallery.abstains),
        "unfamiliar": column(gallery.unfamiliar),
        "none": column(gallery.none),
        "neighbours": column(gallery.neighbours),
        "weights": column(gallery.weights),
        "x": column(places[:, 0]),
        "y": column(places[:, 1]),
        "thumbs": [thumbnails.uri(name, partial(gallery.open, i)) for i, name in enumerate(gallery.names)],
    }


def listed(rows: Sequence[Listed]) -> list[dict[str, Any]]:
    """Rows of a list with their thumbnails."""
    thumbnails = Thumbnails()
    return [{"name": row.name, "thumb": thumbnails.uri(row.name, row.open), "cells": row.cells} for row in rows]
