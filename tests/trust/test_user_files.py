"""Files of users are theirs: what a fit, a training run or any other verb may not write over, and what it may not remove."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from paws.bundle.table import PREDICT_COLUMNS, read_table
from paws.config.cards import from_mapping
from paws.errors import InputError
from paws.fit.record import OWN as OF_A_FIT
from paws.runs.folder import MARKER
from paws.runs.folder import OWN as OF_A_RUN
from paws.train import train
from tests.commands import Command
from tests.conftest import TINY, write_patterns
from tests.digits_runs import finish, paws


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def fit_arguments(images: Path, weights: Path, run: Path, *more: str | Path) -> list[str | Path]:
    tiny = ["--backbone", TINY, "--weights", weights, "--image-size", "32", "--views", "1", "--steps", "5", "--workers", "0"]
    return ["fit", images, "-o", run, *tiny, *more]


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", OF_A_FIT)
def test_a_fit_replaces_nothing_in_a_folder_that_is_not_its_own(
    name: str, overwrite: list[str], command: Command, tmp_path: Path, tiny_weights: Path
) -> None:
    images = write_patterns(tmp_path)
    mine = tmp_path / "mine"
    (mine / name).mkdir(parents=True)
    (mine / name / "picture.png").write_bytes(b"precious")
    before = contents(tmp_path)
    said = command(*fit_arguments(images, tiny_weights, mine, "--labels", tmp_path / "labels.csv", *overwrite), code=2)
    assert name in said and MARKER in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("name", OF_A_RUN)
def test_training_replaces_nothing_in_a_folder_that_is_not_its_own(name: str, options: dict[str, bool], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / name).write_text("precious")
    with pytest.raises(InputError, match=f"holds {name}"):
        train(from_mapping({"run_dir": str(mine), "data": {"labels": {"per_class": 1}}}), quiet=True, **options)
    assert contents(mine) == {name: b"precious"}


@pytest.mark.parametrize(("where", "says"), [("images", "is"), ("images/run", "lies in"), (".", "lies around")])
def test_a_run_in_around_or_equal_to_the_images_is_refused(
    where: str, says: str, command: Command, tmp_path: Path, tiny_weights: Path
) -> None:
    images = write_patterns(tmp_path)
    before = contents(tmp_path)
    arguments = fit_arguments(images, tiny_weights, tmp_path / where, "--labels", tmp_path / "labels.csv")
    assert f"{says} the folder of the images" in command(*arguments, code=2)
    (tmp_path / "link").symlink_to(tmp_path / where)
    arguments = fit_arguments(images, tiny_weights, tmp_path / "link", "--labels", tmp_path / "labels.csv")
    assert f"{says} the folder of the images" in command(*arguments, code=2)
    (tmp_path / "link").unlink()
    assert contents(tmp_path) == before


def test_labels_in_the_run_survive_overwrite_and_outputs_are_no_input(
    command: Command, tmp_path: Path, tiny_weights: Path
) -> None:
    images, run = write_patterns(tmp_path), tmp_path / "run"
    command(*fit_arguments(images, tiny_weights, run, "--labels", tmp_path / "labels.csv"))
    assert (run / MARKER).read_text() == "fit\n"
    given = (tmp_path / "labels.csv").read_bytes()
    (run / "labels.csv").write_bytes(given)  # as `paws labels` leaves them
    (run / "notes.txt").write_text("mine")
    command(*fit_arguments(images, tiny_weights, run, "--labels", run / "labels.csv", "--overwrite"))
    assert (run / "labels.csv").read_bytes() == given
    assert (run / "notes.txt").read_text() == "mine"
    before = contents(run)
    for name in ("held_out.csv", "predictions.csv"):
        arguments = fit_arguments(images, tiny_weights, run, "--labels", run / name, "--overwrite")
        assert "is one of the files that the fit writes" in command(*arguments, code=2)
    with pytest.raises(InputError, match="holds a fit run"):
        train(from_mapping({"run_dir": str(run), "data": {"labels": {"per_class": 1}}}), quiet=True, overwrite=True)
    assert contents(run) == before


@pytest.fixture
def work(fitted_run: Path, tmp_path: Path) -> Path:
    """A folder with a picture, a list and a table of somebody."""
    Image.open(next((fitted_run.parent / "images").glob("*.png"))).save(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'a.png'}\n")
    (tmp_path / "table.csv").write_text("file,label\na.png,cat\n")
    (tmp_path / "page.html").write_text("<html>mine</html>")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "RUN/bundle", "a.png", "-o", "a.png"),
        ("predict", "RUN/bundle", "list.txt", "-o", "list.txt"),
        ("predict", "RUN/bundle", "a.png", "-o", "table.csv"),
        ("predict", "RUN/bundle", "a.png", "-o", "RUN/bundle/bundle.json"),
        ("predict", "RUN/bundle", "a.png", "-o", "RUN/bundle"),
        ("explain", "RUN", "a.png", "-o", "a.png"),
        ("explain", "RUN", "a.png", "-o", "a.jpg"),
        ("report", "RUN", "-o", "page.html"),
        ("report", "RUN", "-o", "a.png"),
        ("report", "RUN", "-o", "RUN/fit.json"),
        ("export", "RUN", "-o", "RUN/bundle/backbone.safetensors"),
        ("suggest", "RUN", "-n", "1", "-o", "table.csv"),
        ("labels", "RUN", "--suspicious", "-o", "table.csv"),
        ("labels", "RUN", "--remove", "dü-0.png", "-o", "page.html"),
        ("split", "table.csv", "--dataset", "digits", "--per-class", "1"),
    ],
)
def test_no_verb_writes_over_what_paws_has_not_written(
    arguments: Sequence[str], command: Command, fitted_run: Path, work: Path
) -> None:
    before, fit = contents(work), contents(fitted_run)
    given = [str(work / part) if (work / part).is_file() else part.replace("RUN", str(fitted_run)) for part in arguments]
    command(*given, code=2)
    assert contents(work) == before
    assert contents(fitted_run) == fit


def test_a_verb_replaces_what_it_has_written_itself(command: Command, fitted_run: Path, work: Path) -> None:
    for arguments in (
        ("predict", fitted_run / "bundle", work / "a.png", "-o", work / "new.csv"),
        ("explain", fitted_run, work / "a.png", "-o", work / "why.png"),
        ("explain", fitted_run, work / "a.png", "-o", work / "why.jpg"),
        ("report", fitted_run, "-o", work / "new.html"),
    ):
        command(*arguments)
        command(*arguments)
    command("explain", fitted_run, work / "why.png", "-o", work / "why.png", code=2)  # but no input
    assert sorted(path.name for path in work.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("target", ["aim", "nowhere"])
def test_links_are_not_written_through(target: str, command: Command, fitted_run: Path, work: Path) -> None:
    (work / "aim").write_text("precious")
    for name in ("new.csv", "why.png", "new.html", "net.safetensors"):
        (work / name).symlink_to(work / target)
    before = contents(work)
    for arguments in (
        ("predict", fitted_run / "bundle", work / "a.png", "-o", work / "new.csv"),
        ("explain", fitted_run, work / "a.png", "-o", work / "why.png"),
        ("report", fitted_run, "-o", work / "new.html"),
        ("export", fitted_run, "-o", work / "net.safetensors"),
    ):
        command(*arguments, code=2)
    assert contents(work) == before
    assert not (work / "nowhere").exists()


def test_a_lock_that_is_a_link_or_a_file_of_somebody_stays(command: Command, tmp_path: Path, tiny_weights: Path) -> None:
    images, run = write_patterns(tmp_path), tmp_path / "run"
    run.mkdir()
    (tmp_path / "aim").write_text("precious")
    for make in (lambda: os.symlink(tmp_path / "aim", run / ".lock"), lambda: (run / ".lock").write_text("precious")):
        make()
        command(*fit_arguments(images, tiny_weights, run, "--labels", tmp_path / "labels.csv"), code=2)
        assert (run / ".lock").read_text() == "precious"
        (run / ".lock").unlink()


@pytest.mark.parametrize("name", ["held_out.csv", "fit.json"])
def test_a_folder_in_place_of_a_result_is_told_before_anything_is_replaced(
    name: str, command: Command, fitted_run: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    (run / name).unlink()
    (run / name).mkdir()
    (run / name / "mine.txt").write_text("precious")
    images, labels = fitted_run.parent / "images", fitted_run.parent / "labels.csv"
    before = {path: data for path, data in contents(run).items() if "checked.json" not in str(path)}
    said = command(*fit_arguments(images, tiny_weights, run, "--labels", labels, "--seed", "3"), code=2)
    assert f"{run / name} is a folder" in said
    assert before.items() <= contents(run).items() and not (run / "changed").exists()


def test_two_predictions_into_one_table_end_with_a_whole_one(fitted_run: Path, tmp_path: Path) -> None:
    arguments = ["predict", fitted_run / "bundle", fitted_run.parent / "images", "-o", "p.csv", "--workers", "0"]
    both = [paws(*arguments, cwd=tmp_path) for _ in range(2)]
    for process in both:
        finish(process)
    rows = read_table(tmp_path / "p.csv")
    assert len(rows) == 36 and set(rows[0]) == set(PREDICT_COLUMNS)
    assert len({row["file"] for row in rows}) == 36
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".paws")]


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("bundle/model.onnx", ["--seed", "1"]),
        ("bundle/deep/model.onnx", ["--overwrite"]),
        ("features/notes.txt", ["--overwrite"]),
    ],
)
def test_files_of_somebody_in_a_folder_of_the_run_are_not_lost_with_it(
    place: str, more: list[str], command: Command, tmp_path: Path, tiny_weights: Path
) -> None:
    images, run = write_patterns(tmp_path), tmp_path / "run"
    arguments = fit_arguments(images, tiny_weights, run, "--labels", tmp_path / "labels.csv")
    command(*arguments)
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).write_bytes(b"mine")
    before = contents(run)
    assert f"{run / '/'.join(place.split('/')[:2])}: does not belong there and would be lost" in command(
        *arguments, *more, code=2
    )
    if place.startswith("bundle"):
        assert "would be lost" in command("labels", run, "--remove", "dü-0.png", code=2)
    assert contents(run) == before
    command(*arguments)  # unchanged: nothing is replaced
    assert (run / place).read_bytes() == b"mine"
