"""Builders of inputs for the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from tests.conftest import draw

PATTERN = {"a": "dots", "b": "rows"}


def picture(label: str, number: int) -> Image.Image:
    """A small picture that shows its class, a or b."""
    return draw(PATTERN[label], number, 24)


def folder(folder_of_test: Path, names: Sequence[str | bytes] = ()) -> Path:
    """``im`` with four pictures of each class, a0.png to b3.png, and further ones of class a by ``names``."""
    images = folder_of_test / "im"
    images.mkdir()
    for label in "ab":
        for number in range(4):
            picture(label, number).save(images / f"{label}{number}.png")
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(images), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            picture("a", 50 + number).save(file, "PNG")
    return images


def labels(folder_of_test: Path, rows: Sequence[tuple[str, str]] = (), text: str | bytes | None = None) -> None:
    """``l.csv`` with two labels of each class, and further rows; or with this text."""
    if text is None:
        usual = [("a0.png", "a"), ("a1.png", "a"), ("b0.png", "b"), ("b1.png", "b")]
        quoted = ['"' + file.replace('"', '""') + '"' + f",{label}" for file, label in [*usual, *rows]]
        text = "\n".join(["file,label", *quoted]) + "\n"
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    (folder_of_test / "l.csv").write_bytes(data)


def named(*names: str | bytes, rows: Sequence[tuple[str, str]] = ()) -> Callable[[Path], None]:
    """The usual folder and labels, with further pictures by ``names``."""

    def build(here: Path) -> None:
        folder(here, names)
        labels(here, rows)

    return build


def label_text(text: str | bytes) -> Callable[[Path], None]:
    """The usual folder with this text as its labels."""

    def build(here: Path) -> None:
        folder(here)
        labels(here, text=text)

    return build


def class_folders(*names: str, count: int = 3) -> Callable[[Path], None]:
    """``im`` with these class folders, of ``count`` pictures each."""

    def build(here: Path) -> None:
        for place, name in enumerate(names):
            path = here / "im" / name
            path.mkdir(parents=True)
            for number in range(count):
                picture("ab"[place % 2], 10 * place + number).save(path / f"{number}.png")

    return build


def with_file(name: str, text: str) -> Callable[[Path], None]:
    """`usual` with a further file."""

    def build(here: Path) -> None:
        usual(here)
        (here / name).write_text(text)

    return build


def with_pipe(name: str) -> Callable[[Path], None]:
    """`usual` with a pipe into which nobody writes."""

    def build(here: Path) -> None:
        usual(here)
        os.mkfifo(here / name)

    return build


def usual(folder_of_test: Path) -> None:
    """Pictures, labels, a text file, an empty folder, files of somebody, and a card."""
    folder(folder_of_test)
    labels(folder_of_test)
    (folder_of_test / "text.txt").write_text("nothing\n")
    (folder_of_test / "empty").mkdir()
    (folder_of_test / "taken.csv").write_text("mine\n")
    (folder_of_test / "taken.onnx").write_text("mine\n")
    (folder_of_test / "card.yaml").write_text("run_dir: train\n")
