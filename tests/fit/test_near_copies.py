"""Images that look almost the same are found whatever was done to their files, and others are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from paws.data.folder import FileSet, Paths
from paws.fit.near_copies import near_copies
from paws.fit.record import NearCopy
from tests.conftest import draw

DISTINCT = [draw(pattern, i, 96) for pattern in ("dots", "rows") for i in range(4)]
EDITS: dict[str, Callable[[Image.Image, Path], None]] = {
    "saved as JPEG": lambda picture, path: picture.save(path, "JPEG", quality=60),
    "of half the size": lambda picture, path: picture.resize((48, 48)).save(path, "PNG"),
    "brighter": lambda picture, path: ImageEnhance.Brightness(picture).enhance(1.1).save(path, "PNG"),
}


def found(folder: Path, labels: list[int], test: list[int], groups: list[int] | None = None) -> tuple[NearCopy, ...]:
    """What is found in a folder whose features are its pictures' means in a grid."""
    names = sorted(path.name for path in folder.iterdir())
    files = FileSet(Paths.of(folder, names), torch.tensor(labels), ("a", "b"))
    views = np.stack([np.asarray(Image.open(folder / name).convert("RGB").resize((8, 8))).reshape(1, -1) for name in names])
    return near_copies(files, torch.tensor(test), views.astype(np.float16), torch.tensor(groups or list(range(len(names)))))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_found(edit: str, tmp_path: Path) -> None:
    for number, picture in enumerate(DISTINCT):
        picture.save(tmp_path / f"{number}.png")
    EDITS[edit](DISTINCT[2], tmp_path / "copy")
    known, none = [0] * 4 + [1] * 4, [-1] * 9
    assert found(tmp_path, [*known, 0], none) == (NearCopy(files=("2.png", "copy"), labels=("a", "a"), across=False),)
    assert found(tmp_path, [*known, 1], none)[0].labels == ("a", "b")
    assert found(tmp_path, [*known, -1], [-1] * 8 + [0])[0].across
    assert not found(tmp_path, [*known, -1], none), "an image without a label flatters nothing"
    assert not found(tmp_path, [*known, 0], none, [0, 1, 2, 3, 4, 5, 6, 7, 2]), "equal bytes are told elsewhere"


def test_images_of_one_colour_are_not_held_for_copies(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    assert found(tmp_path, [0, 0, 1, 1], [-1] * 4) == ()
