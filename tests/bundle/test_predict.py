"""Predicting many images: one table in order, whatever the inputs, the ranks and the broken files among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import paws
from paws.bundle.predict import list_images, predict_table
from paws.bundle.table import read_table
from tests.commands import Command
from tests.ranks import run_ranks


@pytest.fixture
def mixed(fitted_run: Path, tmp_path: Path) -> Path:
    """A text file that lists 36 images, and a broken one as the third."""
    images = sorted(str(path) for path in (fitted_run.parent / "images").rglob("*.png"))
    (tmp_path / "broken.png").write_text("text")
    lines = [*images[:2], str(tmp_path / "broken.png"), *images[2:]]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return tmp_path / "list.txt"


def test_a_table_of_a_folder(command: Command, fitted_run: Path, tmp_path: Path) -> None:
    out = command("predict", fitted_run / "bundle", fitted_run.parent / "images", "-o", tmp_path / "p.csv")
    assert "36 rows" in out
    rows, expected = read_table(tmp_path / "p.csv"), read_table(fitted_run / "predictions.csv")
    assert [row["file"] for row in rows] == [row["file"] for row in expected]
    apart = [(a, b) for a, b in zip(rows, expected, strict=True) if a["label"] != b["label"]]
    for plain, all_views in apart:  # the fit looks at all views: only where its two best classes are close may another win
        assert plain["label"] == all_views["second"]
        assert float(all_views["probability"]) - float(all_views["second_probability"]) < 0.2
    assert len(apart) <= 1
    assert not any(row["error"] for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"], "left-overs"


def test_json_lines_and_nothing_else(command: Command, fitted_run: Path, mixed: Path) -> None:
    lines = command("predict", fitted_run / "bundle", mixed, "--json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["file"] for row in rows] == mixed.read_text(encoding="utf-8").split("\n")[:37]
    assert set(rows[2]) == {"file", "error"}
    assert all(set(row["nearest"][0]) == {"file", "weight"} for row in rows if "error" not in row)


def test_a_broken_image_is_a_row_with_an_error(command: Command, fitted_run: Path, mixed: Path, tmp_path: Path) -> None:
    assert "1 of them could not be read" in command("predict", fitted_run / "bundle", mixed, "-o", tmp_path / "p.csv")
    rows = read_table(tmp_path / "p.csv")
    assert [bool(row["error"]) for row in rows] == [i == 2 for i in range(37)]
    assert rows[2]["label"] == rows[2]["probability"] == ""


def test_names_in_a_list_may_begin_and_end_with_a_blank(tmp_path: Path) -> None:
    for name in (" a.png", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text(f"{tmp_path}/ a.png\r\n\n {tmp_path}/b.png \n", encoding="utf-8")
    assert list_images([tmp_path / "list.txt"])[0] == [f"{tmp_path}/ a.png", f"{tmp_path}/b.png"]


def shared(bundle: Path, listed: Path, output: Path) -> int:
    paths, names, _ = list_images([listed])
    return predict_table(paws.load(bundle), paths, names, output)


@pytest.mark.parametrize("ranks", [2, 3])
def test_shares_of_ranks_make_the_same_table(fitted_run: Path, mixed: Path, tmp_path: Path, ranks: int) -> None:
    alone = tmp_path / "alone.csv"
    shared(fitted_run / "bundle", mixed, alone)
    assert run_ranks(shared, ranks, fitted_run / "bundle", mixed, tmp_path / "together.csv") == [1] * ranks
    assert (tmp_path / "together.csv").read_bytes() == alone.read_bytes()
    assert not list(tmp_path.glob(".together*"))


def test_mistakes_are_named_and_nothing_is_written(command: Command, fitted_run: Path, tmp_path: Path) -> None:
    bundle, images = fitted_run / "bundle", fitted_run.parent / "images"
    assert "either a table" in command("predict", bundle, images, code=2)
    assert "nowhere: no such file" in command("predict", bundle, images, tmp_path / "nowhere", "--json", code=2)
    (tmp_path / "empty").mkdir()
    assert "no images there" in command("predict", bundle, tmp_path / "empty", "--json", code=2)
    (tmp_path / "only.png").write_text("text")
    said = command("predict", bundle, tmp_path / "only.png", "-o", tmp_path / "p.csv", code=2)
    assert "not one of 1 images" in said and "only.png: cannot be read" in said
    assert "cannot be written" in command("predict", bundle, images, "-o", tmp_path / "no/p.csv", code=2)
    assert f"is it {bundle}?" in command("predict", fitted_run, images, "-o", tmp_path / "p.csv", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "only.png"]
