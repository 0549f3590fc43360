"""Everything that is wrong with a folder and its labels, found before anything is computed and told at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paws.data.folder import FileSet, Paths
from paws.data.images import check_images, find_images
from paws.data.labels import class_counts, labelled_folder, listed
from paws.errors import InputError
from paws.fit.embed import Stamp, stamps
from paws.runs.files import write_text

SHOWN = 12  # classes that a summary names
TOO_MANY = 0.5  # share of unreadable files from which on the folder is taken for the wrong one


@dataclass(frozen=True)
class Checked:
    """A folder that can be worked on."""

    files: FileSet  # the readable images, labelled where they are
    test: Tensor  # (N,) int64 labels of the test images, -1 elsewhere
    unreadable: dict[str, str]  # file name -> what is wrong with it
    stamps: list[Stamp]  # of all images

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
        text = f"{len(self.files)} images, {labelled} labelled ({shown}{more})"
        text += f"; {len(self.unreadable)} cannot be read and are left out" if self.unreadable else ""
        if not self.sparse:
            return text
        more = f" and {len(self.sparse) - SHOWN} more" if len(self.sparse) > SHOWN else ""
        return f"{text}; only one label for {', '.join(self.sparse[:SHOWN])}{more}"


def check_folder(
    root: Path,
    labels: Path | None,
    *,
    test: Path | None = None,
    skip_broken: bool = False,
    known: Path | None = None,
    workers: int = 0,
    advance: Callable[[float], None] = lambda percent: None,
) -> Checked:
    """Hold labels against the folder and decode every image once; ``known`` is a file that `remember` wrote.

    Raises:
        InputError: listing all of: label rows that name no image of the folder or contradict each other, classes without
            an image, unreadable images (unless ``skip_broken``, and then too if they are more than half).
    """
    problems: list[str] = []
    files = _told(problems, root, labels)
    tested = _told(problems, root, test) if test is not None else None
    if files is None:  # the images can be checked all the same
        names = [Path(name).as_posix() for name in find_images(root)] if root.is_dir() else []
        if not names:
            raise InputError(problems[0])
        files = FileSet(Paths.of(root, names), torch.full((len(names),), -1), ())
    marks = stamps(files)
    broken = _unreadable(files, marks, known, workers, advance)
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
        truth = _test_labels(files, tested, problems, str(test))
    if problems:
        raise InputError("\n".join(problems))
    rows = readable.nonzero().flatten()
    unreadable = {files.names[row]: message for row, message in broken.items()}
    return Checked(files.select(rows), truth[rows], unreadable, marks)


def remember(path: Path, checked: Checked) -> None:
    """Keep which files were found readable, so that only new and changed ones are decoded the next time."""
    rows = {name: [size, modified, checked.unreadable.get(name)] for name, size, modified in checked.stamps}
    write_text(path, json.dumps(rows))


def _told(problems: list[str], root: Path, labels: Path | None) -> FileSet | None:
    try:
        return labelled_folder(root, labels)
    except InputError as error:
        problems.append(str(error))
        return None


def _unreadable(
    files: FileSet, marks: list[Stamp], known: Path | None, workers: int, advance: Callable[[float], None]
) -> dict[int, str]:
    try:
        former = json.loads(known.read_text(encoding="utf-8")) if known is not None else {}
    except (OSError, ValueError):
        former = {}
    rows = [row for row, (name, *mark) in enumerate(marks) if former.get(name, [])[:2] != mark]
    percent = 100 / max(1, len(rows))
    found = check_images([files.paths[row] for row in rows], workers, lambda count: advance(percent * count))
    broken = {rows[i]: message for i, message in found.items()}
    new = set(rows)
    kept = {row: former[name][2] for row, (name, *_) in enumerate(marks) if row not in new and former[name][2]}
    return dict(sorted({**broken, **kept}.items()))


def _test_labels(files: FileSet, tested: FileSet, problems: list[str], where: str) -> Tensor:
    """Class ids (N,) of the test images as the classes of ``files`` count them, -1 for all others."""
    ids = {name: i for i, name in enumerate(files.classes)}
    unknown = [name for name in tested.classes if name not in ids]
    if unknown:
        problems.append(f"{where}: no label for training has the class {', '.join(map(repr, unknown))}")
        return torch.full((len(files),), -1)
    both = ((files.labels >= 0) & (tested.labels >= 0)).nonzero().flatten().tolist()
    if both:
        title = f"{where}: {len(both)} image(s) are labelled for training too"
        problems.append(listed(title, [files.names[row] for row in both]))
    table = torch.tensor([ids[name] for name in tested.classes] + [-1])
    return table[tested.labels]
