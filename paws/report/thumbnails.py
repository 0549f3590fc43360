"""Thumbnails as data URIs, within a budget of bytes; an image that cannot be opened gets a placeholder and is counted."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from paws.data.images import open_image
from paws.errors import InputError

SIDES = (112, 88, 72, 56, 40, 28)
QUALITY = 62
TRIAL = 48  # images whose size tells how large thumbnails can be


class Thumbnails:
    """Square thumbnails of one size; ``missing`` lists the names of images that could not be opened."""

    def __init__(self, side: int = SIDES[0]) -> None:
        self.side = side
        self.missing: list[str] = []

    def uri(self, name: str, opener: Callable[[], Image.Image]) -> str | None:
        """The middle square of an image as a WebP data URI, None when the image cannot be opened. Never enlarged."""
        try:
            data = encode(opener(), self.side)
        except (InputError, OSError):
            self.missing.append(name)
            return None
        return "data:image/webp;base64," + base64.b64encode(data).decode()


def encode(image: Image.Image, side: int) -> bytes:
    """The middle square of ``image``, at most ``side`` pixels wide, as WebP; the same bytes for the same pixels."""
    image = image.convert("RGB")
    side = min(side, *image.size)
    data = io.BytesIO()
    ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS).save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()


def fitting(openers: Sequence[Callable[[], Image.Image]], budget: int) -> Thumbnails:
    """Thumbnails of the largest size at which all these images stay within ``budget`` bytes of page.

    Sizes are told from evenly spaced images; the smallest size is taken where none fits.
    """
    trial: list[Image.Image] = []
    for opener in openers[:: max(1, len(openers) // TRIAL)]:
        try:
            trial.append(opener().convert("RGB"))
        except (InputError, OSError):
            continue
    for side in SIDES:
        mean = sum(len(encode(image, side)) for image in trial) / max(1, len(trial))
        if mean * 4 / 3 * len(openers) <= budget:
            return Thumbnails(side)
    return Thumbnails(SIDES[-1])


def open_file(path: str | Path) -> Image.Image:
    """The picture in a file, large enough for a thumbnail. Raises InputError when it cannot be read."""
    return open_image(path, SIDES[0])
