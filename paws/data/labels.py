"""The labels of a person's own images: read from CSV, JSON lines or class folders, and held against the folder."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from paws.data.folder import FileSet, Paths
from paws.data.formats import Listing, scan_images
from paws.data.texts import composed, from_json, is_utf8, printable, read_text
from paws.errors import InputError

SHOWN = 20  # problems of one kind
FILE = (
    "file",
    "filename",
    "file_name",
    "image",
    "image_path",
    "path",
    "filepath",
)  # columns that name the image, the first of them
LABEL = ("label", "class", "category", "target")
SURPLUS = "\n"  # the key of fields without a column, which no column has
MANY = 20_000  # images among which no name is looked for that is spelled nearly the same


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file: the image it names, its label, and the line (from 1) it stands on; 0: it was given otherwise."""

    file: str
    label: str
    line: int
    source: str = ""  # its label file, where there are several
    beside: str = ""  # the folder of that file, to which the name may be relative

    @property
    def place(self) -> str:
        """Where the row stands, for messages."""
        return f"{self.source} line {self.line}".strip() if self.line else "the command line"


Labels = str | Path | Sequence[str | Path] | Sequence[LabelRow]  # a label file, several, or the rows themselves


def label_rows(labels: Labels) -> list[LabelRow]:
    """The rows of all label files. Raises InputError as `read_labels` does."""
    if isinstance(labels, str | Path):
        return read_labels(labels)
    rows: list[LabelRow] = []
    for item in labels:
        rows += [item] if isinstance(item, LabelRow) else [replace(r, source=Path(item).name) for r in read_labels(item)]
    return rows


def label_files(labels: Labels | None) -> list[Path]:
    """The files among what labels are read from. Raises InputError where that is no labels at all."""
    given: Any = () if labels is None else (labels,) if isinstance(labels, str | Path) else labels
    if not isinstance(given, Sequence) or not all(_is_source(item) for item in given):
        raise InputError(f"labels: expected a file of labels, a list of them or a pandas DataFrame, not {reprlib.repr(labels)}")
    return [Path(item) for item in given if not isinstance(item, LabelRow)]


def _is_source(item: Any) -> bool:
    return isinstance(item, LabelRow) or (isinstance(item, str | Path) and "\0" not in str(item))


def name_of(labels: Labels | None) -> str | None:
    """What labels are called in messages and records: their files."""
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        return str(labels)
    return ", ".join(dict.fromkeys("a table" if isinstance(item, LabelRow) else str(item) for item in labels))


def frame_rows(frame: Any) -> list[LabelRow]:
    """The rows of a pandas DataFrame with the columns of a label file; what is missing is no label.

    Numbers among which one is missing are floats to pandas: whole ones are written as such.

    Raises:
        InputError: no such columns, or a label without a file.
    """
    file, label = _columns([str(name).strip().lower() for name in frame.columns], "the table")
    known = frame.iloc[:, label].notna().to_numpy()
    values = frame.iloc[known, label]
    whole = values.dtype.kind == "f" and bool((values % 1 == 0).all())
    rows, problems = [], []
    for i, name, value in zip(known.nonzero()[0].tolist(), frame.iloc[known, file], values, strict=True):
        text = composed(str(int(value) if whole else value).strip())
        if text and isinstance(name, str | os.PathLike) and str(name).strip():
            rows.append(LabelRow(os.fspath(name), text, i + 1))
        elif text:
            problems.append(f"line {i + 1}: no file")
    if problems:
        raise InputError(listed("the table: each row needs a file and a label", problems))
    return rows


def read_labels(path: str | Path, *, allow_empty: bool = False) -> list[LabelRow]:
    """The rows of a label file: JSON lines if it ends in ``.jsonl``, else CSV; with one column of `FILE` and one of `LABEL`.

    The text is UTF-8, or what its byte order mark says. A CSV may separate by commas, semicolons or tabs, quote its fields and
    end its lines in any way; further columns or keys are ignored. Labels are composed (NFC), without blanks around them. A
    row without a label is left out, or kept with an empty one where ``allow_empty``. Raises InputError listing every row that
    cannot be used.
    """
    path = Path(path)
    text = read_text(path)
    records = _json_records(path, text) if path.suffix == ".jsonl" else _csv_records(path, text)
    rows, problems = [], []
    for line, record in records:
        names = [next((name for name in known if name in record), known[0]) for known in (FILE, LABEL)]
        file, label = (str(value) if value is not None else "" for value in map(record.get, names))
        label = composed(label.strip())
        if not file.strip():
            problems += [f"line {line}: no file"] if label else []
        elif not is_utf8(label):
            problems.append(f"line {line}: the label {printable(label)} is not UTF-8; save the file as UTF-8")
        elif label or allow_empty:
            rows.append(LabelRow(file, label, line, beside=str(path.parent)))
    if problems:
        raise InputError(listed(f"{path}: each row needs a file and a label", problems))
    if not rows:
        raise InputError(f"{path}: holds no label; each row needs a file and a label")
    return rows


def _csv_records(path: Path, text: str) -> list[tuple[int, dict[str, str | None]]]:
    head = text.replace("\r", "\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    lines = io.StringIO(text, newline="")  # splits at the ends of lines alone: names may hold other separators
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True, restkey=SURPLUS, strict=True)
    records: list[tuple[int, dict[str, str | None]]] = []
    begun = 0  # the last line that was read whole
    try:
        names = [name.strip().lower() for name in reader.fieldnames or []]
        used = [names[column] for column in _columns(names, f"{path}: the first line", head.strip())]
        twice = [name for name in used if names.count(name) > 1]
        if twice:
            raise InputError(f"{path}: the first line names the column {twice[0]} more than once; leave one of them")
        reader.fieldnames = names
        begun = reader.line_num
        for record in reader:
            begun = reader.line_num
            records.append((begun, record))
    except csv.Error as error:
        raise InputError(f"{path}: line {begun + 1}: {error}; is a quotation mark not closed there?") from None
    surplus = [f"line {line}" for line, record in records if any(map(str.strip, record.get(SURPLUS) or ()))]
    if surplus:
        why = f"more fields than the first line names; put a name or label that holds {delimiter!r} in quotation marks"
        raise InputError(listed(f"{path}: {why}", surplus))
    return records


def _columns(names: Sequence[str], where: str, head: str = "") -> tuple[int, int]:
    """Which of the columns ``names`` name the image and its label. Raises InputError where there are none."""
    found = [next((names.index(name) for name in known if name in names), None) for known in (FILE, LABEL)]
    if found[0] is None or found[1] is None:
        others = f"; for file also {', '.join(FILE[1:])}, for label also {', '.join(LABEL[1:])}"
        reads = repr(head) if head else ", ".join(names)
        raise InputError(f"{where} must name the columns file and label, it reads {reads}{others}")
    return found[0], found[1]


def _json_records(path: Path, text: str) -> list[tuple[int, dict[str, object]]]:
    records, problems = [], []
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            record = from_json(row)
        except json.JSONDecodeError as error:
            problems.append(f"line {line}: {error.msg}")
            continue
        if isinstance(record, dict):
            records.append((line, record))
        else:
            problems.append(f"line {line}: not an object")
    if problems:
        raise InputError(listed(f"{path}: each line must be a JSON object with file and label", problems))
    return records


def list_folder(root: str | Path) -> Listing:
    """What lies in a folder of images. Raises InputError where it is no folder or holds no image."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder of images")
    listing = scan_images(root)
    if not listing.images:
        raise InputError(f"{root} holds no images" + (f"; {listing.told()}" if listing.passed_over else ""))
    return listing


def labelled_folder(root: str | Path, labels: Labels | None = None, listing: Listing | None = None, least: int = 2) -> FileSet:
    """All images below ``root`` (nested folders too) as a FileSet: labelled where ``labels`` says so, else -1.

    Without ``labels`` an image in a sub-folder of ``root`` has that sub-folder's name as its label, and the images that lie
    in ``root`` itself have none. Classes stand in sorted order. ``listing`` is what lies in ``root``, where it is known.
    There are to be ``least`` classes.

    Raises:
        InputError: listing every problem at once: an empty folder, rows naming files that are not images of the folder, files
            with two labels, fewer classes.
    """
    root = Path(root)
    names = (listing or list_folder(root)).images
    where = "the sub-folders"
    problems: list[str] = []
    if labels is None:
        label_of = {name: composed(PurePosixPath(name).parts[0]) for name in names if len(PurePosixPath(name).parts) > 1}
        unread = sorted({printable(label) for label in label_of.values() if not is_utf8(label)})
        problems += [f"the name of the folder {name} is not UTF-8, so it cannot be a class; rename it" for name in unread]
    else:
        where = name_of(labels) or "an empty list"
        label_of, problems = match_rows(root, names, label_rows(labels))
    classes = tuple(sorted(set(label_of.values())))
    if not problems and len(classes) < least:
        found = f"only the class {classes[0]!r}" if classes else "no label"
        if labels is None:
            found += f", as the images of {root} lie in {'one' if classes else 'no'} sub-folder; give a table of labels"
        problems.append(f"{found}; at least two classes are needed")
    if problems:
        raise InputError(listed(f"{where}: {len(problems)} problem(s) with the labels of {root}", problems))
    ids = {name: i for i, name in enumerate(classes)}
    y = torch.tensor([ids[label_of[name]] if name in label_of else -1 for name in names], dtype=torch.int64)
    return FileSet(Paths.of(root, names), y, classes)


def match_rows(root: Path, names: Sequence[str], rows: Sequence[LabelRow]) -> tuple[dict[str, str], list[str]]:
    """Label of each image of ``names`` (relative to ``root``) that has a row, and what is wrong with the rows.

    A name is relative to ``root``, to the folder of the label file, or to the working folder, whichever has the image. Names
    agree up to Unicode composition, and where no image has the very name, up to blanks around it.
    """
    known = {composed(name).strip(): name for name in names} | {composed(name): name for name in names}
    label_of: dict[str, str] = {}
    first: dict[str, LabelRow] = {}
    problems: list[str] = []
    for row in rows:
        file = row.file.strip()
        elsewhere = (_relative(root, os.path.abspath(os.path.join(folder, file))) for folder in (row.beside, ""))
        spelled = (row.file, _relative(root, row.file), file, _relative(root, file), *elsewhere)
        name = next((known[way] for way in map(composed, spelled) if way in known), None)
        if name is None:
            why = (
                "is not an image that can be read" if os.path.isfile(os.path.join(root, row.file.strip())) else "does not exist"
            )
            hint = "" if is_utf8(row.file) else "; is the file of labels saved as UTF-8?"
            near = "" if len(problems) >= SHOWN else _near(file, names)
            problems.append(f"{row.place}: {printable(file)} {why}{near}{hint}")
        elif label_of.setdefault(name, row.label) != row.label:
            earlier = first[name]
            problems.append(f"{row.place}: {row.file} is {row.label!r}, but {earlier.label!r} on {earlier.place}")
        else:
            first.setdefault(name, row)
    return label_of, problems


def _near(file: str, names: Sequence[str]) -> str:
    """A hint at the image that may be meant: of that name in another folder or with another suffix, or spelled alike."""
    base = PurePosixPath(file.replace("\\", "/"))
    stems = (base.name.casefold(), base.stem.casefold())
    found = [name for name in names if PurePosixPath(name).name == base.name]
    found = found or [name for name in names if PurePosixPath(name).stem.casefold() in stems]
    if not found and len(names) <= MANY:
        found = difflib.get_close_matches(file, names, 1, 0.8)
    return f"; did you mean {printable(found[0])}?" if found else ""


def _relative(root: Path, file: str) -> str:
    """``file`` as a name below ``root``: ./ and back slashes resolved, absolute paths below ``root`` cut."""
    file = file.replace("\\", "/")
    if os.path.isabs(file):
        file = os.path.relpath(file, root.absolute())
    return os.path.normpath(file)


def class_counts(files: FileSet) -> dict[str, int]:
    """Number of labelled images of each class."""
    counts = Counter(files.labels.tolist())
    return {name: counts[i] for i, name in enumerate(files.classes)}


def listed(title: str, problems: Sequence[str]) -> str:
    """A message with one problem a line, the first ``SHOWN`` of them."""
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n  ".join([f"{title}:", *problems[:SHOWN], *more])
