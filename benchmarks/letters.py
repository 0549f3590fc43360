"""Letters as a person's folder: capitals and digits in the fonts of Debian's ``fonts-aenigma``, 36 classes at 64 pixels.

EfficientNet-Lite0's features are those of photographs and poor at letters. Half a minute on two cores, once: kept in
``~/.cache/paws``.
"""

from __future__ import annotations

import string
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.fashion import POOL, SIZE, VIEWS, Pool, stored
from paws.errors import InputError
from paws.models.sources import LITE, frozen_backbone

FONTS = Path("/usr/share/fonts/truetype/aenigma")
CHARACTERS = string.ascii_uppercase + string.digits
HELD_OUT = 5_000  # images to test on
NOWHERE = "\uffff"  # a character that no font has: what it draws stands for all that are missing


@cache
def letter_features(pool: int = POOL, *, tune: bool = False) -> Pool:
    """The features of 10,000 letters, or the first ``pool`` of them, in views that are not mirrored, and of 5,000 others; with
    ``tune`` of all that are left.

    Raises:
        InputError: the fonts are not installed.
    """
    images, labels = letters()
    frozen = frozen_backbone(LITE, image_size=SIZE)
    test = slice(POOL + HELD_OUT, None) if tune else slice(POOL, POOL + HELD_OUT)
    views = stored(images[:POOL], VIEWS, frozen, "letters-pool", pool, mirror=False)
    plain = stored(images[test], 0, frozen, "letters-tune" if tune else "letters-test", len(labels[test]))
    return Pool(views[:pool], labels[:pool], torch.from_numpy(np.array(plain[:, 0])), labels[test], tuple(CHARACTERS))


def letters() -> tuple[Tensor, Tensor]:
    """Images (N, 1, 64, 64) uint8 of every character in every font that has them all, shuffled, and their classes (N,)."""
    files = sorted(FONTS.glob("*.ttf"))
    if not files:
        raise InputError(f"{FONTS} has no fonts; install Debian's fonts-aenigma")
    found = [drawn for drawn in map(_drawn, files) if drawn is not None]
    images = torch.from_numpy(np.stack(found)).flatten(0, 1)[:, None]  # (F, 36, 64, 64) -> (N, 1, 64, 64)
    labels = torch.arange(len(CHARACTERS)).repeat(len(found))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], labels[order]


def _drawn(file: Path) -> np.ndarray | None:
    """The characters (36, 64, 64) in black on white; None if the font lacks one."""
    font = ImageFont.truetype(str(file), 44)
    rows, missing = [], bytes(font.getmask(NOWHERE))
    for character in CHARACTERS:
        left, top, right, bottom = font.getbbox(character)
        width, height = right - left, bottom - top
        if min(width, height) < 3 or bytes(font.getmask(character)) == missing:
            return None
        side = round(max(width, height)) + 12
        image = Image.new("L", (side, side), 255)
        corner = ((side - width) / 2 - left, (side - height) / 2 - top)
        ImageDraw.Draw(image).text(corner, character, font=font, fill=0)
        rows.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
    return np.stack(rows)
