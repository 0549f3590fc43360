"""What a frozen backbone sees of an image: the plain view, and random views to be embedded once and kept.

All views of a file come from one decode. The random ones depend on the content of the file and the number of the view alone:
neither the order of the files nor their names nor the number of workers changes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from paws.data.colour import brightness
from paws.data.geometry import crop_boxes
from paws.data.images import ImageFile
from paws.data.levels import Range
from paws.errors import InputError
from paws.seeds import generator, uniform

VERSION = 2  # of the code that makes views: embeddings made by another one are made again
DRAWS = 1  # of the random draws alone
SCALE = (0.35, 1.0)  # area of a random crop
RATIO = (3 / 4, 4 / 3)  # its width / height
BRIGHTNESS = (0.7, 1.3)  # factor

Batch = tuple[Tensor, list[str | None]]  # views (B, 1+K, 3, size, size) uint8, and what is wrong with each file


def plain_view(image: Tensor, size: int, interpolation: str) -> Tensor:
    """The largest central square of uint8 (3, H, W), antialiased to (3, size, size)."""
    height, width = image.shape[1:]
    side = min(height, width)
    return _resized(image, [(height - side) // 2, (width - side) // 2, side, side], size, interpolation)


def random_views(image: Tensor, count: int, size: int, interpolation: str, key: str, *, mirror: bool = True) -> Tensor:
    """``count`` random crops, mirrored or not, brighter or darker: uint8 (3, H, W) -> (count, 3, size, size).

    They are a function of the image, ``count`` and ``key``. Without ``mirror`` they are the same ones, none of them mirrored.
    """
    draws = generator("stored views", DRAWS, key)
    boxes = crop_boxes(count, image.shape[1], image.shape[2], SCALE, RATIO, draws).tolist()
    mirrored = torch.rand(count, generator=draws) < 0.5
    factors = uniform(count, *BRIGHTNESS, draws)
    views = torch.stack([_resized(image, box, size, interpolation) for box in boxes])  # (count, 3, size, size)
    if mirror:
        views = torch.where(mirrored[:, None, None, None], views.flip(3), views)
    return brightness(views.float() / 255, factors).mul_(255).round_().byte()


def read_views(
    path: str, count: int, size: int, interpolation: str, *, mirror: bool = True, values: Range | None = None
) -> Tensor:
    """The plain view of a file and ``count`` random ones, (1 + count, 3, size, size) uint8.

    ``values``: what becomes black and white of pixels of more than 8 bits, as in `paws.data.images.ImageFile.decode`.
    A large JPEG is decoded at a reduced scale, of at least twice ``size``, so that the decoder's coarser scaling does not show.
    Raises InputError naming a file that is not readable.
    """
    file = ImageFile(path)
    image = file.decode(max_reduction=min(file.height, file.width) / (2 * size), values=values)
    plain = plain_view(image, size, interpolation)[None]
    if not count:
        return plain
    return torch.cat([plain, random_views(image, count, size, interpolation, file.content, mirror=mirror)])


def view_batches(
    paths: Sequence[str],
    count: int,
    size: int,
    interpolation: str,
    *,
    batch_size: int,
    workers: int = 0,
    mirror: bool = True,
    values: Range | None = None,
) -> Iterator[Batch]:
    """The views of files in order; a file that cannot be read has views of zeros and a message that names it."""
    read = partial(read_views, count=count, size=size, interpolation=interpolation, mirror=mirror, values=values)
    files: Dataset[Any] = _Files(paths, count, size, read)
    yield from DataLoader(files, batch_size, num_workers=workers, collate_fn=_collate)


class _Files(Dataset[tuple[Tensor, str | None]]):
    def __init__(self, paths: Sequence[str], count: int, size: int, read: Callable[[str], Tensor]) -> None:
        self.paths, self.read, self.nothing = paths, read, torch.zeros(1 + count, 3, size, size, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, str | None]:
        try:
            return self.read(self.paths[index]), None
        except InputError as error:
            return self.nothing, str(error)


def _collate(rows: list[tuple[Tensor, str | None]]) -> Batch:
    return torch.stack([views for views, _ in rows]), [message for _, message in rows]


def _resized(image: Tensor, box: list[int], size: int, interpolation: str) -> Tensor:
    mode = InterpolationMode.BICUBIC if interpolation == "bicubic" else InterpolationMode.BILINEAR
    return functional.resized_crop(image, *box, [size, size], interpolation=mode, antialias=True)
