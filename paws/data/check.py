"""Everything that is wrong with a folder and its labels, found before anything is computed and told at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paws.data.copies import copy_groups, told_copies
from paws.data.folder import FileSet, Paths, Stamp, stamps
from paws.data.formats import Listing
from paws.data.images import Inspected, inspect_images
from paws.data.labelled_folder import class_counts, labelled_folder, list_folder
from paws.data.labels import NO_LABEL, Labels, listed, name_of
from paws.data.levels import Range, range_of
from paws.data.texts import alike, counted, from_json, is_utf8, printable
from paws.errors import InputError
from paws.runs.files import write_text

FORMULA = ("=", "+", "-", "@")  # what begins one in a spreadsheet
SPLITS = ("train", "training", "val", "valid", "validation", "test")  # folders of a split, that are seldom classes
SHOWN = 12  # classes that a summary names
SLIPS, SLIP_OF, NEAR = 2, 3, 0.85  # labels of a misspelled class, how many times as many the right one has, how alike they are
MOST_CLASSES = 1000  # among which a near name is looked for
TOO_MANY = 0.5  # share of unreadable files from which on the folder is taken for the wrong one


@dataclass(frozen=True)
class Checked:
    """A folder that can be worked on."""

    files: FileSet  # the readable images, labelled where they are
    test: Tensor  # (N,) int64 labels of the test images, -1 elsewhere
    unreadable: dict[str, str]  # file name -> what is wrong with it
    stamps: list[Stamp | None]  # of all images, None where a file was written just now
    inspected: list[Inspected]  # what decoding each of all images told
    listing: Listing  # what lies in the folder
    by_folder: bool  # sub-folders are the classes

    @cached_property
    def values(self) -> Range | None:
        """What is black and white in the images of more than 8 bits; None where there are none."""
        return range_of(found.extremes for found in self.inspected if found.extremes)

    @cached_property
    def contents(self) -> list[str]:
        """(N) names of the bytes of the readable images."""
        return [found.content for found in self.inspected if not found.fault]

    @cached_property
    def groups(self) -> Tensor:
        """(N,) int64: the same number for images with equal bytes."""
        return copy_groups(self.contents)

    @cached_property
    def decoded(self) -> str:
        """JSON of what decoding told, by the name of a file and what it looked like then."""
        rows = {
            stamp[0]: [stamp[1:], vars(found)]
            for stamp, found in zip(self.stamps, self.inspected, strict=True)
            if stamp is not None
        }
        return json.dumps(rows)

    @property
    def counts(self) -> dict[str, int]:
        """Labelled images of each class."""
        return class_counts(self.files)

    @property
    def sparse(self) -> list[str]:
        """The classes with one label."""
        return [name for name, count in self.counts.items() if count == 1]

    def summary(self) -> str:
        """How much there is of everything, in one line."""
        labelled, counts = int((self.files.labels >= 0).sum()), self.counts
        shown = ", ".join(f"{name} {count}" for name, count in list(counts.items())[:SHOWN])
        more = f", and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        text = f"{counted(len(self.files), 'image')}, {labelled:,} labelled ({shown}{more})"
        text += f"; {len(self.unreadable)} cannot be read and are left out" if self.unreadable else ""
        return f"{text}; only one label for {_first(self.sparse)}" if self.sparse else text

    def notes(self) -> list[str]:
        """What is not wrong but should be known: files passed over, how dark images are read, copies."""
        told = [self.listing.told()] if self.listing.passed_over else []
        if self.by_folder and self.listing.empty:
            one = len(self.listing.empty) == 1
            told.append(f"no image in the folder{'' if one else 's'} {_first(self.listing.empty)}, so no such class")
        told += odd_classes(self.files.classes, self.by_folder) + misspelled(self.counts)
        if formulas := [name for name in (*self.files.classes, *self.files.names) if is_formula(name)]:
            told.append(f"a spreadsheet takes {_first(formulas)} for a formula: import the tables' columns as text")
        if self.values:
            wide = [found.extremes for found in self.inspected if found.extremes]
            low, high = min(low for low, _ in wide), max(high for _, high in wide)
            told.append(
                f"{len(wide)} images have more than 8 bits and values {low} to {high}: "
                f"{self.values[0]} is taken for black and {self.values[1]} for white, in new images too"
            )
        return told + told_copies(self.files.names, self.files.labels, self.test, self.groups, self.files.classes)


def check_folder(
    root: Path,
    labels: Labels | None,
    *,
    test: Labels | None = None,
    skip_broken: bool = False,
    known: Sequence[Path] = (),
    workers: int = 0,
    advance: Callable[[float], None] = lambda percent: None,
) -> Checked:
    """Hold labels against the folder and decode every image once; ``known`` are files that `remember` wrote, or none.

    Raises:
        InputError: listing all of: label rows that name no image of the folder or contradict each other, classes without
            an image, unreadable images (unless ``skip_broken``, and then too if they are more than half).
    """
    problems: list[str] = []
    if not is_utf8(str(root.absolute())):
        raise InputError(f"{printable(str(root))}: the name of the folder is not UTF-8; rename it")
    listing = list_folder(root)
    files = _told(problems, root, labels, listing)
    named = "" if test is None or isinstance(test, str | Path) else "test: "  # a table has no name of its own
    tested = _told(problems, root, test, listing, least=1, name=named) if test is not None else None
    if files is None:  # the images can be checked all the same
        names = listing.images
        files = FileSet(Paths.of(root, names), torch.full((len(names),), -1), ())
    marks = stamps(files)
    inspected = _inspected(files, marks, known, workers, advance)
    broken = {row: found.fault for row, found in enumerate(inspected) if found.fault}
    readable = torch.ones(len(files), dtype=torch.bool)
    readable[list(broken)] = False
    if len(broken) > TOO_MANY * len(files):
        title = f"{len(broken)} of {len(files)} images cannot be read, too many to leave out; is {root} the right folder?"
        problems.append(listed(title, list(broken.values())))
    elif broken and not skip_broken:
        title = (
            f"{len(broken)} of {len(files)} images cannot be read; mend or remove them, or leave them out with --skip-broken"
        )
        problems.append(listed(title, list(broken.values())))
    elif broken and files.classes:
        counts = torch.bincount(files.labels[readable & (files.labels >= 0)], minlength=len(files.classes))
        lost = [name for name, count in zip(files.classes, counts.tolist(), strict=True) if not count]
        problems += [f"no labelled image of {name!r} can be read" for name in lost]
    truth = torch.full((len(files),), -1)
    if tested is not None and files.classes:
        truth = _test_labels(files, tested, problems, f"{named}{name_of(test)}")
    if NO_LABEL in files.classes:
        count = int((files.labels == files.classes.index(NO_LABEL)).sum())
        what = f"{counted(count, 'image')} of a class {NO_LABEL!r}, which stands for no label in paws labels and paws label"
        problems.append(f"{what}: give the class another name, or leave the label empty where there is none")
    if problems:
        raise InputError("\n".join(problems))
    rows = readable.nonzero().flatten()
    unreadable = {printable(files.names[row]): printable(message) for row, message in broken.items()}
    return Checked(files.select(rows), truth[rows], unreadable, marks, inspected, listing, labels is None)


def check_images(
    root: Path,
    *,
    known: Sequence[Path] = (),
    workers: int = 0,
    advance: Callable[[float], None] = lambda percent: None,
) -> Checked:
    """`check_folder` before there is any label: the images that can be read, and what is wrong with the others.

    Raises:
        InputError: ``root`` is no folder, or none of its images can be read.
    """
    listing = list_folder(root)
    files = FileSet(Paths.of(root, listing.images), torch.full((len(listing.images),), -1), ())
    marks = stamps(files)
    inspected = _inspected(files, marks, known, workers, advance)
    unreadable = {name: found.fault for name, found in zip(files.names, inspected, strict=True) if found.fault}
    rows = torch.tensor([row for row, found in enumerate(inspected) if not found.fault], dtype=torch.int64)
    if not len(rows):
        raise InputError(listed(f"none of the {len(files)} images of {root} can be read", list(unreadable.values())))
    return Checked(files.select(rows), files.labels[rows], unreadable, marks, inspected, listing, False)


def remember(path: Path, checked: Checked) -> None:
    """Keep what the files told, so that only new and changed ones are decoded the next time."""
    write_text(path, checked.decoded)


def _told(
    problems: list[str], root: Path, labels: Labels | None, listing: Listing, least: int = 2, name: str = ""
) -> FileSet | None:
    try:
        return labelled_folder(root, labels, listing, least)
    except InputError as error:
        problems.append(f"{name}{error}")
        return None


def _inspected(
    files: FileSet, marks: Sequence[Stamp | None], known: Sequence[Path], workers: int, advance: Callable[[float], None]
) -> list[Inspected]:
    """What every file tells, in order; files that look as they did in ``known`` are not read again."""
    former = {stamp: told for path in known for stamp, told in _read(path).items()}
    found = [None if stamp is None else former.get(stamp) for stamp in marks]
    rows = [row for row, told in enumerate(found) if told is None]
    percent = 100 / max(1, len(rows))
    new = inspect_images([files.paths[row] for row in rows], workers, lambda count: advance(percent * count))
    for row, told in zip(rows, new, strict=True):
        found[row] = told
    return [told for told in found if told is not None]


def _read(known: Path) -> dict[Stamp, Inspected]:
    try:
        rows: dict[str, Any] = from_json(known.read_bytes())
        return {
            (name, *stamp): Inspected(
                told["fault"], told["content"], None if told["extremes"] is None else (told["extremes"][0], told["extremes"][1])
            )
            for name, (stamp, told) in rows.items()
        }
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return {}  # of another version, or damaged: everything is read


def is_formula(name: str) -> bool:
    """Whether a spreadsheet computes the cell: CSV has no way to say that it is text. A number is no danger."""
    return name.startswith(FORMULA) and not name[1:].replace(".", "", 1).isdecimal()


def odd_classes(classes: Sequence[str], by_folder: bool) -> list[str]:
    """What to say of class names that look like a mistake."""
    told = [f"the classes {pair} differ only in blanks or in upper and lower case" for pair in alike(classes)]
    if not by_folder:
        return told
    splits = [name for name in classes if name.lower() in SPLITS]
    if len(splits) > 1 or len(splits) == len(classes):
        told.append(f"the folders {' and '.join(splits)} are taken for classes; of a split give one, as IMAGES/{splits[0]}")
    odd = [name for name in classes if name.startswith(("@", "_", "$", "#"))]
    if odd:
        told.append(f"{_first(odd)} taken for a class as well: remove what a program put there")
    return told


def misspelled(counts: Mapping[str, int]) -> list[str]:
    """What to say of classes with a label or two that are spelled almost like one with several times as many."""
    told = []
    for name in [name for name, count in counts.items() if count <= SLIPS][:SHOWN]:
        others = [other for other, count in counts.items() if count >= SLIP_OF * counts[name] and not alike([name, other])]
        for near in difflib.get_close_matches(name, others[:MOST_CLASSES], 1, NEAR):
            told.append(
                f"the class {name!r} ({counted(counts[name], 'label')}) is spelled almost like {near!r} ({counts[near]}): "
                "correct it if it is a slip"
            )
    return told


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _test_labels(files: FileSet, tested: FileSet, problems: list[str], where: str) -> Tensor:
    """Class ids (N,) of the test images as the classes of ``files`` count them, -1 for all others."""
    ids = {name: i for i, name in enumerate(files.classes)}
    unknown = [name for name in tested.classes if name not in ids]
    if unknown:
        problems.append(f"{where}: no label for training has the class {', '.join(map(repr, unknown))}")
        return torch.full((len(files),), -1)
    both = ((files.labels >= 0) & (tested.labels >= 0)).nonzero().flatten().tolist()
    if both:
        title = f"{where}: {len(both)} image(s) are labelled for training too; leave them out of one of the two"
        problems.append(listed(title, [files.names[row] for row in both]))
    table = torch.tensor([ids[name] for name in tested.classes] + [-1])
    return table[tested.labels]
