"""Pipes, devices, links and names that are empty, where a file or a folder is expected; sizes of folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.trust import inputs
from tests.trust.case import LABELLED, PREDICT, Case
from tests.trust.inputs import usual, with_file, with_pipe

TABLE = "file,label\n"
TESTED = (*LABELLED, "--test", "t.csv")


def piped_list(here: Path) -> None:
    with_pipe("p.png")(here)
    (here / "l.txt").write_text("p.png\n")


def others(here: Path) -> None:
    (here / "other").mkdir()
    (here / "other" / "x.mp4").write_text("x")


def linked(link: str, aim: str) -> Callable[[Path], None]:
    """`usual` with a link."""

    def build(here: Path) -> None:
        usual(here)
        os.symlink(aim, here / link)

    return build


def linked_images(here: Path) -> None:
    usual(here)
    (here / "im").rename(here / "real")
    (here / "im").symlink_to("real")


def linked_run(here: Path) -> None:
    usual(here)
    (here / "elsewhere").mkdir()
    (here / "run").symlink_to("elsewhere")


def shaped(*size: int) -> Callable[[Path], None]:
    """The usual names with pictures of this size, each of one colour."""

    def build(here: Path) -> None:
        inputs.named()(here)
        for number, path in enumerate(sorted((here / "im").iterdir())):
            Image.new("RGB", size, (20 * number, 0, 0)).save(path)

    return build


def only(*names: str, labels: str) -> Callable[[Path], None]:
    """The usual folder with these pictures alone."""

    def build(here: Path) -> None:
        inputs.label_text(labels)(here)
        for path in (here / "im").iterdir():
            if path.name not in names:
                path.unlink()

    return build


EVERY = "".join(f"{label}{number}.png,{label}\n" for label in "ab" for number in range(4))
SINGLE = "".join(f"{label}{number}.png,{label}{number}\n" for label in "ab" for number in range(4))
LONG = (  # verbs with a name that no file can have
    ("fit", "LONG", "-o", "run"),
    ("predict", "LONG", "im", "-o", "out.csv"),
    ("report", "LONG"),
    ("explain", "LONG", "im/a0.png"),
    ("labels", "LONG", "--suspicious"),
    ("suggest", "LONG"),
    ("sort", "LONG", "--into", "new"),
    ("export", "LONG", "-o", "model.onnx"),
    ("label", "LONG", "-o", "run"),
    ("train", "LONG"),
    ("evaluate", "LONG"),
    ("convert", "LONG", "-o", "card.yaml"),
    ("launch", "LONG", "--dry-run"),
    ("split", "LONG", "--dataset", "digits", "--per-class", "1"),
    ("example", "LONG"),
    ("fit", "im", "--labels", "l.csv", "-o", "LONG"),
    ("fit", "im", "--labels", "LONG", "-o", "run"),
    ("fit", "im", "--labels", "l.csv", "--test", "LONG", "-o", "run"),
    ("label", "im", "-o", "LONG"),
    ("predict", "{bundle}", "im", "-o", "LONG"),
    ("report", "{run}", "-o", "LONG"),
    ("explain", "{run}", "im/a0.png", "-o", "LONG.png"),
    ("labels", "{run}", "--csv", "LONG"),
    ("sort", "{run}", "--into", "LONG"),
    ("suggest", "im", "-n", "2", "-o", "LONG"),
    ("train", "card.yaml", "run_dir=LONG"),
)
CASES = [
    Case("a pipe among the pictures", LABELLED, with_pipe("im/c.png"), 0, ("8 images",)),
    Case(
        "a pipe to predict", ("predict", "{bundle}", "p.png", "-o", "out.csv"), with_pipe("p.png"), 2, ("p.png: no such file",)
    ),
    Case("a pipe to explain", ("explain", "{run}", "p.png"), with_pipe("p.png"), 2, ("p.png: cannot be read", "no plain file")),
    Case("a device to explain", ("explain", "{run}", "/dev/zero"), usual, 2, ("/dev/zero: cannot be read", "no plain file")),
    Case(
        "a pipe in a list",
        ("predict", "{bundle}", "l.txt", "-o", "o.csv", "--workers", "0"),
        piped_list,
        2,
        ("not one of 1 images can be read",),
    ),
    Case(
        "a pipe as the table", ("predict", "{bundle}", "im", "-o", "p.csv"), with_pipe("p.csv"), 2, ("p.csv is no plain file",)
    ),
    Case("a device as the table", ("predict", "{bundle}", "im", "-o", "/dev/null"), usual, 2, ("/dev/null is no plain file",)),
    Case("a device as labels", (*LABELLED[:2], "-o", "run", "--labels", "/dev/null"), usual, 2, ("must name the columns",)),
    Case("no name for the table", ("predict", "{bundle}", "im", "-o", ""), usual, 2, (". is a folder",)),
    Case("no name for the page", ("report", "{run}", "-o", ""), usual, 2, (". is a folder",)),
    *(
        Case(f"a long name: {' '.join(verb)}", [part.replace("LONG", "x" * 300) for part in verb], usual, 2, ("xxx",))
        for verb in LONG
    ),
    Case("no name for the run", ("report", ""), usual, 2, (".: holds no run",)),
    Case("no name for the split", ("split", "", "--dataset", "digits", "--per-class", "1"), usual, 2, (".: exists already",)),
    Case("no name for the folder to sort into", ("sort", "{run}", "--into", ""), usual, 2, (".: exists already",)),
    Case("the run around the images", ("fit", "im", "--labels", "l.csv", "-o", "."), usual, 2, (". lies around the folder",)),
    Case("images behind a link", LABELLED, linked_images, 0, ("8 images",)),
    Case("a run behind a link", LABELLED, linked_run, 0, ("predictions: run/predictions.csv",)),
    Case(
        "a run behind a link again",
        ("report", "run"),
        linked_run,
        0,
        ("report.html",),
        changed=("run", "elsewhere"),
        first=[LABELLED],
    ),
    Case("a link to nothing among the pictures", LABELLED, linked("im/z.png", "nowhere.png"), 0, ("8 images",)),
    Case("a loop of links among the pictures", LABELLED, linked("im/up", ".."), 0, ("images, 4 labelled",)),
    Case("pictures of one pixel", LABELLED, shaped(1, 1), 0, ("8 images",)),
    Case("pictures of one column", LABELLED, shaped(1, 3000), 0, ("8 images",)),
    Case("two pictures", LABELLED, only("a0.png", "b0.png", labels=TABLE + "a0.png,a\nb0.png,b\n"), 0, ("2 images",)),
    Case("one picture", LABELLED, only("a0.png", labels=TABLE + "a0.png,a\n"), 2, ("only the class 'a'",)),
    Case("every picture labelled", LABELLED, inputs.label_text(TABLE + EVERY), 0, ("8 images, 8 labelled",)),
    Case("every picture a class", LABELLED, inputs.label_text(TABLE + SINGLE), 0, ("abstains from 100%",)),
    Case(
        "every other picture to test on",
        TESTED,
        with_file("t.csv", TABLE + "a2.png,a\na3.png,a\nb2.png,b\nb3.png,b\n"),
        0,
        ("test",),
    ),
    Case("a test of one class", TESTED, with_file("t.csv", TABLE + "a2.png,a\n"), 0, ("test",)),
    Case(
        "a test of another class",
        TESTED,
        with_file("t.csv", TABLE + "a2.png,zebra\n"),
        2,
        ("no label for training has the class 'zebra'",),
    ),
    Case(
        "a list with odd lines",
        ("predict", "{bundle}", "l.txt", "-o", "o.csv", "--workers", "0"),
        with_file("l.txt", "\ufeffim/a0.png\n\n# no\nim\n  im/a1.png  \n"),
        0,
        ("4 rows, 2 of them could not be read",),
    ),
    Case(
        "an empty list",
        ("predict", "{bundle}", "l.txt", "-o", "o.csv"),
        with_file("l.txt", "\n"),
        2,
        ("l.txt: no images there",),
    ),
    Case(
        "a list of a line without an end",
        ("predict", "{bundle}", "l.txt", "-o", "o.csv", "--workers", "0"),
        with_file("l.txt", "x" * 10**6),
        2,
        ("not one of 1 images can be read",),
    ),
    Case(
        "predictions of a folder with other files",
        PREDICT,
        with_file("im/x.heic", "x"),
        0,
        ("8 rows", "im: 1 file was passed over: .heic 1 (pip install pillow-heif reads HEIC)"),
    ),
    Case(
        "predictions of a folder with nothing but other files",
        ("predict", "{bundle}", "other", "-o", "out.csv"),
        others,
        2,
        ("other: no images there", "1 file was passed over: .mp4 1"),
    ),
    Case("predictions around a pipe", PREDICT, with_pipe("im/c.png"), 0, ("8 rows",)),
]
