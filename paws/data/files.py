"""A bank of image files: a loader worker decodes each file of a step once and cuts all its views from that decode.

Geometry (crop, resize, flip) is done in the worker on uint8 pixels; colour runs batched on the training device. Every crop
is a function of (seed, step, rank, place in the batch), so the number of workers changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from paws.data import colour, geometry
from paws.data.images import ImageFile
from paws.data.levels import Range
from paws.data.resize import resized_centre, resized_crop
from paws.data.views import EvalView, MultiCrop, View
from paws.seeds import generator

Key = tuple[int, ...]
Kinds = list[tuple[View, int]]  # a kind of view and how many of it are made of each image
Crops = tuple[list[Tensor], list[Tensor]]  # of the unlabelled images and of the support set, one tensor per view


class FileBank:
    """Images in files, and how views are made of them (a ``paws.data.source.Bank``)."""

    def __init__(
        self,
        paths: Sequence[str],
        views: MultiCrop | None = None,
        support_view: View | None = None,
        support_views: int = 1,
        *,
        device: torch.device | str = "cpu",
        values: Range | None = None,  # what is black and white in images of more than 8 bits
    ) -> None:
        self.paths, self.device, self.values = paths, torch.device(device), values
        self.kinds: Kinds = []
        if views is not None:
            self.kinds = [(views.large, views.n_large), *([(views.small, views.n_small)] if views.small else [])]
        self.support_kinds: Kinds = [(support_view, support_views)] if support_view else []

    def read(self, indices: Tensor, support: Tensor, key: Key) -> Crops:
        """uint8 crops [(B, 3, s, s)] * n of the unlabelled images and [(S, 3, s, s)] * V of the support set."""
        crops = _room(self.kinds, len(indices)), _room(self.support_kinds, len(support))
        places = defaultdict(list)  # image -> every place in the two batches that shows it
        for place, image in enumerate(indices.tolist() if self.kinds else []):
            places[image].append((crops[0], place, self.kinds, generator("crops", *key, place)))
        for place, image in enumerate(support.tolist() if self.support_kinds else []):
            places[image].append((crops[1], place, self.support_kinds, generator("support crops", *key, place)))
        for image, jobs in places.items():
            cut = cut_views(self.paths[image], [(kinds, draws) for _, _, kinds, draws in jobs], self.values)
            for (batch, place, _, _), views in zip(jobs, cut, strict=True):
                for rows, view in zip(batch, views, strict=True):
                    rows[place] = view
        return crops

    def views(self, read: Crops, key: Key) -> Crops:
        """Colour and normalisation on the device: float views in the order of ``read``."""
        draws = generator("colour", *key)
        return self._colour(read[0], self.kinds, draws), self._colour(read[1], self.support_kinds, draws)

    def _colour(self, crops: list[Tensor], kinds: Kinds, draws: Generator) -> list[Tensor]:
        views: list[Tensor] = []
        for view, count in kinds:
            group = crops[len(views) : len(views) + count]
            if group:
                pixels = torch.cat([part.to(self.device, non_blocking=True) for part in group])  # (count * B, 3, s, s)
                views += _finish(pixels.float().div_(255), view, draws).split(len(group[0]))
        return views


def plain_batches(
    paths: Sequence[str], view: EvalView, *, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[Tensor]:
    """Normalised evaluation views (B, 3, size, size) of the files, in order."""
    images: Dataset[Tensor] = _PlainImages(paths, view)
    loader = DataLoader(images, batch_size, num_workers=workers, pin_memory=device.type == "cuda")
    for batch in loader:
        yield colour.normalise(batch.to(device, non_blocking=True).float() / 255, view.mean, view.std)


def cut_views(path: str, jobs: Sequence[tuple[Kinds, Generator]], values: Range | None = None) -> list[list[Tensor]]:
    """Random crops of one file from one decode: for each job its views, each uint8 (3, size, size).

    The boxes are drawn first, so that a JPEG larger than any crop needs is decoded at a reduced scale.
    """
    file = ImageFile(path)
    drawn = [[spec for view, n in kinds for spec in _draw(file, view, n, draws)] for kinds, draws in jobs]
    reduction = min((min(box[2:]) / size for specs in drawn for size, box, _ in specs), default=1.0)
    image = file.decode(max_reduction=reduction, values=values)
    return [[_cut(image, file, *spec) for spec in specs] for specs in drawn]


Spec = tuple[int, list[int], bool]  # size of the view, its box (top, left, height, width) in the whole image, mirrored


def _draw(file: ImageFile, view: View, count: int, draws: Generator) -> list[Spec]:
    if view.scale is None:
        boxes = geometry.center_crop_boxes(count, file.height, file.width, view.size, view.size)
    else:
        boxes = geometry.crop_boxes(count, file.height, file.width, view.scale, geometry.RATIO, draws)
    flips = torch.rand(count, generator=draws) < view.flip
    return [(view.size, box, flip) for box, flip in zip(boxes.tolist(), flips.tolist(), strict=True)]


def _cut(image: Tensor, file: ImageFile, size: int, box: list[int], flip: bool) -> Tensor:
    if image.shape[1:] != (file.height, file.width):  # decoded at a reduced scale
        box = _scaled(box, image.shape[1] / file.height, image.shape[2] / file.width)
    view = resized_crop(image, box, size)
    return view.flip(2) if flip else view


def _scaled(box: list[int], down: float, across: float) -> list[int]:
    top, left, height, width = box
    y, x = round(top * down), round(left * across)
    return [y, x, max(1, round((top + height) * down) - y), max(1, round((left + width) * across) - x)]


def _room(kinds: Kinds, count: int) -> list[Tensor]:
    return [torch.empty(count, 3, view.size, view.size, dtype=torch.uint8) for view, n in kinds if count for _ in range(n)]


def _finish(images: Tensor, view: View, draws: Generator) -> Tensor:
    if view.affine is not None:
        images = geometry.affine_jitter(images, *view.affine, outside=view.outside, generator=draws)
    return view.colour(images, draws)


class _PlainImages(Dataset[Tensor]):
    """Short side to ``resize``, then the central ``size`` pixels, as the published evaluations do."""

    def __init__(self, paths: Sequence[str], view: EvalView) -> None:
        self.paths, self.view = paths, view

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        file = ImageFile(self.paths[i])
        # half of what would do, so that the decoder's coarser scaling does not show
        image = file.decode(max_reduction=min(file.height, file.width) / (2 * self.view.resize))
        return resized_centre(image, self.view.resize, self.view.size)
