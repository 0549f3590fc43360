"""What people give by mistake: every case ends with code 2, one message that names all problems, and nothing written."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paws.fit.run import load_fit
from tests.commands import Command
from tests.conftest import TINY, write_patterns
from tests.fit.test_pipeline import call, options


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_patterns(tmp_path, per_class=4, labelled=2, classes=("dots", "rows"))
    return tmp_path


def write(folder: Path, text: str | bytes) -> None:
    (folder / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)


def refused(command: Command, folder: Path, weights: Path, *parts: str, more: tuple[str, ...] = ()) -> None:
    error = call(command, folder, weights, *more, code=2)
    assert error.startswith("error: ")
    assert "Traceback" not in error
    for part in parts:
        assert part in error
    assert not (folder / "run").exists(), "something was written"


def test_labels_that_name_missing_files_two_labels_and_texts(command: Command, folder: Path, tiny_weights: Path) -> None:
    (folder / "images/notes.txt").write_text("text")
    write(folder, "file,label\ndü-0.png,dots\ngone.png,dots\ndü-0.png,rows\nnotes.txt,rows\nrü-0.png,rows\n")
    refused(
        command, folder, tiny_weights, "line 3: gone.png", "line 4: dü-0.png is 'rows'", "line 5: notes.txt is not an image"
    )


def test_one_class_only(command: Command, folder: Path, tiny_weights: Path) -> None:
    write(folder, "file,label\ndü-0.png,dots\n")
    refused(command, folder, tiny_weights, "only the class 'dots'")


def test_a_class_of_no_class_that_nobody_has(command: Command, folder: Path, tiny_weights: Path) -> None:
    more = ("--none-class", "other")
    refused(command, folder, tiny_weights, "--none-class 'other': no image has this label", "dots, rows", more=more)


def test_an_empty_folder_and_none(command: Command, folder: Path, tiny_weights: Path) -> None:
    shutil.rmtree(folder / "images")
    refused(command, folder, tiny_weights, "not a folder of images")
    (folder / "images").mkdir()
    refused(command, folder, tiny_weights, "holds no images")


def test_unreadable_images(command: Command, folder: Path, tiny_weights: Path) -> None:
    (folder / "images/dü-2.png").write_bytes(b"")
    (folder / "images/rü-2.png").write_text("text")
    refused(command, folder, tiny_weights, "2 of 8 images cannot be read", "dü-2.png", "rü-2.png", "--skip-broken")
    out = call(command, folder, tiny_weights, "--skip-broken")
    assert "2 cannot be read and are left out" in out
    assert set(load_fit(folder / "run").record.unreadable) == {"dü-2.png", "rü-2.png"}


def test_more_than_half_unreadable(command: Command, folder: Path, tiny_weights: Path) -> None:
    for path in list((folder / "images/deep er").iterdir()) + [folder / "images/dü-2.png"]:
        path.write_text("text")
    refused(command, folder, tiny_weights, "5 of 8 images cannot be read, too many", more=("--skip-broken",))


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff"file";"label";"who"\r\n"dü-0.png";"dots";"me"\r\n"deep er/dü-1.png";"dots";""\r\n"rü-0.png";"rows";"x;y"\r\n',
        "label,file\ndots,./dü-0.png\ndots,deep er\\dü-1.png\nrows,rü-0.png\n",
    ],
    ids=["bom-semicolons-quotes-crlf", "other-order-other-slashes"],
)
def test_every_way_to_write_a_csv(command: Command, folder: Path, tiny_weights: Path, text: str) -> None:
    write(folder, text)
    (folder / "images" / "loop").symlink_to(folder / "images", target_is_directory=True)  # and a loop of links ends
    call(command, folder, tiny_weights)
    given = [(row["file"], row["given"]) for row in load_fit(folder / "run").predictions if row["given"]]
    assert sorted(given) == [("deep er/dü-1.png", "dots"), ("dü-0.png", "dots"), ("rü-0.png", "rows")]
    assert len(load_fit(folder / "run").files) == 8


def test_a_huge_image_is_named_before_it_takes_memory(command: Command, folder: Path, tiny_weights: Path) -> None:
    Image.fromarray(np.zeros((12_000, 12_000), bool)).save(folder / "images/huge.png")  # 432 MB as RGB
    refused(command, folder, tiny_weights, "huge.png", "12000 x 12000 pixels are too many")


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--accuracy", "95"), "--accuracy 95.0: must be above 0, at most 1"),
        (("--views", "-1"), "--views -1"),
        (("--steps", "0"), "--steps 0"),
        (("--image-size", "4"), "--image-size 4"),
        (("--model", "forest"), "model 'forest' is not one of auto"),
        (("--prior", "1,2,3"), "one positive number for each of the 2 classes"),
        (("--prior", "often"), "prior 'often'"),
        (("--device", "tpu"), "--device tpu is not one of"),
        (("--backbone", "resnet1000"), "unknown model 'resnet1000'"),
        (("--weights", "nowhere.pt"), "nowhere.pt: there is no such file"),
        (("--test", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_options_out_of_range(command: Command, folder: Path, tiny_weights: Path, more: tuple[str, str], part: str) -> None:
    refused(command, folder, tiny_weights, part, more=more)


def test_no_network(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        where = [folder / "images", "--labels", folder / "labels.csv", "-o", folder / "run"]
        error = command("fit", *where, "--backbone", TINY, code=2)
    assert "--weights FILE" in error
    assert not (folder / "run").exists()


def test_a_folder_that_holds_something_else(command: Command, folder: Path, tiny_weights: Path) -> None:
    call(command, folder, tiny_weights)
    shutil.copytree(folder / "images", folder / "other")
    where = [folder / "other", "--labels", folder / "labels.csv", "-o", folder / "run", *options(tiny_weights)]
    assert "holds a fit of" in command("fit", *where, code=2)
    command("fit", *where, "--overwrite")
    assert load_fit(folder / "run").root == folder / "other"
    (folder / "link").symlink_to("other")
    for same in (folder / "images/../other", folder / "link"):
        assert command("fit", same, *where[1:]).count("unchanged") == 3, "the same folder, spelled otherwise"
    where[0] = folder / "images/../other"
    command("fit", *where, "--overwrite")
    assert load_fit(folder / "run").root == folder / "other"
    where[4] = folder / "run/bundle"
    assert "run/bundle is a bundle; give another folder" in command("fit", *where, code=2)
    (folder / "training").mkdir()
    (folder / "training/config.yaml").write_text("seed: 0\n")
    where[4] = folder / "training"
    assert "holds a training run" in command("fit", *where, code=2)
    (folder / "file").write_text("")
    where[4] = folder / "file"
    assert "is a file" in command("fit", *where, code=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(command: Command, folder: Path, tiny_weights: Path) -> None:
    (folder / "run").mkdir(mode=0o555)
    assert "cannot be written" in call(command, folder, tiny_weights, code=2)
