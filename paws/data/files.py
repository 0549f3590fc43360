"""A bank of image files: each file of a step is decoded once, in a loader worker, and all its views are cut from that decode.

Geometry (crop, resize, flip) is done in the worker on uint8 pixels; colour runs batched on the training device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import functional as tv

from paws.data import augment
from paws.data.images import decode
from paws.data.views import EvalView, MultiCrop, View
from paws.seeds import generator

Key = tuple[int, ...]


class FileBank:
    """Images in files; views of them are the same for any number of loader workers."""

    def __init__(
        self,
        paths: Sequence[str],
        views: MultiCrop | None = None,
        support_view: View | None = None,
        support_views: int = 1,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.paths, self.multi_crop, self.device = paths, views, torch.device(device)
        self.support_view, self.support_views = support_view, support_views

    def read(self, indices: Tensor, support: Tensor, key: Key) -> tuple[list[Tensor], list[Tensor]]:
        """uint8 crops [(B, 3, h, w)] * n of the unlabelled images and [(S, 3, h, w)] * V of the support set."""
        kinds: list[View] = []
        if self.multi_crop is not None:
            kinds = [self.multi_crop.large] * self.multi_crop.n_large
            kinds += [self.multi_crop.small] * self.multi_crop.n_small if self.multi_crop.small else []
        support_kinds = [self.support_view] * self.support_views if self.support_view else []
        return self._cut(indices, kinds, ("crops", *key)), self._cut(support, support_kinds, ("support crops", *key))

    def _cut(self, indices: Tensor, kinds: Sequence[View], key: tuple[int | str, ...]) -> list[Tensor]:
        if not kinds or not len(indices):
            return []
        rows = []
        for position, index in enumerate(indices.tolist()):
            draws = generator(*key, position)
            image = decode(self.paths[index])  # (3, H, W) uint8
            rows.append([cut(image, view, draws) for view in kinds])
        return [torch.stack(views) for views in zip(*rows, strict=True)]

    def views(self, read: tuple[list[Tensor], list[Tensor]], key: Key) -> tuple[list[Tensor], list[Tensor]]:
        """Colour and normalisation on the device, in the order of ``read``."""
        crops, supports = read
        draws = generator("colour", *key)
        large = self.multi_crop.n_large if self.multi_crop is not None else 0
        views = []
        for group, view in (
            (crops[:large], self.multi_crop.large if self.multi_crop else None),
            (crops[large:], self.multi_crop.small if self.multi_crop else None),
            (supports, self.support_view),
        ):
            if group and view is not None:
                pixels = torch.cat(group).to(self.device, non_blocking=True).float().div_(255)
                chunks = pixels.split(128) if self.device.type == "cpu" else [pixels]
                views.append(list(torch.cat([view.colour(chunk, draws) for chunk in chunks]).split(len(group[0]))))
            else:
                views.append([])
        return views[0] + views[1], views[2]


def cut(image: Tensor, view: View, draws: torch.Generator) -> Tensor:
    """One random crop (ch, size, size) uint8 of an image (ch, H, W) uint8: the geometry of ``view``."""
    height, width = image.shape[1:]
    if view.scale is None:
        box = augment.center_crop_boxes(1, height, width, view.size, view.size)[0]
    else:
        box = augment.crop_boxes(1, height, width, view.scale, (3 / 4, 4 / 3), draws)[0]
    out = tv.resized_crop(image, *box.tolist(), [view.size, view.size], antialias=True)
    return tv.horizontal_flip(out) if torch.rand(1, generator=draws).item() < view.flip else out


class _PlainImages(Dataset[Tensor]):
    def __init__(self, paths: Sequence[str], rows: Sequence[int], view: EvalView) -> None:
        self.paths, self.rows, self.view = paths, rows, view

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensor:
        image = decode(self.paths[self.rows[i]])
        box = augment.center_crop_boxes(1, *image.shape[1:], self.view.size, self.view.resize)[0]
        return tv.resized_crop(image, *box.tolist(), [self.view.size, self.view.size], antialias=True)


def plain_batches(
    paths: Sequence[str], rows: Sequence[int], view: EvalView, *, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[Tensor]:
    """Normalised evaluation views (B, 3, size, size) of the files ``rows``, in order."""
    loader = DataLoader(_PlainImages(paths, rows, view), batch_size=batch_size, num_workers=workers)
    for batch in loader:
        yield augment.normalise(batch.to(device).float() / 255, view.mean, view.std)
