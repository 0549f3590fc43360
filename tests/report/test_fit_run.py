"""Pages of fits: what stands in the run folder is what the page says."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paws.classifiers import predictor
from paws.fit.record import load_fit
from paws.report import write_report
from paws.report.figures import reliability
from paws.report.fit_run import fit_contents
from tests.conftest import draw


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
    assert [bar.method for bar in contents.bars if bar.chosen] == [predictor(record["chosen"]).title]
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


def test_one_label_a_class_states_no_accuracy(fitted_run: Path, tmp_path: Path) -> None:
    def single(record: dict[str, Any]) -> None:
        for score in record["scores"]:
            score["accuracy"] = None

    run = changed(fitted_run, tmp_path, single)
    files = json.loads((run / "files.json").read_text(encoding="utf-8"))
    labels = np.array(files["labels"])
    for c in range(3):
        labels[np.flatnonzero(labels == c)[1:]] = -1
    (run / "files.json").write_text(json.dumps(files | {"labels": labels.tolist()}), encoding="utf-8")
    kept = {name for name, label in zip(files["names"], labels, strict=True) if label >= 0}
    rows = (run / "held_out.csv").read_text(encoding="utf-8").splitlines()
    (run / "held_out.csv").write_text(
        "\n".join([rows[0], *(row for row in rows[1:] if row.split(",")[0] in kept)]), encoding="utf-8"
    )
    contents = fit_contents(run)
    assert (contents.headline, contents.judged, contents.bars) == (None, None, ())
    assert "Every class has a single label" in contents.notes[0]
    assert "Confusion matrix" not in write_report(run).read_text(encoding="utf-8")


def test_test_labels_are_what_is_reported_on(fitted_run: Path, tmp_path: Path) -> None:
    rows = [("sü-8.png", "slope"), ("dü-8.png", "rows"), ("rü-10.png", "rows")]
    (tmp_path / "test.csv").write_text("file,label\n" + "".join(f"{file},{label}\n" for file, label in rows), encoding="utf-8")
    run = changed(fitted_run, tmp_path, lambda record: record["settings"].update(test=str(tmp_path / "test.csv")))
    predicted = {row["file"]: row["label"] for row in table(run / "predictions.csv")}
    contents = fit_contents(run)
    assert contents.headline is not None
    assert contents.headline.value == pytest.approx(sum(predicted[file] == label for file, label in rows) / 3)
    assert contents.gallery is not None
    assert (contents.gallery.truth >= 0).sum() == 3
    (tmp_path / "test.csv").unlink()
    assert "test labels cannot be read" in fit_contents(run).notes[0]


def test_page_and_record_state_one_calibration_error(fitted_run: Path) -> None:
    judged, record = fit_contents(fitted_run).judged, load_fit(fitted_run).record
    assert judged is not None
    assert reliability(judged)[1] == pytest.approx(record["calibration"]["error"], abs=1e-4)  # the table has four digits
