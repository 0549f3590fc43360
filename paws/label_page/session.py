"""What was done to the pictures of a folder so far: a state machine over the entries of a journal.

Entries are JSON objects; ``id`` is made by whoever asks for the action, so that one that is asked for again, because the answer
was lost, is not done twice.

* ``{"do": "mark", "how": …, "marks": [[file, kind, class], …]}``: kinds are "label", "none" (of these classes), "skip" (later),
  "not" (of that class, but not known which), "right" (of that class, on a second look) and "clear"; ``how`` says how the label
  came about, one of `HOW`.
* ``{"do": "class", "class": name}``: a class that may not have a picture yet.
* ``{"do": "rename", "class": name, "to": name}``: a class gets another name; where there is one of that name, both are one.
* ``{"do": "undo"}``: takes back the last entry that is not taken back yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from paws.data.labels import NO_LABEL
from paws.data.texts import composed
from paws.errors import InputError
from paws.label_page.journal import Entry, Journal

Kind = Literal["label", "none", "skip", "not", "right", "clear"]
KINDS: tuple[Kind, ...] = ("label", "none", "skip", "not", "right", "clear")
WITH_CLASS = ("label", "not", "right")  # kinds that name one
HOW = ("chosen", "random", "bulk", "other", "import")  # chosen: shown by the learner's choice; random: drawn to measure it
LONGEST = 100  # letters of a class
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Picture:
    """What is known of one picture."""

    label: str | None = None
    how: str = ""  # the label came about
    none: bool = False  # of none of the classes
    skipped: int = 0  # times
    excluded: frozenset[str] = frozenset()  # classes that it is not of
    sure: bool = False  # the label was looked at again and is right

    @property
    def open(self) -> bool:
        """Whether it still waits for a label."""
        return self.label is None and not self.none

    def marked(self, kind: Kind, name: str | None, how: str) -> Picture:
        """The picture after a mark of ``kind``, with the class ``name``."""
        if kind == "label":
            return replace(self, label=name, how=how, none=False, excluded=self.excluded - {name or ""}, sure=False)
        if kind == "none":
            return replace(self, label=None, how=how, none=True, sure=False)
        if kind == "right":
            return replace(self, sure=self.label == name)
        if kind == "skip":
            return replace(self, skipped=self.skipped + 1)
        if kind == "not":
            return replace(self, label=None, how="", none=False, excluded=self.excluded | {name or ""}, sure=False)
        return Picture()

    def renamed(self, name: str, to: str, *, merged: bool) -> Picture:
        """The picture when the class ``name`` is called ``to``; ``merged``: which was a class of its own.

        It is not of two classes that became one only where it was of neither.
        """
        label, excluded = to if self.label == name else self.label, self.excluded
        if merged and len(excluded & {name, to}) == 1:
            excluded -= {name, to}
        elif name in excluded:
            excluded = excluded - {name} | {to}
        return self if (label, excluded) == (self.label, self.excluded) else replace(self, label=label, excluded=excluded)


Undo = tuple[dict[int, Picture], list[str]]  # pictures as they were, and the classes


class Session:
    """The pictures ``files`` (N names) with their labels, as the journal has them. Not safe for threads: the caller locks.

    ``revision`` is the number of entries, so two pages that show the same revision show the same.

    Raises:
        InputError: the journal holds something else.
    """

    def __init__(self, files: Sequence[str], journal: Journal) -> None:
        self.files, self.journal = tuple(files), journal
        self.row_of = {file: row for row, file in enumerate(self.files)}
        self.pictures = [Picture()] * len(self.files)
        self.classes: list[str] = []
        self.revision = self.none_count = 0
        self._labels: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self.missing: set[str] = set()  # files of the journal that are not in the folder any more
        self._done: list[Undo] = []
        self._ids: set[str] = set()
        for number, entry in enumerate(journal.entries, 1):
            if not _is_entry(entry):
                raise InputError(f"{journal.path}: line {number} is no action; take it out, or restore the file")
            self._apply(entry)

    @property
    def labelled_count(self) -> int:
        """How many pictures have a label."""
        return len(self._labels)

    @property
    def undoable(self) -> int:
        """How many actions can be taken back."""
        return len(self._done)

    def labelled(self) -> dict[int, str]:
        """Label of each row that has one."""
        return dict(self._labels)

    def counts(self) -> dict[str, int]:
        """Labelled pictures of each class."""
        return {name: self._counts[name] for name in self.classes}

    def mark(self, marks: Iterable[tuple[int, Kind, str | None]], how: str, id: str, revision: int | None = None) -> bool:
        """Mark pictures by row, as one action; nothing where ``id`` was done already.

        False, and nothing, where the page that asked shows another ``revision``: somebody may have labelled these since.

        Raises:
            InputError: a row, kind, class or ``how`` that does not exist, or the disk does not take it.
        """
        rows = [(row, kind, None if name is None else class_name(name)) for row, kind, name in marks]
        if not rows or how not in HOW:
            raise InputError(f"an action needs pictures, and one of {', '.join(HOW)}")
        for row, kind, name in rows:
            if not 0 <= row < len(self.files):
                raise InputError(f"there is no picture {row}")
            if kind not in KINDS or (name is None) == (kind in WITH_CLASS):
                raise InputError(f"{kind!r} with the class {name!r} is no mark")
        if id not in self._ids and revision not in (None, self.revision):
            return False
        self._record({"id": id, "do": "mark", "how": how, "marks": [[self.files[row], kind, name] for row, kind, name in rows]})
        return True

    def add_class(self, name: str, id: str) -> None:
        """Add a class; nothing where it is there.

        Raises:
            InputError: no name, or the disk does not take it.
        """
        if (name := class_name(name)) not in self.classes:
            self._record({"id": id, "do": "class", "class": name})

    def rename_class(self, name: str, to: str, id: str) -> None:
        """Give a class another name, or make it one with the class that has it; nothing where ``id`` was done already.

        Raises:
            InputError: there is no such class, it has that name already, or the disk does not take it.
        """
        to = class_name(to)
        if id in self._ids:
            return
        if name not in self.classes or to == name:
            raise InputError(f"there is no class {name!r}" if name not in self.classes else f"{name!r} is its name already")
        self._record({"id": id, "do": "rename", "class": name, "to": to})

    def undo(self, id: str, revision: int | None = None) -> bool:
        """Take the last action back. False where there is none, or the page that asked shows another ``revision``."""
        if id in self._ids:
            return True
        if not self._done or revision not in (None, self.revision):
            return False
        self._record({"id": id, "do": "undo"})
        return True

    def _record(self, entry: Entry) -> None:
        if entry["id"] in self._ids:
            return
        names = {name for _, kind, name in entry.get("marks", ()) if kind == "label"}
        names |= {entry["class"]} if entry["do"] == "class" else set()
        if len(names | set(self.classes)) > MOST_CLASSES:
            raise InputError(f"there are {len(self.classes)} classes; no more than {MOST_CLASSES} can be told apart")
        self.journal.append(entry)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        self.revision += 1
        self._ids.add(str(entry.get("id", self.revision)))
        if entry.get("do") == "undo":
            if self._done:
                pictures, self.classes = self._done.pop()
                for row, picture in pictures.items():
                    self._put(row, picture)
            return
        before: dict[int, Picture] = {}
        classes = list(self.classes)
        if entry.get("do") == "class":
            self._meet(entry["class"])
        elif entry.get("do") == "rename":
            before = self._rename(entry["class"], entry["to"])
        for file, kind, name in entry.get("marks", ()):
            if kind == "label":
                self._meet(name)
            if file not in self.row_of:
                self.missing.add(file)
                continue
            row = self.row_of[file]
            before.setdefault(row, self.pictures[row])
            self._put(row, self.pictures[row].marked(kind, name, str(entry.get("how", ""))))
        self._done.append((before, classes))

    def _rename(self, name: str, to: str) -> dict[int, Picture]:
        """Returns the pictures as they were before that are others now."""
        merged = to in self.classes
        self.classes = [to if each == name else each for each in self.classes if each != name or not merged]
        before = {}
        for row, picture in enumerate(self.pictures):
            if (renamed := picture.renamed(name, to, merged=merged)) is not picture:
                before[row] = picture
                self._put(row, renamed)
        return before

    def _put(self, row: int, picture: Picture) -> None:
        former, self.pictures[row] = self.pictures[row], picture
        self.none_count += picture.none - former.none
        if former.label is not None:
            self._counts[former.label] -= 1
            del self._labels[row]
        if picture.label is not None:
            self._counts[picture.label] += 1
            self._labels[row] = picture.label

    def _meet(self, name: str) -> None:
        if name not in self.classes:
            self.classes = [*self.classes, name]


def _is_entry(entry: Entry) -> bool:
    """Whether what stands in a journal is an entry as described above."""
    deed, marks = entry.get("do"), entry.get("marks")
    if deed == "mark":
        whole = isinstance(marks, list) and all(isinstance(mark, list) and len(mark) == 3 for mark in marks)
        return whole and all(
            isinstance(file, str) and kind in KINDS and isinstance(name, str) == (kind in WITH_CLASS)
            for file, kind, name in marks or ()
        )
    needed = {"class": ["class"], "rename": ["class", "to"], "undo": []}
    return deed in ("class", "rename", "undo") and all(isinstance(entry.get(key), str) for key in needed[deed])


def class_name(name: Any) -> str:
    """A class as it is written: one line without blanks at its ends.

    Raises:
        InputError: it is empty or too long, or holds characters that are not printed.
    """
    found = composed(" ".join(name.split())) if isinstance(name, str) else ""
    if not found or len(found) > LONGEST or not found.isprintable() or found == NO_LABEL:
        raise InputError(f"a class needs a name of 1 to {LONGEST} letters that can be printed, and not only a dash")
    return found
