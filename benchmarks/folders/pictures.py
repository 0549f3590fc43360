"""The pictures of each folder of the suite and the class of each, None where it belongs to no class of the folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.folders.sources import EMOJI, debian, npm

Picture = tuple[Path | Image.Image, str | None]

CLIPART = ("openclipart-png", "/usr/share/openclipart/png")
SPRITES = ("wesnoth-1.16-data", "/usr/share/games/wesnoth/1.16/data/core/images")
ICONS = ("oxygen-icon-theme", "/usr/share/icons/oxygen/base/128x128")


def digits() -> Iterator[Picture]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    for row, label in zip(pixels, labels, strict=True):
        yield Image.fromarray((row.reshape(8, 8) * 15.9375).astype(np.uint8)), str(label)


def by_folder(root: Path, classes: Sequence[str], *, others: bool = False) -> Iterator[Picture]:
    """PNG files below ``root``, each of the class whose folder (relative to ``root``) it is in.

    Links are left out: they show another file's picture. With ``others`` files in no such folder come too, without a class.
    """
    for path in sorted(root.rglob("*.png")):
        if path.is_symlink() or not path.stat().st_size:
            continue
        relative = path.relative_to(root).as_posix()
        found = [name for name in classes if relative.startswith(name + "/")]
        if found or others:
            yield path, found[0] if found else None


def folders_of(root: Path, smallest: int) -> list[str]:
    """The folders in ``root`` that hold at least ``smallest`` PNG files, links not counted."""
    counts = {folder.name: sum(1 for _ in by_folder(root, [folder.name])) for folder in root.iterdir() if folder.is_dir()}
    return sorted(name for name, count in counts.items() if count >= smallest)


def clipart_topics() -> Iterator[Picture]:
    """Drawings by the first-level folder, of those with 60 at least; the others, and those in no topic, have no class."""
    root = debian(*CLIPART)
    topics = [name for name in folders_of(root, 60) if name not in ("special", "unsorted")]
    return by_folder(root, topics, others=True)


def clipart_living() -> Iterator[Picture]:
    """Drawings of animals and food by their sub-folder, of those with 10 at least; as many other drawings have no class."""
    root = debian(*CLIPART)
    classes = [f"{topic}/{name}" for topic in ("animals", "food") for name in folders_of(root / topic, 10)]
    found = list(by_folder(root, classes, others=True))
    known = [picture for picture in found if picture[1] is not None]
    strangers = [picture for picture in found if picture[1] is None]
    step = len(strangers) / len(known)
    yield from known
    yield from (strangers[int(i * step)] for i in range(len(known)))


def sprites() -> Iterator[Picture]:
    """Figures of a game by their people, of those with 60 pictures at least: poses of the same figure are much alike."""
    root = debian(*SPRITES) / "units"
    return by_folder(root, folders_of(root, 60))


def icons() -> Iterator[Picture]:
    """Icons of a desktop by what they stand for: actions, applications, devices, file types, places, states."""
    root = debian(*ICONS)
    return by_folder(root, folders_of(root, 30))


def emoji(classes: Sequence[str], *, others: Sequence[str] = ()) -> Iterator[Picture]:
    """Pictograms of 64 pixels by sub-category; those of the categories ``others`` have no class."""
    for path, category, kind in _emoji():
        if kind in classes:
            yield path, kind
        elif category in others:
            yield path, None


def pictograms() -> Iterator[Picture]:
    """The same by their nine categories."""
    for path, category, _ in _emoji():
        if category != "Component":
            yield path, category


def emoji_kinds(categories: Sequence[str], smallest: int) -> list[str]:
    """The sub-categories of some categories with at least ``smallest`` pictograms."""
    kinds = [kind for _, category, kind in _emoji() if category in categories]
    return sorted(kind for kind in set(kinds) if kinds.count(kind) >= smallest)


def emoji_living() -> Iterator[Picture]:
    """Animals, plants, food and drink in 14 sub-categories."""
    return emoji(emoji_kinds(("Animals & Nature", "Food & Drink"), 7))


def emoji_things() -> Iterator[Picture]:
    """Objects, places and vehicles by sub-category; symbols and smileys have no class."""
    kinds = emoji_kinds(("Objects", "Travel & Places", "Activities"), 12)
    return emoji(kinds, others=("Symbols", "Smileys & Emotion"))


def _emoji() -> Iterator[tuple[Path, str, str]]:
    root = npm(EMOJI, "emoji.json", "img/twitter/64/")
    for row in json.loads((root / "emoji.json").read_text(encoding="utf-8")):
        if row["has_img_twitter"]:
            yield root / "img/twitter/64" / row["image"], row["category"], row["subcategory"]
