"""The labels that a person gave: rows of CSV and JSON files, data frames and lists."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
BEFORE = re.compile(  # what may stand above the columns
    r'(?:[ \t]*(?:\r\n?|\n))*(?:"?sep=(?P<separator>[,;\t])"?(?:[ \t]*(?:\r\n?|\n))+)?', re.IGNORECASE
)
NO_LABEL = "-"  # where labels are changed: the image has none any more
SURPLUS = "\n"  # the key of fields without a column, which no column has


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


def label_files(labels: Labels | None, name: str = "labels") -> list[Path]:
    """The files among what labels are read from. Raises InputError, with the argument's ``name``, where that is no labels."""
    given: Any = () if labels is None else (labels,) if isinstance(labels, str | Path) else labels
    if not isinstance(given, Sequence) or not all(_is_source(item) for item in given):
        raise InputError(f"{name}: expected a file of labels, a list of them or a pandas DataFrame, not {reprlib.repr(labels)}")
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


def frame_rows(frame: Any, name: str = "the table") -> list[LabelRow]:
    """The rows of a pandas DataFrame with the columns of a label file; what is missing is no label. Messages call it ``name``.

    Numbers among which one is missing are floats to pandas: whole ones are written as such.

    Raises:
        InputError: no such columns, or a label without a file.
    """
    file, label = _columns([str(column).strip().lower() for column in frame.columns], name)
    known = frame.iloc[:, label].notna().to_numpy()
    values = frame.iloc[known, label]
    whole = all(isinstance(value, float) and value % 1 == 0 for value in values)
    rows, problems = [], []
    for i, image, value in zip(known.nonzero()[0].tolist(), frame.iloc[known, file], values, strict=True):
        text = composed(str(int(value) if whole else value).strip())
        if text and isinstance(image, str | os.PathLike) and str(image).strip():
            rows.append(LabelRow(os.fspath(image), text, i + 1))
        elif text:
            problems.append(f"line {i + 1}: no file")
    if problems:
        raise InputError(listed(f"{name}: each row needs a file and a label", problems))
    return rows


def read_labels(path: str | Path, *, allow_empty: bool = False) -> list[LabelRow]:
    """The rows of a label file: JSON lines if it ends in ``.jsonl``, else CSV; with one column of `FILE` and one of `LABEL`.

    The text is UTF-8, or what its byte order mark says. A CSV may separate by commas, semicolons or tabs, quote its fields and
    end its lines in any way; blank lines above it and a line ``sep=;``, as spreadsheets write, are passed over, and further
    columns or keys are ignored. Labels are composed (NFC), without blanks around them. A
    row without a label is left out, or kept with an empty one where ``allow_empty``. Raises InputError listing every row that
    cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a table of labels (without one, sub-folders are the classes)")
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: is empty; its first line must name the columns file and label")
    if path.suffix != ".jsonl" and text.lstrip()[0] in "[{":
        raise InputError(f"{path}: looks like JSON; give a CSV, or JSON lines in a file that ends in .jsonl")
    records = _json_records(path, text) if path.suffix == ".jsonl" else _csv_records(path, text)
    rows, problems = [], []
    for line, record in records:
        names = [next((name for name in known if name in record), known[0]) for known in (FILE, LABEL)]
        file, label = map(_text, map(record.get, names))
        label = composed(label.strip())
        if isinstance(record.get(names[1]), list | dict):
            problems.append(f"line {line}: the label {reprlib.repr(record[names[1]])} is no text")
        elif not file.strip():
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


def _text(value: object) -> str:
    """A value of CSV or JSON as it is written there; nothing for null."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _csv_records(path: Path, text: str) -> list[tuple[int, dict[str, str | None]]]:
    before = BEFORE.match(text)
    assert before is not None  # as all of it may be absent
    above, text = len(before[0].splitlines()), text[before.end() :]
    head = text.replace("\r", "\n").split("\n", 1)[0]
    delimiter = before["separator"] or _delimiter(head)
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
            records.append((above + begun, record))
    except csv.Error as error:
        raise InputError(f"{path}: line {above + begun + 1}: {error}; is a quotation mark not closed there?") from None
    surplus = [f"line {line}" for line, record in records if any(map(str.strip, record.get(SURPLUS) or ()))]
    if surplus:
        why = f"more fields than the first line names; put a name or label that holds {delimiter!r} in quotation marks"
        raise InputError(listed(f"{path}: {why}", surplus))
    return records


def _delimiter(head: str) -> str:
    """What the first line separates its names by: that which leaves the two columns, else the most frequent one."""
    for delimiter in ",;\t":
        names = {name.strip(' "').lower() for name in head.split(delimiter)}
        if names.intersection(FILE) and names.intersection(LABEL):
            return delimiter
    return max(",;\t", key=head.count)


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


def listed(title: str, problems: Sequence[str]) -> str:
    """A message with one problem a line, the first ``SHOWN`` of them."""
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "\n  ".join([f"{title}:", *problems[:SHOWN], *more])
