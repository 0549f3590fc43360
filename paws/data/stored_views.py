"""What a frozen backbone sees of an image: the plain view, and random views to be embedded once and kept.

All views of a file come from one decode. The random ones depend on the content of the file and the number of the view alone:
neither the order of the files nor their names nor the number of workers changes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from paws.data.geometry import boxes_from, crop_draws
from paws.data.images import ImageFile, as_pixels
from paws.data.levels import Range
from paws.data.resize import resized_crop
from paws.errors import InputError
from paws.seeds import generator, uniform

VERSION = 3  # of the code that makes views: embeddings made by another one are made again
DRAWS = 2  # of the random draws alone
SCALE = (0.35, 1.0)  # area of a random crop
RATIO = (3 / 4, 4 / 3)  # its width / height
BRIGHTNESS = (0.7, 1.3)  # factor

Picture = str | Path | Image.Image | np.ndarray  # a file, a Pillow image, or uint8 (H, W[, 3])
Look = tuple[int, str]  # size of the views in pixels, and how they are interpolated


class Views(NamedTuple):
    """The views of B pictures."""

    views: list[Tensor]  # for each look uint8 (B, 1+K, 3, size, size), the plain one first; zeros where there is a fault
    faults: list[str | None]  # (B) what is wrong with each
    contents: list[str]  # (B) names the bytes of each file, "" where it is none


def plain_view(image: Tensor, size: int, interpolation: str) -> Tensor:
    """The largest central square of uint8 (3, H, W), antialiased to (3, size, size)."""
    height, width = image.shape[1:]
    side = min(height, width)
    return _resized(image, [(height - side) // 2, (width - side) // 2, side, side], size, interpolation)


def random_views(image: Tensor, count: int, size: int, interpolation: str, key: str, *, mirror: bool = True) -> Tensor:
    """``count`` random crops, mirrored or not, brighter or darker: uint8 (3, H, W) -> (count, 3, size, size).

    Each is a function of the image, its number and ``key``: more views begin with the same ones. Without ``mirror`` they are
    the same ones, none of them mirrored.
    """
    draws = [generator("stored views", DRAWS, key, number) for number in range(count)]
    area, aspect, place = zip(*(crop_draws(1, draw) for draw in draws), strict=True)
    chance = torch.cat(area), torch.cat(aspect), torch.cat(place, 1)
    boxes = boxes_from(*chance, image.shape[1], image.shape[2], SCALE, RATIO).tolist()
    mirrored = [mirror & bool(torch.rand(1, generator=draw) < 0.5) for draw in draws]
    factors = torch.cat([uniform(1, *BRIGHTNESS, draw) for draw in draws])
    views = [_resized(image, box, size, interpolation) for box in boxes]  # count times (3, size, size)
    levels = torch.stack([view.flip(2) if turned else view for view, turned in zip(views, mirrored, strict=True)]).float()
    return levels.div_(255).mul_(factors[:, None, None, None]).clamp_(0, 1).mul_(255).round_().byte()


def view_batches(
    pictures: Sequence[Picture],
    count: int,
    looks: Sequence[Look],
    *,
    batch_size: int,
    workers: int = 0,
    mirror: bool = True,
    values: Range | None = None,
) -> Iterator[Views]:
    """The plain view and ``count`` random ones of pictures in order, in each of ``looks`` from one decode.

    The random views of a file depend on its bytes, those of any other picture on its place among ``pictures``. ``values``: what
    becomes black and white of pixels of more than 8 bits, as in `paws.data.images.ImageFile.decode`.
    """
    seen: Dataset[Any] = _Pictures(pictures, count, looks, mirror, values)
    # a generator of its own: the loader would draw from the global one
    yield from DataLoader(seen, batch_size, num_workers=workers, collate_fn=_collate, generator=torch.Generator())


class _Pictures(Dataset[tuple[list[Tensor], str | None, str]]):
    def __init__(
        self, pictures: Sequence[Picture], count: int, looks: Sequence[Look], mirror: bool, values: Range | None
    ) -> None:
        self.pictures, self.count, self.looks, self.mirror, self.values = pictures, count, looks, mirror, values

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[list[Tensor], str | None, str]:
        try:
            image, content = _decoded(self.pictures[index], max(size for size, _ in self.looks), self.values)
            key = content or str(index)
            return [self._views(image, key, *look) for look in self.looks], None, content
        except InputError as error:
            nothing = [torch.zeros(1 + self.count, 3, size, size, dtype=torch.uint8) for size, _ in self.looks]
            return nothing, str(error), ""

    def _views(self, image: Tensor, key: str, size: int, interpolation: str) -> Tensor:
        plain = plain_view(image, size, interpolation)[None]
        if not self.count:
            return plain
        return torch.cat([plain, random_views(image, self.count, size, interpolation, key, mirror=self.mirror)])


def _decoded(picture: Picture, size: int, values: Range | None) -> tuple[Tensor, str]:
    """uint8 (3, H, W) and a name of the file's bytes.

    A large JPEG is decoded at a reduced scale, of at least twice ``size``, so that the decoder's coarser scaling does not show.
    """
    if not isinstance(picture, str | Path):
        return as_pixels(picture, values), ""
    file = ImageFile(picture)
    return file.decode(max_reduction=min(file.height, file.width) / (2 * size), values=values), file.content


def _collate(rows: list[tuple[list[Tensor], str | None, str]]) -> Views:
    views, faults, contents = zip(*rows, strict=True)
    return Views([torch.stack(look) for look in zip(*views, strict=True)], list(faults), list(contents))


def _resized(image: Tensor, box: list[int], size: int, interpolation: str) -> Tensor:
    return resized_crop(image, box, size, "bicubic" if interpolation == "bicubic" else "bilinear")
