"""Labels from several files, from other programs, and from Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import paws
from paws.data.labelled_folder import labelled_folder
from paws.label_page.formats import read_any
from tests.trust import inputs
from tests.trust.case import LABELLED, Build, Case

BOTH = (*LABELLED, "--labels", "m.csv")
TABLE = "file,label\n"


def two(text: str | bytes) -> Build:
    """The usual folder and labels, and a second file of labels."""

    def build(here: Path) -> None:
        inputs.named()(here)
        (here / "m.csv").write_bytes(text if isinstance(text, bytes) else text.encode())

    return build


def imported(folder: Path) -> str:
    """What the labelling page takes from ``l.json`` or from the folder ``l``."""
    names = sorted(path.name for path in (folder / "im").iterdir())
    given = folder / "l" if (folder / "l").is_dir() else folder / "l.json"
    return str(sorted(read_any(given, folder / "im", names).items()))


def tasks(value: Any) -> Build:
    """The usual folder, and this as an export of Label Studio."""

    def build(here: Path) -> None:
        inputs.folder(here)
        (here / "l.json").write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")

    return build


def task(image: Any, *choices: Any, **more: Any) -> dict[str, Any]:
    return {
        "data": {"image": image},
        "annotations": [{"result": [{"type": "choices", "value": {"choices": list(choices)}}]}],
        **more,
    }


def sorted_folders(*names: str) -> Build:
    """The usual folder, and ``l`` with these pictures, each in the folder of its class."""

    def build(here: Path) -> None:
        inputs.folder(here)
        for name in names:
            path = here / "l" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            inputs.picture("a", 1).save(path)

    return build


GOOD = {"file": ["a0.png", "a1.png", "b0.png", "b1.png"], "label": ["x", "x", "y", "y"]}


def fit(labels: Any) -> Callable[[Path], Any]:
    """`paws.fit` with labels from Python."""
    return lambda folder: paws.fit(folder / "im", labels, folder / "run", quiet=True, backbone="resnet")


def matched(labels: Any) -> Callable[[Path], str]:
    """The labels that a fit would have of its images."""
    from paws.data.labels import frame_rows

    def call(folder: Path) -> str:
        files = labelled_folder(folder / "im", frame_rows(labels) if hasattr(labels, "columns") else labels)
        return str({name: files.classes[y] for name, y in zip(files.names, files.labels.tolist(), strict=True) if y >= 0})

    return call


FRAMES: Sequence[tuple[str, Any, int, str]] = (  # what it is, the labels, exit code, what is said
    ("a table", GOOD, 0, "'b1.png': 'y'"),
    ("columns in other case, with blanks", {" File ": GOOD["file"], "LABEL": GOOD["label"]}, 0, "'b1.png': 'y'"),
    ("further columns", {"n": [1, 2, 3, 4], **GOOD}, 0, "'b1.png': 'y'"),
    ("whole numbers as labels", {**GOOD, "label": [1, 1, 2, 2]}, 0, "'b1.png': '2'"),
    ("truth values as labels", {**GOOD, "label": [True, True, False, False]}, 0, "'b1.png': 'False'"),
    ("categories", {**GOOD, "label": pd.Categorical(GOOD["label"])}, 0, "'b1.png': 'y'"),
    ("missing labels", {"file": [*GOOD["file"], "a2.png"], "label": [*GOOD["label"], None]}, 0, "'b1.png': 'y'"),
    ("nan as a label", {"file": [*GOOD["file"], "a2.png"], "label": [*GOOD["label"], float("nan")]}, 0, "'b1.png': 'y'"),
    ("pd.NA as a label", {"file": [*GOOD["file"], "a2.png"], "label": [*GOOD["label"], pd.NA]}, 0, "'b1.png': 'y'"),
    ("a blank label", {"file": [*GOOD["file"], "a2.png"], "label": [*GOOD["label"], " "]}, 0, "'b1.png': 'y'"),
    ("paths", {**GOOD, "file": list(map(Path, GOOD["file"]))}, 0, "'b1.png': 'y'"),
    (
        "whole numbers with a gap",
        {"file": [*GOOD["file"], "a2.png"], "label": [1, 1, 2, 2, None]},
        0,
        "'b1.png': '2'",
    ),
    ("a missing file name", {**GOOD, "file": [None, "a1.png", "b0.png", "b1.png"]}, 2, "line 1: no file"),
    ("nan as a file name", {**GOOD, "file": [float("nan"), "a1.png", "b0.png", "b1.png"]}, 2, "line 1: no file"),
    ("numbers as file names", {**GOOD, "file": [1, 2, 3, 4]}, 2, "line 1: no file"),
    ("a blank file name", {**GOOD, "file": [" ", "a1.png", "b0.png", "b1.png"]}, 2, "line 1: no file"),
    (
        "a file that is not there",
        {**GOOD, "file": ["a9.png", "a1.png", "b0.png", "b1.png"]},
        2,
        "line 1: a9.png does not exist",
    ),
    ("two labels of an image", {**GOOD, "file": ["a0.png", "b0.png", "b0.png", "b1.png"]}, 2, "b0.png is"),
    ("no column of labels", {"file": GOOD["file"]}, 2, "must name the columns file and label"),
    ("no column of files", {"label": GOOD["label"]}, 2, "must name the columns file and label"),
    ("no row", {"file": [], "label": []}, 2, "no label"),
    ("no label at all", {**GOOD, "label": [None] * 4}, 2, "no label"),
    ("one class", {**GOOD, "label": ["x"] * 4}, 2, "only the class 'x'"),
    ("numbers as columns", {0: GOOD["file"], 1: GOOD["label"]}, 2, "must name the columns file and label"),
)
OTHERS: Sequence[tuple[str, Any, str]] = (  # as labels of paws.fit
    ("a mapping", {"a0.png": "x", "b0.png": "y"}, "labels: expected a file"),
    ("a number", 7, "labels: expected a file"),
    ("truth", True, "labels: expected a file"),
    ("bytes", b"l.csv", "labels: expected a file"),
    ("pairs", [("a0.png", "x"), ("b0.png", "y")], "labels: expected a file"),
    ("a list of numbers", [0, 1], "labels: expected a file"),
    ("None in a list", [None], "labels: expected a file"),
    ("an array", np.zeros((4, 2)), "labels: expected a file"),
    ("a column", pd.Series(["x", "y"]), "labels: expected a file"),
    ("nothing in a list", [], "an empty list: 1 problem(s) with the labels"),
    ("a zero byte", "a\0b", "labels: expected a file"),
)
CASES = [
    Case("two label files", BOTH, two(TABLE + "a2.png,a\n"), 0, ("8 images, 5 labelled",)),
    Case("two label files that say the same", BOTH, two(TABLE + "a0.png,a\n"), 0, ("8 images, 4 labelled",)),
    Case("the same label file twice", (*LABELLED, "--labels", "l.csv"), inputs.named(), 0, ("8 images, 4 labelled",)),
    Case("two label files at odds", BOTH, two(TABLE + "a0.png,b\n"), 2, ("m.csv line 2: a0.png is 'b', but 'a' on",)),
    Case("a label with a comma", BOTH, two(TABLE + "a2.png,a, big\n"), 2, ("m.csv: more fields", "quotation marks", "line 2")),
    Case("empty cells at the end", BOTH, two(TABLE + "a2.png,a,, \n"), 0, ("8 images, 5 labelled",)),
    Case(
        "a quotation mark left open", BOTH, two(TABLE + 'a2.png,a\n"a3.png,a\nb2.png,b\n'), 2, ("m.csv: line 3", "not closed")
    ),
    Case("a first line with one left open", BOTH, two('"file,label\na2.png,a\n'), 2, ("m.csv: line 1", "not closed")),
    Case("marks within a field", BOTH, two(TABLE + 'a2.png,"a" b\n'), 2, ("m.csv: line 2",)),
    Case("a label with a line's end", BOTH, two(TABLE + 'a2.png,"a\nbig"\n'), 0, ("8 images, 5 labelled",)),
    Case("a second label file without a label", BOTH, two(TABLE), 2, ("m.csv: holds no label",)),
    Case("a second label file that is empty", BOTH, two(""), 2, ("m.csv",)),
    Case("a second label file in a Windows code page", BOTH, two(TABLE.encode() + b"a2.png,caf\xe9\n"), 2, ("m.csv",)),
    Case("a second label file of another folder", BOTH, two(TABLE + "z.png,a\n"), 2, ("m.csv line 2: z.png does not exist",)),
    Case("an image as a second label file", (*LABELLED, "--labels", "im/a0.png"), inputs.named(), 2, ("a0.png",)),
    Case("tasks of Label Studio", imported, tasks([task("/data/local-files/?d=im/a0.png", "x")]), 0, ("('a0.png', 'x')",)),
    Case("tasks of another shape", imported, tasks([{"image": "b0.png", "choice": "x", "id": 1}]), 0, ("('b0.png', 'x')",)),
    Case("a choice that is a number", imported, tasks([task("a0.png", 7)]), 0, ("('a0.png', '7')",)),
    *(
        Case(f"tasks: {what}", imported, tasks(value), 2, ("l.json: ", says))
        for what, value, says in (
            ("nothing", "", "cannot be read as JSON"),
            ("half", "[{", "cannot be read as JSON"),
            ("nested", "[" * 100_000, "nested too deeply"),
            ("a number of 5000 digits", "[" + "1" * 5000 + "]", "cannot be read as JSON"),
            ("a mapping", {}, "a list of tasks is expected"),
            ("none", [], "no label"),
            ("numbers", [1, 2], "task 1"),
            ("without labels", [{"data": {"image": "a0.png"}}], "no label"),
            ("an unknown picture", [task("z.png", "x")], "task 1: z.png"),
            ("a picture elsewhere", [task("../l.json", "x")], "task 1"),
            ("no picture", [{"data": {"text": "x"}, "annotations": []}], "task 1"),
            ("a picture that is a list", [task(["a0.png"], "x")], "task 1"),
            ("a choice that is a list", [task("a0.png", ["x", "y"])], "task 1"),
            ("a choice that is nothing", [task("a0.png", None)], "task 1"),
            ("a blank choice", [task("a0.png", " ")], "a class needs a name"),
            ("a long choice", [task("a0.png", "x" * 101)], "a class needs a name"),
            ("annotations that are text", [{"data": {"image": "a0.png"}, "annotations": "x"}], "task 1"),
            ("an address that is none", [task("http://[x/a0.png", "x")], "task 1"),
            ("a picture twice with two labels", [task("a0.png", "x"), task("a0.png", "y")], "a0.png"),
        )
    ),
    Case("folders of classes", imported, sorted_folders("x/a0.png", "y/b0.png"), 0, ("('a0.png', 'x'), ('b0.png', 'y')",)),
    Case("folders with another picture", imported, sorted_folders("x/a0.png", "y/z.png"), 2, ("y/z.png",)),
    Case("a picture in two folders", imported, sorted_folders("x/a0.png", "y/a0.png"), 2, ("a0.png",)),
    Case("pictures in no folder", imported, sorted_folders("a0.png"), 2, ("no label",)),
    *(
        Case(f"labels from pandas: {what}", matched(pd.DataFrame(frame)), inputs.named(), code, (says,))
        for what, frame, code, says in FRAMES
    ),
    *(Case(f"labels from Python: {what}", fit(value), inputs.named(), 2, (says,)) for what, value, says in OTHERS),
]
