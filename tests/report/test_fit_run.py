"""Pages of fits: what stands in the run folder is what the page says."""

from __future__ import annotations

import csv
import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paws.fit.run import load_fit, titles
from paws.fit.sentences import describe, notes
from paws.report import write_report
from paws.report.fit_run import fit_contents
from tests.conftest import draw
from tests.report.kinds import KINDS, change


def changed(run: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run with its images whose record is changed."""
    shutil.copytree(run, folder / "run")
    shutil.copytree(load_fit(run).root, folder / "images")
    record = json.loads((run / "fit.json").read_text(encoding="utf-8")) | {"images": str(folder / "images")}
    change(record)
    (folder / "run" / "fit.json").write_text(json.dumps(record), encoding="utf-8")
    return folder / "run"


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_figures_are_those_of_the_run(fitted_run: Path) -> None:
    contents = fit_contents(fitted_run)
    held_out, predictions = table(fitted_run / "held_out.csv"), table(fitted_run / "predictions.csv")
    assert contents.headline is not None
    right = sum(row["label"] == row["predicted"] for row in held_out)
    assert contents.headline.value == pytest.approx(right / len(held_out))
    record = json.loads((fitted_run / "fit.json").read_text(encoding="utf-8"))
    assert [bar.method for bar in contents.bars if bar.chosen] == [titles()[record["chosen"]]]
    assert contents.labelled is not None
    assert contents.labelled.tolist() == [4, 4, 4]
    gallery = contents.gallery
    assert gallery is not None
    assert sorted(gallery.names) == sorted(row["file"] for row in predictions)
    assert gallery.neighbours is not None
    for i, name in enumerate(gallery.names):
        row = next(row for row in predictions if row["file"] == name)
        assert contents.classes[gallery.predicted[i]] == row["label"]
        if gallery.given[i] < 0:
            assert [gallery.names[j] for j in gallery.neighbours[i]] == [row[f"nearest_{k}"] for k in (1, 2, 3)]
            pattern, number = row["label"], int(name.split("-")[1].split(".")[0])
            if name.split("/")[-1][0] == pattern[0]:
                assert np.array_equal(np.asarray(gallery.open(i)), np.asarray(draw(pattern, number)))


def test_the_page_has_every_part(fitted_run: Path, tmp_path: Path) -> None:
    page = write_report(fitted_run, tmp_path / "page.html").read_text(encoding="utf-8")
    for part in ("Beside the baselines", "Confusion matrix", "Map of the images", "What it makes of single images", "Losses"):
        assert part in page
    assert page == write_report(fitted_run, tmp_path / "again.html").read_text(encoding="utf-8")


def test_missing_files_are_placeholders_and_counted(fitted_run: Path, tmp_path: Path) -> None:
    run = changed(fitted_run, tmp_path, lambda record: None)
    (tmp_path / "images" / "dü-2.png").unlink()
    (tmp_path / "images" / "dü-8.png").write_bytes(b"no image")
    page = write_report(run).read_text(encoding="utf-8")
    assert "2 image files of this page cannot be opened any more" in page
    assert "dü-2.png" in page


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, fitted_run: Path, tiny_weights: Path, tmp_path_factory) -> tuple[str, Path]:
    """A kind of fit and its run folder."""
    return request.param, KINDS[request.param](fitted_run, tiny_weights, tmp_path_factory.mktemp(request.param))


def test_the_page_of_each_kind_shows_the_figures_of_its_record(kind: tuple[str, Path], tmp_path: Path) -> None:
    name, run = kind
    record, contents = load_fit(run).record, fit_contents(run)
    page = html.unescape(write_report(run, tmp_path / "page.html").read_text(encoding="utf-8"))
    assert set(contents.classes) == set(record.classes) == set(load_fit(run).bundle.classes)
    assert [(bar.accuracy, bar.interval, bar.test) for bar in contents.bars] == [
        (row.accuracy.value, row.accuracy.interval, row.test.value) for row in record.scores if row.accuracy.value is not None
    ]
    for note in notes(record):
        assert note in page
    figure = record.headline
    if figure.value is None:
        assert contents.headline is None
        assert contents.evaluated is None
        assert "Confusion matrix" not in page
        return
    assert f"{100 * figure.value:.1f}<small> %" in page
    assert describe(figure) in page
    assert contents.evaluated is not None
    assert (contents.evaluated.truth == contents.evaluated.predicted).mean() == pytest.approx(figure.value)
    assert len(contents.evaluated.truth) == figure.count
    measured = record.test_calibration if name == "tested" else record.calibration
    assert f"Expected calibration error {measured.error.value:.3f}" in page
    assert sum(b.count for b in measured.bins) == figure.count


PROVENANCES = {  # of accuracy, and of the threshold
    "plain": ("cross_validated", "cross_validated"),
    "tested": ("cross_validated", "cross_validated"),
    "trained": ("cross_validated", "cross_validated"),
    "single": ("none", "none"),
    "relabelled": ("cross_validated", "before_relabelling"),
    "removed": ("cross_validated", "before_relabelling"),
    "renamed": ("cross_validated", "before_relabelling"),
}


def test_provenance_of_each_kind(kind: tuple[str, Path], tmp_path: Path) -> None:
    name, run = kind
    record = load_fit(run).record
    accuracy, threshold = PROVENANCES[name]
    assert (record.score.accuracy.provenance, record.threshold.provenance) == (accuracy, threshold)
    assert record.calibration.error.provenance == accuracy
    others = {row.accuracy.provenance for row in record.scores if row.method != record.chosen}
    assert others <= {"before_relabelling" if record.labels_changed else accuracy}
    page = write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("by models that did not see their labels" in page) == (accuracy == "cross_validated")


def test_test_labels_are_what_is_reported_on(fitted_run: Path, tiny_weights: Path, tmp_path: Path) -> None:
    run = KINDS["tested"](fitted_run, tiny_weights, tmp_path)
    predicted = {row["file"]: row["label"] for row in table(run / "predictions.csv")}
    contents = fit_contents(run)
    wanted = {"sü-8.png": "slope", "dü-8.png": "rows", "rü-10.png": "rows"}
    assert contents.headline is not None
    assert contents.headline.value == pytest.approx(sum(predicted[file] == label for file, label in wanted.items()) / 3)
    assert contents.gallery is not None
    assert (contents.gallery.truth >= 0).sum() == 3
    changed_run = change(run, tmp_path / "changed", {"dü-8.png": "dots", "sü-0.png": None})
    assert load_fit(changed_run).record.score.test.count == 2, "an image whose label votes is no test image"
    (tmp_path / "test.csv").write_text("file,label\nsü-8.png,dots\n", encoding="utf-8")
    assert fit_contents(run).headline == contents.headline, "what was tested on does not change with the file"
