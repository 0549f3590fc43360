"""A whole fit: what stands in its folder, what is kept when it is called again, and what a kill costs."""

from __future__ import annotations

import csv
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from paws import fit as paws_fit
from paws.bundle.bundle import load_bundle
from paws.bundle.table import FIT_COLUMNS
from paws.data import check
from paws.data.folder import TICK
from paws.errors import InputError
from paws.fit import estimate, presets, training
from paws.fit.feature_file import ROW
from paws.fit.run import load_fit
from paws.models.sources import LITE
from tests.commands import Command
from tests.conftest import TINY, draw, write_patterns
from tests.digits_runs import paws, wait_until


def options(weights: Path, *more: str) -> list[str]:
    return ["--backbone", TINY, "--weights", str(weights), "--image-size", "32", "--views", "2", "--steps", "30", *more]


@pytest.fixture
def copied(fitted_run: Path, tmp_path: Path) -> Path:
    """A fitted folder of the test's own: ``images``, ``labels.csv``, and ``run``, which is of the images elsewhere."""
    shutil.copytree(fitted_run.parent, tmp_path / "copy")
    record = tmp_path / "copy/run/fit.json"
    text = record.read_text(encoding="utf-8").replace(str(fitted_run.parent), str(tmp_path / "copy"))
    record.write_text(text, encoding="utf-8")
    return tmp_path / "copy"


def call(command: Command, folder: Path, weights: Path, *more: str, code: int = 0) -> str:
    where = [folder / "images", "--labels", folder / "labels.csv", "-o", folder / "run"]
    return command("fit", *where, *options(weights, *more), code=code)


def test_the_folder_of_a_fit(fitted_run: Path) -> None:
    fit = load_fit(fitted_run)
    assert len(fit.files) == 36
    assert fit.features.shape == (36, 3, 256)
    assert fit.record.counts == {"dots": 4, "rows": 4, "slope": 4}
    assert {row.method for row in fit.record.scores} >= {"paws", "logistic_regression", "label_spreading"}
    assert fit.record.chosen == fit.bundle.classifier.predictor.name
    assert {row.accuracy.provenance for row in fit.record.scores} == {"cross_validated"}
    assert {row.accuracy.count for row in fit.record.scores} == {12}
    assert sum(part.count for part in fit.record.calibration.bins) == 12
    assert list(fit.predictions[0]) == list(FIT_COLUMNS)
    assert [row["file"] for row in fit.predictions] == list(fit.files)
    assert [row["given"] for row in fit.predictions] == [fit.bundle.classes[y] if y >= 0 else "" for y in fit.labels.tolist()]
    truth = {"d": "dots", "r": "rows", "s": "slope"}
    right = [row["label"] == truth[Path(row["file"]).name[0]] for row in fit.predictions]
    assert np.mean(right) > 0.8
    for row in fit.predictions:
        assert 1 / 3 <= float(row["probability"]) <= 1
        assert (row["abstain"] == "yes") == (float(row["probability"]) < fit.record.threshold.value)
        assert fit.labels[fit.files.index(row["nearest_1"])] >= 0
    assert len(fit.held_out) == 12
    assert json.loads((fitted_run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 30
    assert fit.image(0).size == (24, 24)
    assert not [path.name for path in fitted_run.iterdir() if path.name.endswith((".tmp", ".new", ".old"))]


def test_called_again_nothing_is_done_anew(command: Command, fitted_run: Path, tiny_weights: Path) -> None:
    def state() -> dict[str, int]:
        return {
            str(p): p.stat().st_mtime_ns
            for p in fitted_run.rglob("*")
            if p.is_file() and p.name not in ("checked.json", ".lock")
        }

    before = state()
    out = call(command, fitted_run.parent, tiny_weights)
    assert out.count("unchanged") == 3
    assert state() == before
    for part in ("PAWS", "95 % interval", str(fitted_run / "predictions.csv"), str(fitted_run / "bundle"), "paws report"):
        assert part in out


def test_what_changed_is_done_anew_and_no_more(command: Command, copied: Path, tiny_weights: Path) -> None:
    call(command, copied, tiny_weights)
    draw("rows", 99).save(copied / "images" / "new.png")
    out = call(command, copied, tiny_weights, "--seed", "1")
    assert "1 image, 36 were there" in out
    assert len(load_fit(copied / "run").predictions) == 37
    out = call(command, copied, tiny_weights, "--seed", "2")
    assert "embed    unchanged" in out
    assert "fit      unchanged" not in out
    (copied / "run/bundle/bundle.json").write_text("{}")  # a damaged bundle is made again
    out = call(command, copied, tiny_weights, "--seed", "2")
    assert "fit      unchanged" not in out
    assert load_fit(copied / "run").bundle.classes == ("dots", "rows", "slope")


def test_labels_that_were_changed_are_not_undone_in_silence(command: Command, copied: Path, tiny_weights: Path) -> None:
    labels = (copied / "labels.csv").read_text(encoding="utf-8")
    (copied / "new.csv").write_text("file,label\nsü-0.png,dots\nsü-8.png,slope\nrü-2.png,\n", encoding="utf-8")
    call(command, copied, tiny_weights)
    command("labels", copied / "run", "--csv", copied / "new.csv")
    corrected = (copied / "run/labels.csv").read_text(encoding="utf-8")
    (copied / "labels.csv").write_text(corrected, encoding="utf-8")
    assert "paws labels gave them" not in call(command, copied, tiny_weights)
    command("labels", copied / "run", "--remove", "rü-0.png")
    (copied / "labels.csv").write_text(labels, encoding="utf-8")
    told = "3 images have other labels here than paws labels gave them (rü-0.png, sü-0.png, sü-8.png): --labels"
    assert told in " ".join(call(command, copied, tiny_weights).split())
    assert "paws labels gave them" not in call(command, copied, tiny_weights), "it was told once"
    assert "sü-8.png" in (copied / "run/labels.csv").read_text(encoding="utf-8")


def test_files_that_another_run_has_read_are_not_read_again(
    command: Command, copied: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (copied / "images").rglob("*.png"):
        wait_until(lambda path=path: time.time_ns() > path.stat().st_ctime_ns + TICK, "a time that tells changes apart")
    read: list[int] = []
    inspected = check.inspect_images
    monkeypatch.setattr(check, "inspect_images", lambda paths, *how: (read.append(len(paths)), inspected(paths, *how))[1])
    for run in ("first", "second"):
        arguments = [copied / "images", "--labels", copied / "labels.csv", "-o", copied / run]
        command("fit", *arguments, *options(tiny_weights), "--model", "logistic_regression")
    assert read == [36, 0]
    again = (copied / "second/predictions.csv").read_bytes()
    command("fit", *arguments, *options(tiny_weights), "--model", "logistic_regression", "--overwrite")
    assert read == [36, 0, 36] and (copied / "second/predictions.csv").read_bytes() == again


def test_labels_to_test_on_are_reported(command: Command, copied: Path, tiny_weights: Path) -> None:
    (copied / "test.csv").write_text("file,label\ndü-8.png,dots\nrü-8.png,rows\nsü-8.png,slope\n", encoding="utf-8")
    out = call(command, copied, tiny_weights, "--test", str(copied / "test.csv"), "--model", "paws")
    assert "test" in out
    fit = load_fit(copied / "run")
    assert all(row.test.value in (0, 1 / 3, 2 / 3, 1) and row.test.count == 3 for row in fit.record.scores)
    assert fit.record.chosen == "paws"
    assert len(fit.predictions) == 36


def test_labels_to_test_on_may_be_a_table(copied: Path, tiny_weights: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = {"file": ["dü-8.png", "rü-8.png", "sü-8.png"], "label": ["dots", "rows", "slope"]}
    settings = {
        "backbone": TINY,
        "weights": tiny_weights,
        "image_size": 32,
        "views": 2,
        "steps": 30,
        "workers": 0,
        "quiet": True,
    }
    where = [copied / "images", copied / "labels.csv", copied / "run"]
    fit = paws_fit(*where, test=pandas.DataFrame(rows), **settings)
    assert fit.tested == dict(zip(rows["file"], rows["label"], strict=True))
    assert {row.test.count for row in fit.record.scores} == {3} and fit.record.settings["test"] == "a table"
    written = (copied / "run/fit.json").stat().st_mtime_ns
    pandas.DataFrame(rows).to_csv(copied / "test.csv", index=False)
    paws_fit(*where, test=[copied / "test.csv"], **settings)
    assert (copied / "run/fit.json").stat().st_mtime_ns == written, "the same labels are the same fit"
    for wrong, says in (
        ({"x": []}, "test must name the columns file and label, it reads x"),
        ({**rows, "file": ["dü-8.png", "rü-8.png", "none.png"]}, "test: a table"),
        ({**rows, "label": ["dots", "rows", "what"]}, "test: a table: no label for training has the class 'what'"),
    ):
        with pytest.raises(InputError, match=says):
            paws_fit(*where, test=pandas.DataFrame(wrong), **settings)
    with pytest.raises(InputError, match="test: expected a file of labels, a list of them or a pandas DataFrame, not 3"):
        paws_fit(*where, test=3, **settings)


def test_what_belongs_to_no_class_and_the_set_that_holds_the_right_one(
    command: Command, tmp_path: Path, tiny_weights: Path
) -> None:
    write_patterns(tmp_path, per_class=12, labelled=7)
    call(command, tmp_path, tiny_weights, "--none-class", "slope", "--accuracy", "0.8", "--views", "1")
    fit = load_fit(tmp_path / "run")
    votes = fit.bundle.classifier.votes(torch.from_numpy(np.array(fit.features)).float())
    least = float(fit.bundle.classifier.set_threshold)
    assert 0 < least < 1
    for row, p, strange in zip(fit.predictions, votes.probabilities, votes.strange, strict=True):
        assert float(row["none"]) == pytest.approx(float(1 - (1 - p[2]) * (1 - strange)), abs=1e-3)
        members = row["set"].split("; ")
        assert members[0] == row["label"], "the most probable first"
        assert len(members) == max(1, int((p >= least).sum()))
    again = load_bundle(tmp_path / "run/bundle").predict([fit.root / fit.files[0]])[0]
    assert again.none is not None and again.classes and json.loads(again.json())["set"] == list(again.classes)
    sorted_into = tmp_path / "sorted"
    command("sort", tmp_path / "run", "--into", sorted_into)
    unlabelled = [row for row in fit.predictions if not row["given"]]
    moved = len(list((sorted_into / "_none").rglob("*.png"))) if (sorted_into / "_none").is_dir() else 0
    assert moved == sum(float(row["none"]) > 0.5 for row in unlabelled) > 0


def test_one_label_a_class_works(command: Command, tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path, per_class=4, labelled=1)
    out = call(command, tmp_path, tiny_weights)
    assert "only one label for dots, rows, slope" in out
    fit = load_fit(tmp_path / "run")
    assert fit.record.chosen == "combination"
    assert (
        fit.record.threshold.value == pytest.approx(float(fit.bundle.classifier.threshold)) and fit.record.threshold.value > 1
    )
    assert "no accuracy can be stated" in out and "accuracy on" not in out
    assert "no label can be doubted: every class has a single one" in command("labels", tmp_path / "run", "--suspicious")


def test_class_folders_are_labels(command: Command, tmp_path: Path, tiny_weights: Path) -> None:
    for pattern in ("dots", "rows"):
        (tmp_path / "images" / pattern).mkdir(parents=True)
        for i in range(3):
            draw(pattern, i).save(tmp_path / "images" / pattern / f"{i}.png")
            draw(pattern, i + 3).save(tmp_path / "images" / f"{pattern}{i}.png")
    command("fit", tmp_path / "images", "-o", tmp_path / "run", *options(tiny_weights))
    assert load_fit(tmp_path / "run").record.label_count == 6


def embedded(store: Path) -> int:
    """How many images are marked as embedded."""
    return sum(int((np.fromfile(path, ROW)["checksum"] != 0).sum()) for path in store.glob("*.rows"))


def test_killed_and_restarted_it_ends_as_if_nothing_had_been(tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path, per_class=100, labelled=3)
    where = ["images", "--labels", "labels.csv", "-o"]
    killed = paws("fit", *where, "killed", *options(tiny_weights), cwd=tmp_path)
    store = tmp_path / "killed/features"
    wait_until(lambda: embedded(store), "a chunk is embedded")
    killed.process.kill()
    killed.wait()
    kept = embedded(store)
    assert kept > 0
    for run in ("killed", "whole"):
        started = paws("fit", *where, run, *options(tiny_weights), cwd=tmp_path)
        assert started.wait() == 0, started.output()
    assert (tmp_path / "killed/predictions.csv").read_bytes() == (tmp_path / "whole/predictions.csv").read_bytes()
    assert np.array_equal(load_fit(tmp_path / "killed").features, load_fit(tmp_path / "whole").features)


def test_an_unfinished_run_says_so(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no fit\.json"):
        load_fit(tmp_path)
    (copied / "run/predictions.csv").unlink()
    with pytest.raises(InputError, match=r"predictions\.csv is missing"):
        load_fit(copied / "run")


def test_features_of_a_later_fit_that_failed_are_not_taken_for_those_of_the_former(
    command: Command, copied: Path, tiny_weights: Path
) -> None:
    draw("rows", 77).save(min((copied / "images").glob("*.png")))
    (copied / "run/changed").write_text("no folder")  # so that the result cannot be put in place
    call(command, copied, tiny_weights, code=2)
    (copied / "run/changed").unlink()
    with pytest.raises(InputError, match="of a later fit that did not come to an end"):
        _ = load_fit(copied / "run").features
    call(command, copied, tiny_weights)
    assert len(load_fit(copied / "run").features) == len(load_fit(copied / "run").files)


def test_the_table_is_read_by_any_csv_reader(fitted_run: Path) -> None:
    with open(fitted_run / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(FIT_COLUMNS)}


@pytest.mark.parametrize("train", ["light", "full"])
def test_encoders_are_trained_and_are_one_more_part(
    command: Command, copied: Path, tiny_weights: Path, train: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SLACK", -100.0)  # the small network never tells enough
    monkeypatch.setattr(estimate, "FEW", 0)
    before = load_fit(copied / "run")
    start, every, digest = before.bundle.frozen.weights(), before.bundle.frozen.model.backbone, before.bundle.frozen.digest
    features = np.array(before.features)
    out = call(command, copied, tiny_weights, "--train", train, "--epochs", "2")
    after = load_fit(copied / "run")
    assert "4 encoders of " in out and "train    unchanged" not in out
    assert "in all, " in out and "until encoders are trained" not in out, "only what they see is embedded, once they are"
    known, trained = after.bundle.frozen.parts
    assert known.digest == digest
    assert (trained.count, trained.feature_dim) == (4, 4 * 64)
    assert np.array_equal(after.features[..., : -4 * 64], features)
    moved = trained.weights()
    changed = {name for name, value in start.items() if not torch.equal(value, moved[f"encoders.0.backbone.{name}"])}
    assert changed == {name for name, value in every.named_parameters() if train == "full" or value.ndim < 2}
    assert set(after.record.weights) == {*before.record.weights, "encoders"}
    scores = {row.method: row.accuracy for row in after.record.scores}
    assert scores["encoders"].provenance == "cross_validated" and scores["encoders"].count == 12
    former = {row.method: row for row in before.record.scores if row.method != "combination"}
    assert {row.method: row for row in after.record.scores if row.method in former} == former, "these have seen no encoder"
    names = [after.root / name for name in after.files[:5]]
    plain = after.bundle.predict_features(after.files[:5], torch.from_numpy(np.array(after.features[:5, 0])).float())
    assert [(p.label, round(p.probability, 3)) for p in after.bundle.predict(names)] == [
        (p.label, round(p.probability, 3)) for p in plain
    ]
    steps = [json.loads(line)["step"] for line in (copied / "run/metrics.jsonl").read_text().splitlines()]
    assert steps[-1] == 2  # 36 images are one batch
    assert call(command, copied, tiny_weights, "--train", train, "--epochs", "2").count("unchanged") == 3
    call(command, copied, tiny_weights)
    assert load_fit(copied / "run").record == before.record.model_copy(
        update={"seconds": load_fit(copied / "run").record.seconds}
    )


def test_where_features_hold_nothing_networks_begin_with_random_weights(
    command: Command, tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "AGREED", 1.1)
    monkeypatch.setattr(training, "SLACK", 100.0)
    for labelled, told in ((1, "no label can be held out"), (4, "of 3 labels held out the features tell")):
        write_patterns(tmp_path / str(labelled), per_class=12, labelled=labelled)
        out = call(command, tmp_path / str(labelled), tiny_weights, "--train", "light", "--epochs", "1")
        assert told in " ".join(out.split())
        fit = load_fit(tmp_path / str(labelled) / "run")
        assert fit.bundle.frozen.parts[1].name == "plain_cnn" and fit.record.head["encoders"]["scratch"]


def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path, tiny_weights: Path) -> None:
    write_patterns(tmp_path)
    command = ["images", "--labels", "labels.csv", *options(tiny_weights, "--train", "full", "--epochs", "25"), "-o"]
    killed = paws("fit", *command, "killed", cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("killed/training/*/encoder-1/metrics.jsonl")), "the second encoder is trained")
    killed.process.kill()
    killed.wait()
    assert not (tmp_path / "killed/fit.json").exists()
    for run in ("killed", "whole"):
        started = paws("fit", *command, run, cwd=tmp_path)
        assert started.wait() == 0, started.output()
    assert (tmp_path / "killed/predictions.csv").read_bytes() == (tmp_path / "whole/predictions.csv").read_bytes()
    assert np.array_equal(load_fit(tmp_path / "killed").features, load_fit(tmp_path / "whole").features)
    assert not list(tmp_path.rglob("pixels.u8"))


def test_train_refuses_what_it_cannot_do(
    command: Command, copied: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = replace(presets.PRESETS["best"], backbones=((LITE, LITE),))
    monkeypatch.setitem(presets.PRESETS, "best", best)
    said = call(command, copied, tiny_weights, "--train", "light", "--model", "logistic", code=2)
    assert "leave out --model logistic" in said
    for several in (["--backbone", f"{TINY},{LITE}"], ["--preset", "best"]):
        where = [copied / "not there", "--labels", copied / "labels.csv", "-o", copied / "other", "--train", "light"]
        said = " ".join(command("fit", *where, *several, code=2).split())
        assert "--train goes on from one network, not from several" in said and "give one, with --backbone NAME" in said
        assert not (copied / "other").exists()
    assert "it is --train, light or full" in call(command, copied, tiny_weights, "--finetune", code=2)
    assert "'light' or 'full'" in call(command, copied, tiny_weights, "--train", "all", code=2)
    assert "part of the combination that --train makes" in call(command, copied, tiny_weights, "--model", "encoders", code=2)


def test_the_short_form_of_a_fit_and_of_a_bundle(fitted_run: Path) -> None:
    fit = load_fit(fitted_run)
    assert repr(fit).startswith(f"FitRun({fitted_run}: 36 images, 12 labels, 3 classes, ") and len(repr(fit)) < 300
    assert fit._repr_html_().count("<tr>") == 1 + len(fit.record.scores)
    assert repr(fit.bundle).endswith(f"on {TINY}: 3 classes (dots, rows, slope), 12 labels)")
