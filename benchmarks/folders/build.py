"""Folders of pictures as a person has them, with their truth in a table beside them."""

from __future__ import annotations

import csv
import io
import shutil
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.folders import pictures as found
from benchmarks.folders.pictures import Picture
from paws.data.folder import FileSet, Paths
from paws.seeds import generator

LARGEST = 2_500  # pictures of a folder
PIXELS = 10_000_000  # larger pictures, of which a drawing in vectors can be a page full of nothing, are left out


@dataclass(frozen=True)
class Folder:
    """One folder of the suite: its pictures, whether choices were made on it, and whether its pictures may be mirrored."""

    pictures: Callable[[], Iterable[Picture]]
    tuning: bool
    mirror: bool = True


FOLDERS = {
    "emoji-living": Folder(found.emoji_living, tuning=True),
    "clipart-topics": Folder(found.clipart_topics, tuning=True),
    "emoji-things": Folder(found.emoji_things, tuning=True),
    "sprites": Folder(found.sprites, tuning=True),
    "digits": Folder(found.digits, tuning=False, mirror=False),
    "clipart-living": Folder(found.clipart_living, tuning=False),
    "pictograms": Folder(found.pictograms, tuning=False),
    "icons": Folder(found.icons, tuning=False),
}


def build(pictures: Callable[[], Iterable[Picture]], root: Path, largest: int = LARGEST) -> FileSet:
    """Write pictures as ``root/images/00000.png``, ... in random order and ``root/truth.csv``; read them if they are there.

    A picture that is the same as another byte for byte is left out, and beyond ``largest`` a random sample is taken. The
    labels are the truth, -1 for a picture without a class; the classes are sorted.
    """
    if not root.is_dir():
        aside = root.with_name(root.name + ".new")
        shutil.rmtree(aside, ignore_errors=True)
        _write(list(pictures()), aside, largest)
        aside.rename(root)
    with (root / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = tuple(sorted({row["class"] for row in rows} - {""}))
    number = {name: i for i, name in enumerate(classes)} | {"": -1}
    labels = torch.tensor([number[row["class"]] for row in rows])
    return FileSet(Paths.of(root / "images", [row["file"] for row in rows]), labels, classes)


def _write(pictures: list[Picture], root: Path, largest: int) -> None:
    (root / "images").mkdir(parents=True)
    order = torch.randperm(len(pictures), generator=generator("folders")).tolist()
    seen: set[bytes] = set()
    rows = []
    for row in order:
        picture, label = pictures[row]
        content = _png(picture)
        if content is None or content in seen:
            continue
        seen.add(content)
        name = f"{len(rows):05d}.png"
        (root / "images" / name).write_bytes(content)
        rows.append((name, label or ""))
        if len(rows) == largest:
            break
    with (root / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "class"), *rows])


def _png(picture: Path | Image.Image) -> bytes | None:
    """The file of a picture; None where it is too large."""
    if isinstance(picture, Image.Image):
        written = io.BytesIO()
        picture.save(written, "PNG")
        return written.getvalue()
    content = picture.read_bytes()
    width, height = struct.unpack(">II", content[16:24])  # of the header of every PNG file
    return content if width * height <= PIXELS else None


def draw(labels: Tensor, per_class: int, number: int, *, even: bool = True) -> Tensor:
    """Labels (N,) that a person gave, -1 elsewhere, in draw ``number``.

    ``even``: ``per_class`` of each class, or half of a class that has fewer than twice as many. Otherwise as many in all, as
    a random sample of the pictures with a class has them, and one of each class at least.
    """
    known = torch.full_like(labels, -1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(number))
    order = order[labels[order] >= 0]
    num_classes = int(labels.max()) + 1
    for c in range(num_classes):
        rows = order[labels[order] == c]
        count = min(per_class if even else 1, max(1, len(rows) // 2))
        known[rows[:count]] = c
    if not even:
        missing = min(per_class * num_classes, len(order) // 2) - int((known >= 0).sum())
        rest = order[known[order] < 0][: max(0, missing)]
        known[rest] = labels[rest]
    return known
