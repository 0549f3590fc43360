"""Images sorted into folders by their class."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from paws.errors import InputError
from paws.fit.run import load_fit
from paws.fit.sorting import UNSURE, folder_name, sort_images
from tests.commands import Command


def test_every_image_lies_in_the_folder_of_its_label(fitted_run: Path, tmp_path: Path) -> None:
    run = load_fit(fitted_run)
    counts = sort_images(run, tmp_path / "sorted")
    for row in run.predictions:
        label = row["given"] or (UNSURE if row["abstain"] == "yes" else row["label"])
        assert (tmp_path / "sorted" / label / row["file"]).read_bytes() == (run.root / row["file"]).read_bytes()
    assert counts == Counter(row["given"] or (UNSURE if row["abstain"] == "yes" else row["label"]) for row in run.predictions)
    with pytest.raises(InputError, match="exists already"):
        sort_images(run, tmp_path / "sorted")


def test_links_and_a_missing_image(command: Command, fitted_run: Path, tmp_path: Path) -> None:
    out = command("sort", fitted_run, "--into", tmp_path / "links", "--link")
    assert "dots" in out
    links = [path for path in (tmp_path / "links").rglob("*") if path.is_symlink()]
    assert len(links) == 36 and all(os.path.isfile(path) for path in links)


def test_images_are_not_sorted_into_their_own_folder(fitted_run: Path, command: Command) -> None:
    images = load_fit(fitted_run).root
    assert "lies in the folder of the images" in command("sort", fitted_run, "--into", images / "sorted", code=2)
    assert not (images / "sorted").exists()


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/hostname"])
def test_a_run_of_a_stranger_names_no_file_outside(name: str, fitted_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    first = load_fit(run).files[0]
    for table in ("files.json", "predictions.csv"):
        (run / table).write_text(
            (run / table).read_text(encoding="utf-8").replace(json.dumps(first)[1:-1], name).replace(first, name)
        )
    with pytest.raises(InputError, match=r"files\.json"):
        load_fit(run)


def test_names_of_folders() -> None:
    assert [folder_name(label) for label in ("T-shirt/top", "a:b.", "grün", "..")] == ["T-shirt_top", "a_b", "grün", "_"]
