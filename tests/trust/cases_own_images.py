"""A class of what belongs to none, training on pixels, presets, labels to test on, sorted folders, labelling, the example."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import TINY
from tests.trust import inputs
from tests.trust.case import CLASSES, LABELLED, Build, Case
from tests.trust.inputs import class_folders, usual

TABLE = "file,label\n"
SORT = ("sort", "run", "--into", "new")
LABEL = ("label", "im", "-o", "run", "--no-browser", "--device", "cpu")


def with_bytes(name: str, data: bytes) -> Build:
    """`usual` with a further file."""

    def build(here: Path) -> None:
        usual(here)
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return build


def named_folders(*names: str) -> Build:
    """Class folders, and pictures without a label beside them."""

    def build(here: Path) -> None:
        class_folders(*names)(here)
        for number in range(3):
            inputs.picture("a", 70 + number).save(here / "im" / f"{number}.png")

    return build


def tested_folders(here: Path) -> None:
    class_folders("a", "b")(here)
    (here / "t.csv").write_text(TABLE + "a/0.png,a\n")


OPTIONS: Sequence[tuple[tuple[str, ...], int, str]] = (  # further options of a fit with labels a and b, exit code, what is said
    (("--none-class", "a"), 0, "bundle"),
    (("--none-class", "zebra"), 2, "--none-class 'zebra': no image has this label; the labels are a, b"),
    (("--none-class", ""), 2, "--none-class ''"),
    (("--none-class", "A"), 2, "--none-class 'A'"),
    (("--none-class", "b "), 2, "--none-class 'b '"),
    (("--none-class",), 2, "requires an argument"),
    (("--train", "light", "--epochs", "1"), 0, "encoders were trained on the pixels"),
    (("--train", "full", "--epochs", "1"), 0, "encoders were trained on the pixels"),
    (("--train", "heavy"), 2, "--train heavy: Input should be 'light' or 'full'"),
    (("--train", "LIGHT"), 2, "--train LIGHT"),
    (("--train", ""), 2, "--train"),
    (("--train",), 2, "requires an argument"),
    (("--train", "light", "--epochs", "0"), 2, "--epochs 0: must be"),
    (("--epochs", "3"), 2, "--epochs is of --train"),
    (("--finetune",), 2, "it is --train, light or full"),
    (("--train", "light", "--backbone", f"{TINY},{TINY}", "--weights", "a,b"), 2, "from one network"),
    (("--preset", "fast"), 0, "bundle"),
    (("--preset", "balanced"), 0, "bundle"),
    (("--preset", "best"), 0, "bundle"),
    (("--test", "im"), 2, "im is a folder; expected a table"),
    (("--test", "im/a0.png"), 2, "im/a0.png: holds zero bytes"),
    (("--test", ""), 2, "is a folder; expected a table"),
)
TESTS: Sequence[
    tuple[str, str, bytes, int, str]
] = (  # labels to test on: what they are, file, contents, exit code, what is said
    ("in UTF-16", "t.csv", (TABLE + "a2.png,a\n").encode("utf-16"), 0, "test"),
    ("as JSON lines", "t.jsonl", b'{"file": "a2.png", "label": "a"}\n{"file": "b2.png", "label": "b"}\n', 0, "test"),
    ("as JSON lines of lists", "t.jsonl", b"[1]\n", 2, "line 1: not an object"),
    ("as JSON lines with a number for a file", "t.jsonl", b'{"file": 7, "label": "a"}\n', 2, "line 1: 7 does not exist"),
    ("of nothing", "t.csv", b"", 2, "must name the columns"),
    ("without a label", "t.csv", b"file,label\na2.png,\n", 2, "t.csv: holds no label"),
    ("of a file that is not there", "t.csv", b"file,label\nz.png,a\n", 2, "line 2: z.png does not exist"),
    ("of one image twice at odds", "t.csv", b"file,label\na2.png,a\na2.png,b\n", 2, "line 3: a2.png is 'b', but 'a' on line 2"),
    ("of one image twice alike", "t.csv", b"file,label\na2.png,a\na2.png,a\n", 0, "test"),
    ("of a labelled image", "t.csv", b"file,label\na2.png,a\na0.png,a\n", 2, "labelled for training too"),
    ("of a class in other case", "t.csv", b"file,label\na2.png,A\n", 2, "no label for training has the class 'A'"),
    ("in a Windows code page", "t.csv", b"file,label\na2.png,caf\xe9\n", 2, "save the file as UTF-8"),
)
SORTED: Sequence[tuple[tuple[str, ...], int, str]] = (  # class folders, exit code of sort, what is said
    (("cat", "dog"), 0, "cat"),
    (("_none", "b"), 0, "__none"),
    (("_unsure", "b"), 0, "__unsure"),
    (("_none", "__none"), 2, "cannot have the folder '__none'"),
    (("a", "A"), 2, "the class 'A' cannot have the folder 'A', which is that of 'a'"),
    (("x:", "x?"), 2, "cannot have the folder 'x_'"),
    (("x.", "x "), 2, "cannot have the folder 'x'"),
    (("CON", "nul.x"), 0, "_CON"),
)


CASES = [
    *(Case(f"fit {' '.join(options)!r}", (*LABELLED, *options), usual, code, (says,)) for options, code, says in OPTIONS),
    Case(
        "a none class that is decomposed", (*CLASSES, "--none-class", "u\u0308"), class_folders("\u00fc", "b"), 0, ("bundle",)
    ),
    Case("a none class among two", (*CLASSES, "--none-class", "b"), class_folders("a", "b"), 0, ("bundle",)),
    *(
        Case(f"test labels {what}", (*LABELLED, "--test", name), with_bytes(name, data), code, (says,))
        for what, name, data, code, says in TESTS
    ),
    Case(
        "test labels that the fit has written",
        (*LABELLED, "--test", "run/predictions.csv"),
        usual,
        2,
        ("run/predictions.csv is one of the files that the fit writes",),
        first=[LABELLED],
    ),
    Case(
        "test labels of an image in a class folder",
        (*CLASSES, "--test", "t.csv"),
        tested_folders,
        2,
        ("labelled for training too",),
    ),
    *(
        Case(f"sort the classes {' and '.join(names)}", SORT, named_folders(*names), code, (says,), first=[CLASSES])
        for names, code, says in SORTED
    ),
    Case(
        "sort labels that are paths",
        SORT,
        inputs.named(rows=[("a2.png", "../../x"), ("b2.png", "/etc/x")]),
        0,
        (".._.._x", "_etc_x"),
        first=[LABELLED],
    ),
    Case(
        "sort a label of 300 bytes",
        SORT,
        inputs.named(rows=[("a2.png", "x" * 300)]),
        2,
        ("the class 'xxx", "more than 255 bytes"),
        first=[LABELLED],
    ),
    Case(
        "sort into the images", (*SORT[:3], "im/new"), usual, 2, ("im/new lies in the folder of the images",), first=[LABELLED]
    ),
    Case("sort into the bundle", (*SORT[:3], "run/bundle/new"), usual, 2, ("that the fit itself writes",), first=[LABELLED]),
    Case("sort into the features", (*SORT[:3], "run/features"), usual, 2, ("exists already",), first=[LABELLED]),
    Case("sort into the run", (*SORT[:3], "run/new"), usual, 0, ("│ a ",), first=[LABELLED]),
    Case("sort twice", SORT, usual, 2, ("new: exists already",), first=[LABELLED, SORT]),
    Case("sort as links", (*SORT, "--link"), usual, 0, ("│ a ",), first=[LABELLED]),
    Case(
        "a fit again over a bundle with a model beside",
        (*LABELLED, "--seed", "1"),
        usual,
        2,
        ("run/bundle/why.png: does not belong there and would be lost",),
        first=[LABELLED, ("explain", "run", "im/a0.png", "-o", "run/bundle/why.png")],
    ),
    *(
        Case(f"label: {what}", (*LABEL, *options), build, code, (says,))
        for what, options, build, code, says in (
            ("classes twice", ("--classes", "a,a,A"), usual, 0, "8 images"),
            ("a class of 300 letters", ("--classes", "x" * 300), usual, 2, "1 to 100 letters"),
            ("a class of a zero byte", ("--classes", "a\0b"), usual, 2, "can be printed"),
            ("another preset", ("--preset", "fastest"), usual, 2, "--preset fastest"),
            ("labels that are none", ("--labels", "text.txt"), usual, 2, "text.txt"),
            ("labels that are not there", ("--labels", "nowhere.csv"), usual, 2, "nowhere.csv"),
            ("labels with an unknown file", ("--labels", "t.csv"), with_bytes("t.csv", b"file,label\nz.png,a\n"), 2, "z.png"),
            ("files of somebody in the run", (), with_bytes("run/labels.csv", b"mine"), 2, "run holds labels.csv"),
            ("a broken fit in the run", (), with_bytes("run/fit.json", b"{}"), 2, "run holds fit.json"),
        )
    ),
    Case(
        "predictions over those of a fit",
        ("predict", "run/bundle", "im", "-o", "run/predictions.csv", "--workers", "0"),
        usual,
        2,
        ("run/predictions.csv: exists, and is nothing that this command has written",),
        first=[LABELLED],
    ),
    Case("label into the images", ("label", "im", "-o", "im", "--no-browser"), usual, 2, ("im is the folder of the images",)),
    Case("label in the images", ("label", "im", "-o", "im/run", "--no-browser"), usual, 2, ("im/run lies in the folder",)),
    Case("label into a file", ("label", "im", "-o", "text.txt", "--no-browser"), usual, 2, ("text.txt is a file",)),
    Case("label nothing", ("label", "empty", "-o", "run", "--no-browser"), usual, 2, ("empty holds no images",)),
    Case("label after a fit", LABEL, usual, 0, ("8 images, 4 labelled",), first=[LABELLED], changed=("run",)),
    Case("the example in folders that are not there", ("example", "x/y", "--per-class", "1"), usual, 0, ("x/y/photos",)),
    Case(
        "the example through a link",
        ("example", "l"),
        lambda here: os.symlink("nowhere", here / "l"),
        2,
        ("l: exists already",),
    ),
    Case("the example without a name", ("example", ""), usual, 2, ("exists already",)),
]
