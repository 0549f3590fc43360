"""explain, labels, suggest and export as they are called, on a small fit, with everything that can be wrong with them."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open

import paws
from paws.bundle.table import read_table
from paws.cli import main
from paws.cli.tables import print_explanation
from paws.fit.run import load_fit
from paws.labels.explain import Explanation
from paws.runs.folder import claim
from tests.conftest import TINY, draw
from tests.report.kinds import KINDS


@pytest.fixture
def run(fitted_run: Path, tmp_path: Path) -> Path:
    """A copy of the small fit that may be changed; its images stay where they are."""
    return Path(shutil.copytree(fitted_run, tmp_path / "run"))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """``paws ARGUMENTS`` in this process: (exit code, what it printed, what it said on stderr)."""

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["paws", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as stop:
            main()
        shown = capsys.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    return called


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def given(run: Path) -> dict[str, str]:
    return {row["file"]: row["given"] for row in read_table(run / "predictions.csv") if row["given"]}


def test_explain_names_the_images_that_voted(call, fitted_run: Path, tmp_path: Path) -> None:
    image = fitted_run.parent / "images" / "sü-10.png"
    bundle = Path(shutil.copytree(fitted_run / "bundle", tmp_path / "elsewhere"))
    (wanted,) = paws.load(bundle).predict([image])
    code, out, _ = call("explain", bundle, image, "--json", "-k", 3)
    found = json.loads(out)
    assert code == 0
    assert (found["label"], found["method"]) == (wanted.label, paws.load(bundle).classifier.predictor.title)
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-5)
    assert [(n["file"], pytest.approx(n["weight"], abs=1e-5)) for n in found["nearest"]] == list(wanted.nearest)
    assert sum(found["vote"].values()) == pytest.approx(1, abs=1e-5)
    code, out, _ = call("explain", bundle, image, "-o", tmp_path / "why.png")
    assert code == 0 and "the labelled images that voted" in out and wanted.nearest[0][0] in out
    with Image.open(tmp_path / "why.png") as page:
        assert page.size == (4 * 168 + 8, 2 * 204 + 8)


@pytest.mark.parametrize("name", ["sü-10.png", "dü-10.png"])
def test_explain_says_of_an_image_of_the_fit_what_its_predictions_say(call, fitted_run: Path, name: str) -> None:
    (row,) = [row for row in read_table(fitted_run / "predictions.csv") if row["file"].endswith(name)]
    for given in (row["file"], fitted_run.parent / "images" / row["file"]):
        found = json.loads(call("explain", fitted_run, given, "--json", "-k", 3)[1])
        assert (found["label"], found["abstain"]) == (row["label"], row["abstain"] == "yes")
        assert found["none"] is None if not row["none"] else found["none"] == pytest.approx(float(row["none"]), abs=1e-4)
        for same in ("probability", "unfamiliar"):
            assert found[same] == pytest.approx(float(row[same]), abs=1e-4)
        nearest = [(n["file"], n["weight"]) for n in found["nearest"]]
        assert nearest == [(row[f"nearest_{k}"], pytest.approx(float(row[f"weight_{k}"]), abs=1e-4)) for k in (1, 2, 3)]


def test_an_image_of_the_fit_that_is_gone_is_explained_by_what_was_kept(call, run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(load_fit(run).root, tmp_path / "images"))
    record = json.loads((run / "fit.json").read_text(encoding="utf-8")) | {"images": str(moved)}
    (run / "fit.json").write_text(json.dumps(record), encoding="utf-8")
    wanted = call("explain", run, "sü-10.png", "--json")[1]
    (moved / "sü-10.png").unlink()
    assert call("explain", run, "sü-10.png", "--json") == (0, wanted, "")
    code, _, err = call("explain", run, "sü-10.png", "-o", tmp_path / "why.png")
    assert code == 2 and f"{moved / 'sü-10.png'}: cannot be read as an image" in err and not (tmp_path / "why.png").exists()
    draw("rows", 50).save(moved / "new.png")
    code, _, err = call("labels", run, "--remove", "new.png")
    assert code == 2 and "new.png is not among the images of the fit; paws fit again takes it in" in err


def test_an_image_that_became_another_is_looked_at_anew(call, run: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(load_fit(run).root, tmp_path / "images"))
    record = json.loads((run / "fit.json").read_text(encoding="utf-8")) | {"images": str(moved)}
    (run / "fit.json").write_text(json.dumps(record), encoding="utf-8")
    names = load_fit(run).files
    shutil.copy(moved / names[-1], moved / "sü-10.png")
    code, out, err = call("explain", run, "sü-10.png", "--json")
    assert code == 0 and "sü-10.png is another picture than the one that was fitted: it is looked at anew" in err
    as_new = json.loads(call("explain", run / "bundle", tmp_path / "images" / "sü-10.png", "--json")[1])
    assert {**json.loads(out), "file": ""} == {**as_new, "file": ""}
    code, _, err = call("sort", run, "--into", tmp_path / "sorted")
    assert code == 2 and f"1 of {len(names)} images are others than when they were fitted" in err and "sü-10.png" in err
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize(
    ("probability", "none", "says"),
    [
        (0.9, 0.2, "cat, probability 90%, too low to decide; unfamiliar 0.50; of no class with probability 20%"),
        (0.99, 0.9, "cat, probability 99%; unfamiliar 0.50; of no class with probability 90%, so it does not decide"),
        (0.9, None, "cat, probability 90%, too low to decide; unfamiliar 0.50"),
    ],
)
def test_explain_says_what_it_abstains_for(
    capsys: pytest.CaptureFixture[str], probability: float, none: float | None, says: str
) -> None:
    found = Explanation("PAWS", True, "cat", probability, True, none, 0.5, {"cat": 0.99}, {"cat": 1.0}, (), {}, 0.95)
    print_explanation(found, Path("a.png"))
    print_explanation(replace(found, threshold=1.001), Path("b.png"))
    first, second = " ".join(capsys.readouterr().out.split()).split("b.png: ")
    assert f"a.png: {says} the vote" in first
    assert second.startswith(f"cat, probability {probability:.0%}, which no held-out labels show to be right often enough")


@pytest.mark.parametrize("verb", ["report", "explain", "labels", "suggest", "sort", "export"])
def test_a_fit_that_did_not_end_says_so(call, tmp_path: Path, verb: str) -> None:
    claim(tmp_path, "fit")
    more = {"explain": ["a.png"], "labels": ["--suspicious"], "sort": ["--into", "x"], "export": ["-o", tmp_path / "x.pt2"]}
    code, _, err = call(verb, tmp_path, *more.get(verb, []))
    assert code == 2 and "holds no finished fit (no fit.json); the same command again goes on" in err


@pytest.mark.parametrize("votes", [True, False])
def test_explain_calls_a_vote_only_what_decided(capsys: pytest.CaptureFixture[str], votes: bool) -> None:
    found = Explanation("logistic regression", votes, "cat", 0.99, False, 0.0, 0.5, {"cat": 0.99}, {"cat": 1.0}, (), {}, 0.95)
    print_explanation(found, Path("a.png"))
    assert ("vote" in capsys.readouterr().out) == votes


def test_labelled_images_that_are_gone_are_shown_by_name(call, fitted_run: Path, tmp_path: Path) -> None:
    image = fitted_run.parent / "images" / "sü-10.png"
    bundle = shutil.copytree(fitted_run / "bundle", tmp_path / "elsewhere")
    for name, more in (("known.png", ["--images", image.parent]), ("unknown.png", [])):
        assert call("explain", bundle, image, "-o", tmp_path / name, *more)[0] == 0
    known, unknown = (Image.open(tmp_path / name).convert("RGB") for name in ("known.png", "unknown.png"))
    first, second = (8, 8, 168, 168), (176, 8, 336, 168)
    assert known.crop(first).tobytes() == unknown.crop(first).tobytes()
    assert unknown.crop(second).getpixel((2, 2)) == (0xD9, 0xD9, 0xD9) != known.crop(second).getpixel((2, 2))


def test_corrected_added_and_removed_labels_change_predictions_at_once(call, run: Path, tmp_path: Path) -> None:
    before = given(run)
    table = tmp_path / "new.csv"
    table.write_text(
        "file,label,who\nsü-0.png,mist,me\ndeep er/sü-1.png,mist,me\ndü-4.png,dots,me\nrü-0.png,-,me\ndü-6.png,,me\n"
    )
    code, out, _ = call("labels", run, "--csv", table, "--remove", "rü-2.png", "--dry-run")
    assert code == 0 and "2 corrected, 1 added, 2 removed; classes new: mist" in out and "nothing was written" in out
    assert given(run) == before and not (run / "bundle.previous").exists()

    code, out, _ = call("labels", run, "--csv", table, "--remove", "rü-2.png")
    assert code == 0 and "of 36 images are predicted otherwise" in out
    wanted = {**before, "sü-0.png": "mist", "deep er/sü-1.png": "mist", "dü-4.png": "dots"}
    del wanted["rü-0.png"], wanted["rü-2.png"]
    assert given(run) == wanted == {row["file"]: row["label"] for row in read_table(run / "labels.csv")}
    changed, former = (paws.load(run / name) for name in ("bundle", "bundle.previous"))
    assert changed.classes == (*former.classes, "mist")
    assert set(former.support_files) == set(before) and set(changed.support_files) == set(wanted)
    rows = read_table(run / "predictions.csv")
    views = load_fit(run).views(range(len(rows)))
    for row, prediction in zip(rows, changed.predict_features([row["file"] for row in rows], views), strict=True):
        assert row["label"] == prediction.label
        assert float(row["probability"]) == pytest.approx(prediction.probability, abs=1e-4)
    assert any(row["label"] == "mist" for row in rows)
    assert "nothing was written" in call("labels", run, "--csv", table)[1]  # all of it is so already


def test_a_bundle_without_its_fit_takes_new_images(call, fitted_run: Path, tmp_path: Path) -> None:
    bundle, images = shutil.copytree(fitted_run / "bundle", tmp_path / "b"), fitted_run.parent / "images"
    table = tmp_path / "new.csv"
    table.write_text("file,label\nsü-8.png,slope\n")
    code, _, err = call("labels", bundle, "--csv", table, "--images", images)
    assert code == 2 and "give -o NEWBUNDLE" in err
    code, out, _ = call("labels", bundle, "--csv", table, "--images", images, "-o", tmp_path / "c")
    assert code == 0 and "1 added" in out
    assert paws.load(tmp_path / "c").support_files[-1] == "sü-8.png"
    code, _, err = call("labels", bundle, "--csv", table, "--dry-run")
    assert code == 2 and "line 2: sü-8.png does not exist" in err


def test_a_wrong_label_is_suspicious(call, run: Path, tmp_path: Path) -> None:
    table = tmp_path / "wrong.csv"
    table.write_text("file,label\nsü-0.png,dots\n")
    assert call("labels", run, "--csv", table)[0] == 0
    doubts = tmp_path / "doubts.csv"
    code, out, _ = call("labels", run, "--suspicious", "-n", 3, "-o", doubts)
    assert code == 0 and "the 3 most doubtful labels" in out
    assert " ".join(out.split()).endswith(f"to correct: the column label of {doubts}, then paws labels {run} --csv {doubts}")
    with open(doubts, encoding="utf-8") as file:
        first, *_ = rows = list(csv.DictReader(file))
    assert len(rows) == 3 and (first["file"], first["label"], first["predicted"]) == ("sü-0.png", "dots", "slope")
    doubts.write_text(doubts.read_text(encoding="utf-8").replace("sü-0.png,dots", "sü-0.png,slope"), encoding="utf-8")
    assert "1 corrected" in call("labels", run, "--csv", doubts)[1]
    assert given(run)["sü-0.png"] == "slope"


def test_suggestions_are_a_table_to_fill_in(call, run: Path, tiny_weights: Path, tmp_path: Path) -> None:
    images = Path(json.loads((run / "fit.json").read_text())["images"])
    options = ["--backbone", "test_efficientnet", "--weights", tiny_weights, "--image-size", 32]
    for source, more, name in ((run, [], "more.csv"), (images, options, "first.csv")):
        code, _, _ = call("suggest", source, "-n", 4, "-o", tmp_path / name, *more)
        rows = read_table(tmp_path / name)
        assert code == 0 and list(rows[0]) == ["file", "label", "reason", "score"]
        assert len({row["file"] for row in rows}) == 4
        assert all((images / row["file"]).is_file() and not row["label"] for row in rows)
    more = read_table(tmp_path / "more.csv")
    assert not {row["file"] for row in more} & set(given(run))
    filled = (tmp_path / "more.csv").read_text(encoding="utf-8").replace(f"{more[0]['file']},,", f"{more[0]['file']},dots,")
    (tmp_path / "more.csv").write_text(filled, encoding="utf-8")
    assert "0 corrected, 1 added, 0 removed" in call("labels", run, "--csv", tmp_path / "more.csv")[1]


def test_what_is_suggested_says_what_the_predictions_say_and_is_no_test_image(
    call, fitted_run: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    run = KINDS["tested"](fitted_run, tiny_weights, tmp_path)
    every, tested = {row["file"]: row for row in read_table(run / "predictions.csv")}, ("sü-8.png", "dü-8.png", "rü-10.png")
    code, _, _ = call("suggest", run, "-n", 21, "-o", tmp_path / "next.csv")
    assert code == 0
    with open(tmp_path / "next.csv", encoding="utf-8", newline="") as file:
        picks = list(csv.DictReader(file))
    assert {row["file"] for row in picks} == {name for name, row in every.items() if not row["given"] and name not in tested}
    for pick in picks:
        row = every[pick["file"]]
        assert pick["reason"].startswith(f"{row['label']} {float(row['probability']):.0%}")
    code, _, err = call("suggest", run, "-n", 22)
    assert code == 2 and "21 of 36 have no label yet" in err


def test_weights_as_safetensors_with_a_description(call, fitted_run: Path, tmp_path: Path) -> None:
    code, out, _ = call("export", fitted_run, "-o", tmp_path / "b.safetensors")
    assert code == 0 and "safetensors" in out
    with safe_open(tmp_path / "b.safetensors", "pt") as file:
        names, about = set(file.keys()), file.metadata()
        support = file.get_tensor("classifier.support")
    bundle = paws.load(fitted_run / "bundle")
    assert names == {f"classifier.{n}" for n in bundle.classifier.state_dict()} | {
        f"backbone.{n}" for n in bundle.frozen.weights()
    }
    assert json.loads(about["classes"]) == list(bundle.classes) and json.loads(about["threshold"]) == float(
        bundle.classifier.threshold
    )
    assert support.equal(bundle.classifier.support)


def test_images_that_cannot_be_read_are_not_suggested(call, tiny_weights: Path, tmp_path: Path) -> None:
    for number in range(4):
        draw("dots", number).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    options = ["--backbone", TINY, "--weights", tiny_weights, "--image-size", "32"]
    code, out, err = call("suggest", tmp_path, *options)
    assert code == 0, err
    said = " ".join(out.split())
    assert "1 images cannot be read and are left out: broken.png" in said and "4 images to label next" in said, out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "RUN", "gone.png"], "gone.png: there is no such file, nor an image of this name in the fit"),
        (["explain", "RUN", "IMAGE", "-o", "why.gif"], "why.gif: images are written as .png or .jpg"),
        (["explain", "TMP/nothing", "IMAGE"], "holds no bundle"),
        (["labels", "RUN"], "give either new labels, by --csv FILE or --remove IMAGE, or --suspicious"),
        (
            ["labels", "RUN", "--csv", "TMP/bad.csv"],
            "line 2: nobody.png does not exist\n  line 4: dü-0.png is 'rows', but 'dots'",
        ),
        (
            ["labels", "RUN", "--remove", "nobody.png"],
            "--remove: 1 problem(s) with the labels:\n  the command line: nobody.png",
        ),
        (["labels", "RUN", "--csv", "TMP/few.csv"], "after these changes only dots has labels"),
        (["labels", "RUN", "--csv", "TMP/none.csv"], "none.csv: cannot be read"),
        (["labels", "RUN", "--remove", "dü-0.png", "-o", "TMP/bad.csv"], "bad.csv: exists already"),
        (["suggest", "RUN", "-n", "25"], "25 images to label were asked for, but 24 of 36 have no label yet"),
        (["suggest", "IMAGES", "-n", "50"], "holds 36 images; 50 to label were asked for"),
        (["suggest", "RUN", "--backbone", "resnet18"], "leave out --backbone"),
        (["explain", "RUN", "IMAGE", "-o", "TMP/why.png", "--images", "TMP/nothing"], "nothing: is not a folder of images"),
        (["suggest", "RUN", "-o", "TMP/bad.csv"], "bad.csv: exists already"),
        (["suggest", "TMP/nothing"], "is not a folder of images"),
        (["export", "RUN", "-o", "TMP/x.pb"], "x.pb: its name must end in .onnx (onnx), .pt2 (torch), .safetensors"),
        (["export", "RUN", "-o", "TMP/x.onnx", "--format", "torch"], "x.onnx: its name must end in .pt2"),
        (
            ["export", "RUN", "-o", "TMP/x.pt2", "--format", "tflite"],
            "--format 'tflite' is not one of onnx, torch, safetensors",
        ),
        (["export", "RUN", "-o", "TMP/nowhere/x.safetensors"], "x.safetensors: cannot be written"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(call, fitted_run: Path, tmp_path: Path, arguments, message) -> None:
    (tmp_path / "bad.csv").write_text("file,label\nnobody.png,dots\ndü-0.png,dots\ndü-0.png,rows\n")
    names = [name for name in given(fitted_run) if not name.split("/")[-1].startswith("d")]
    (tmp_path / "few.csv").write_text("file,label\n" + "".join(f"{name},\n" for name in names))
    places = {"RUN": fitted_run, "IMAGES": fitted_run.parent / "images", "IMAGE": fitted_run.parent / "images" / "sü-10.png"}
    before = contents(tmp_path) | contents(fitted_run)
    code, _, err = call(*(places.get(a, a.replace("TMP", str(tmp_path))) for a in arguments))
    assert code == 2 and err.startswith("error: ") and message in err
    assert contents(tmp_path) | contents(fitted_run) == before
