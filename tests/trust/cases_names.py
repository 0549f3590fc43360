"""Names of files, labels and classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from paws.data.check import check_folder
from paws.data.labelled_folder import labelled_folder
from paws.data.labels import read_labels
from tests.trust import inputs
from tests.trust.case import CLASSES, LABELLED, PREDICT, Case

GOOD = "file,label\na0.png,a\nb0.png,b\n"
LATIN = os.fsdecode(b"caf\xe9.png")  # not UTF-8
ODD_FILES = {
    "not UTF-8": LATIN,
    "not UTF-8, in a folder": os.fsdecode(b"d\xe9p/x.png"),
    "a leading blank": " x.png",
    "blanks at both ends of the stem": " x .png",
    "a line feed": "x\ny.png",
    "a carriage return": "x\ry.png",
    "a line separator": "x\u2028y.png",
    "a next line": "x\x85y.png",
    "a form feed": "x\x0cy.png",
    "a tab": "x\ty.png",
    "a comma": "x,y.png",
    "a semicolon": "x;y.png",
    "a quote": 'x"y.png',
    "an apostrophe": "x'y.png",
    "a back slash": "x\\y.png",
    "a dollar sign": "$x$.png",
    "markup of rich": "[red]x[/red].png",
    "broken markup of rich": "[/x].png",
    "markup of HTML": "<script>alert(1)</script>.png".replace("/", "\u2215"),
    "an ampersand": "&amp;.png",
    "a formula": "=1+2.png",
    "a leading minus": "-x.png",
    "a leading at sign": "@x.png",
    "a per cent sign": "%s.png",
    "braces": "{0}.png",
    "composed letters": "\u00fc.png",
    "decomposed letters": "u\u0308.png",
    "right to left": "\u202ex.png",
    "an emoji": "\U0001f431.png",
    "Chinese": "\u732b.png",
    "255 bytes": "x" * 251 + ".png",
    "a zero-width blank": "x\u200by.png",
    "a bell": "x\x07y.png",
    "an escape sequence": "x\x1b[31my.png",
}


def round_trip(name: str) -> Callable[[Path], str]:
    """The label of the odd file is read, and the file stands in the list under its own name."""

    def call(folder: Path) -> str:
        found = labelled_folder(folder / "im", folder / "l.csv")
        names = list(found.names)
        assert name in names
        return found.classes[int(found.labels[names.index(name)])]

    return call


def notes(folder: Path) -> str:
    return "\n".join(check_folder(folder / "im", None).notes())


def label_notes(folder: Path) -> str:
    return "\n".join(check_folder(folder / "im", folder / "l.csv").notes())


def rows(folder: Path) -> str:
    return str([(row.file, row.label) for row in read_labels(folder / "l.csv")])


def text(data: str | bytes, code: int, *says: str, name: str) -> Case:
    return Case(name, rows, inputs.label_text(data), code, says)


def odd_run(here: Path) -> None:
    inputs.folder(here, list(ODD_FILES.values()))
    inputs.labels(here, [(LATIN, "$x$"), (" x.png", "$x$"), ("=1+2.png", "[red]y"), ("x\ny.png", "[red]y")])
    (here / "more.csv").write_bytes(b"file,label\nd\xe9p/x.png,a\n")


OF_LABELS = ("fit.json", "predictions.csv", ".predictions.sha256", "held_out.csv", "files.json", "labels.csv", "bundle")
CHANGED = tuple(f"run/{name}" for name in OF_LABELS)
CASES = [
    *(
        Case(f"label of a file with {what}", round_trip(name), inputs.named(name, rows=[(name, "b")]), 0, ("b",))
        for what, name in ODD_FILES.items()
    ),
    *(Case(f"check of a file with {what}", label_notes, inputs.named(name)) for what, name in ODD_FILES.items()),
    Case("fit with every odd file name", LABELLED, inputs.named(*ODD_FILES.values()), 0, ("42 images",)),
    Case("fit with an odd file labelled", LABELLED, inputs.named(LATIN, rows=[(LATIN, "a")]), 0, ("9 images, 5 labelled",)),
    Case("predict every odd file name", PREDICT, inputs.named(*ODD_FILES.values()), 0, ("42 rows",)),
    Case(
        "predict every odd file name as JSON",
        ("predict", "{bundle}", "im", "--json", "--workers", "0", "--device", "cpu"),
        inputs.named(*ODD_FILES.values()),
        0,
        ('"file"',),
    ),
    Case("a file name of 300 bytes", LABELLED, inputs.named(rows=[("x" * 296 + ".png", "a")]), 2, ("does not exist", "line 6")),
    Case("a path of 5000 bytes", LABELLED, inputs.named(rows=[("x/" * 2500 + "x.png", "a")]), 2, ("does not exist",)),
    Case(
        "a file name of 300 bytes to predict",
        ("predict", "{bundle}", "x" * 300, "-o", "out.csv"),
        code=2,
        says=("no such file or folder",),
    ),
    Case("a zero byte in a file name", LABELLED, inputs.named(rows=[("x\0.png", "a")]), 2, ("UTF-8",)),
    Case(
        "blanks around a name in the labels",
        round_trip("a0.png"),
        inputs.label_text("file,label\n  a0.png  ,  a\nb0.png,b\n"),
        0,
        ("a",),
    ),
    text(GOOD.encode("utf-16"), 0, "('a0.png', 'a')", name="labels in UTF-16 with a mark"),
    text(b"\xfe\xff" + GOOD.encode("utf-16-be"), 0, "('a0.png', 'a')", name="labels in big-endian UTF-16"),
    text(GOOD.encode("utf-16-le"), 2, "save it as UTF-8", name="labels in UTF-16 without a mark"),
    text(GOOD.encode("utf-32"), 2, "save it as UTF-8", name="labels in UTF-32"),
    text(GOOD.encode("utf-8-sig"), 0, "('a0.png', 'a')", name="labels in UTF-8 with a mark"),
    text(
        "file,label\na0.png,caf\u00e9\nb0.png,b\n".encode("cp1252"),
        2,
        "line 2",
        "save the file as UTF-8",
        name="a label in a Windows code page",
    ),
    text(
        "file,label\na0.png,\u043a\u043e\u0442\nb0.png,b\n".encode("cp1251"),
        2,
        "save the file as UTF-8",
        name="a label in Cyrillic of Windows",
    ),
    text(b"\xff\xfef\x00i", 2, "save it as UTF-8", name="half of a character of UTF-16"),
    text(GOOD.replace("\n", "\r"), 0, "('b0.png', 'b')", name="labels with the line ends of old Macs"),
    text(GOOD.replace("\n", "\r\n"), 0, "('b0.png', 'b')", name="labels with the line ends of Windows"),
    text("file,label,label\na0.png,a,x\n", 2, "the column label more than once", name="two columns label"),
    text("file,label,Label\na0.png,a,x\n", 2, "the column label more than once", name="two columns label in other case"),
    text("file,file,label\na0.png,x,a\n", 2, "the column file more than once", name="two columns file"),
    text("", 2, "must name the columns", name="empty labels"),
    text("\n\n", 2, "must name the columns", name="labels of blank lines"),
    text("file,label", 2, "holds no label", name="a head alone"),
    text("a0.png,a\nb0.png,b\n", 2, "must name the columns file and label", name="labels without a head"),
    text("file,label\n ,a\n", 2, "line 2: no file", name="a blank file"),
    text("file,label\na0.png, \n", 2, "holds no label", name="a blank label"),
    text('file,label\n"a0.png,a\nb0.png,b\n', 2, "quotation mark", name="a quote that does not end"),
    text("file,label\na0.png,caf\u0065\u0301\n", 0, "caf\u00e9", name="a decomposed label is composed"),
    text("file,label\na0.png,a\x00b\n", 2, "save it as UTF-8", name="a zero byte in a label"),
    Case(
        "a Windows code page in a file name",
        LABELLED,
        inputs.label_text("file,label\ncaf\u00e9.png,a\nb0.png,b\n".encode("cp1252")),
        2,
        ("caf\\xe9.png does not exist; is the file of labels saved as UTF-8?",),
    ),
    Case(
        "composed and decomposed labels are one class",
        label_notes,
        inputs.named(rows=[("a2.png", "\u00fc"), ("a3.png", "u\u0308")]),
        0,
        (),
        ("differ",),
    ),
    Case(
        "labels that differ in case",
        label_notes,
        inputs.named(rows=[("a2.png", "A")]),
        0,
        ("'A' and 'a' differ only in blanks or in upper and lower case",),
    ),
    Case(
        "labels that differ in blanks",
        label_notes,
        inputs.named(rows=[("a2.png", "big cat"), ("a3.png", "big  cat"), ("b2.png", "bigcat")]),
        0,
        ("'big  cat' and 'big cat' and 'bigcat' differ only",),
    ),
    Case("class folders that differ in case", notes, inputs.class_folders("Cat", "cat", "dog"), 0, ("'Cat' and 'cat' differ",)),
    Case(
        "class folders that differ in blanks",
        notes,
        inputs.class_folders(" cat", "cat", "dog"),
        0,
        ("' cat' and 'cat' differ",),
    ),
    Case(
        "class folders that differ in composition are one",
        notes,
        inputs.class_folders("\u00fc", "u\u0308", "x"),
        0,
        (),
        ("differ",),
    ),
    Case(
        "train and val as classes",
        notes,
        inputs.class_folders("train", "val"),
        0,
        ("the folders train and val are taken for classes", "IMAGES/train"),
    ),
    Case(
        "train, val and test as classes",
        notes,
        inputs.class_folders("train", "val", "test"),
        0,
        ("test and train and val are taken for classes",),
    ),
    Case(
        "classes and files that are formulas to a spreadsheet",
        label_notes,
        inputs.named("@SUM(A1).png", rows=[("a2.png", "=cmd|' /C calc'!A0"), ("b2.png", "-1")]),
        0,
        ("a spreadsheet takes =cmd|' /C calc'!A0, @SUM(A1).png for a formula",),
    ),
    Case("classes that are numbers are no formulas", label_notes, inputs.named(rows=[("a2.png", "-1")]), 0, (), ("formula",)),
    Case("train as one class of three", notes, inputs.class_folders("train", "bus", "car"), 0, (), ("taken for",)),
    Case("a folder of a NAS as a class", notes, inputs.class_folders("@eaDir", "cat", "dog"), 0, ("@eaDir taken for a class",)),
    Case(
        "a folder of macOS as a class",
        notes,
        inputs.class_folders("__MACOSX", "cat", "dog"),
        0,
        ("__MACOSX taken for a class",),
    ),
    Case("hidden folders are no classes", notes, inputs.class_folders(".git", "cat", "dog"), 0, (), (".git",)),
    Case(
        "a class folder that is not UTF-8",
        CLASSES,
        inputs.class_folders(os.fsdecode(b"caf\xe9"), "b"),
        2,
        ("caf\\xe9 is not UTF-8",),
    ),
    *(
        Case(f"a class named {name!r}", CLASSES, inputs.class_folders(name, "zz"), 0, (f"{name} 3",))
        for name in (
            "[red]x[red]",
            "[b]",
            "$x$",
            "$x",
            "=1+2",
            "+1",
            "-1",
            "@x",
            "<b>x",
            "{0}",
            "%d",
            "x,y",
            "x;y",
            "'x",
            '"x"',
        )
    ),
    Case(
        "a label that is broken markup",
        LABELLED,
        inputs.named(rows=[("a2.png", "[/x]"), ("b2.png", "[red]x[/red]")]),
        0,
        ("[/x] 1",),
    ),
    *(
        Case(f"odd names: {verb[0]} {verb[-1]}", verb, odd_run, 0, says, first=[LABELLED], changed=CHANGED)
        for verb, says in (
            (("report", "run"), ("report.html",)),
            (("suggest", "run", "-n", "3", "-o", "next.csv"), ("3 images to label next",)),
            (("labels", "run", "--suspicious", "-n", "3", "-o", "doubts.csv"), ("$x$",)),
            (("labels", "run", "--csv", "more.csv"), ("1 added",)),
            (("explain", "run", "im/a0.png", "-o", "why.png"), ("$x$",)),
            (("explain", "run", "im/a0.png", "--json"), ("$x$",)),
            (("export", "run", "-o", "model.safetensors"), ("model.safetensors",)),
            (("predict", "run/bundle", "im", "-o", "again.csv", "--workers", "0", "--device", "cpu"), ("rows",)),
            (LABELLED, ("unchanged",)),
        )
    ),
]
