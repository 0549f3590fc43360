"""A folder of images with the labels that rows, or its sub-folders, give them."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from paws.data.folder import FileSet, Paths
from paws.data.formats import Listing, scan_images
from paws.data.labels import SHOWN, LabelRow, Labels, label_rows, listed, name_of
from paws.data.texts import composed, is_utf8, printable
from paws.errors import InputError

MANY = 20_000  # images among which no name is looked for that is spelled nearly the same


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
            within = "one sub-folder" if classes else "no sub-folder"
            found += f", as the images of {root} lie in {within}; give a table of labels (--labels) or make one with paws label"
        problems.append(f"{found}; at least two classes are needed")
    if problems:
        raise InputError(listed(f"{where}: {len(problems)} problem(s) with the labels of {root}", problems))
    ids = {name: i for i, name in enumerate(classes)}
    y = torch.tensor([ids[label_of[name]] if name in label_of else -1 for name in names], dtype=torch.int64)
    return FileSet(Paths.of(root, names), y, classes)


def match_rows(
    root: Path, names: Sequence[str], rows: Sequence[LabelRow], other: str = "is not an image that can be read"
) -> tuple[dict[str, str], list[str]]:
    """Label of each image of ``names`` (relative to ``root``) that has a row, and what is wrong with the rows.

    A name is relative to ``root``, to the folder of the label file, or to the working folder, whichever has the image. Names
    agree up to Unicode composition, and where no image has the very name, up to blanks around it. ``other`` is what to say of
    a file that is there but not among the images.
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
            why = other if os.path.isfile(os.path.join(root, row.file.strip())) else "does not exist"
            hint = "" if is_utf8(row.file) else "; is the file of labels saved as UTF-8?"
            near = "" if len(problems) >= SHOWN else near_name(file, names)
            problems.append(f"{row.place}: {printable(file)} {why}{near}{hint}")
        elif label_of.setdefault(name, row.label) != row.label:
            earlier = first[name]
            problems.append(f"{row.place}: {row.file} is {row.label!r}, but {earlier.label!r} on {earlier.place}")
        else:
            first.setdefault(name, row)
    return label_of, problems


def near_name(file: str, names: Sequence[str]) -> str:
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
