"""Stores of images with their labels: one protocol, and the store that keeps the pixels in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from PIL import Image
from torch import Tensor

from paws.data.source import Bank, TensorBank
from paws.data.views import EvalView, MultiCrop, View


class Images(Protocol):
    """N images, wherever their pixels are."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,), -1 where unknown."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The C class names that the labels count."""

    @property
    def names(self) -> Sequence[str] | None:
        """N file names; None where images have no names."""

    def __len__(self) -> int: ...

    def select(self, rows: Tensor) -> Self:
        """The images ``rows`` (M,) int64 alone."""

    def batches(self, view: EvalView, *, batch_size: int, device: torch.device, workers: int = 0) -> Iterator[Tensor]:
        """Normalised evaluation views (B, ch, size, size) of all images on the device, in order."""

    def bank(self, views: MultiCrop | None, support_view: View | None, support_views: int, *, device: torch.device) -> Bank:
        """What makes the random views of a training step on the device."""

    def open(self, i: int, side: int) -> Image.Image:
        """Image ``i`` as a picture to look at; where that is cheaper, only ``side`` pixels or more on the shorter side."""

    def readable(self, *, skip: bool, cache_dir: str | Path | None, workers: int) -> tuple[Self, Tensor]:
        """The set without images that cannot be read, and the new position (N,) int64 of each, -1 for those left out.

        Raises InputError naming them, unless ``skip``.
        """


@dataclass(frozen=True)
class ImageSet:
    """Images in memory: ``images`` uint8 (N, ch, H, W), ``labels`` int64 (N,), ``classes`` (names)."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    @property
    def names(self) -> None:
        """There are none."""

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: Tensor) -> ImageSet:
        """The images ``rows`` (M,) int64 alone."""
        return ImageSet(self.images[rows], self.labels[rows], self.classes)

    def batches(self, view: EvalView, *, batch_size: int, device: torch.device, workers: int = 0) -> Iterator[Tensor]:
        """Normalised evaluation views (B, ch, size, size), made on the device."""
        return (view(part.to(device)) for part in self.images.split(batch_size))

    def bank(
        self, views: MultiCrop | None, support_view: View | None, support_views: int, *, device: torch.device
    ) -> TensorBank:
        """All pixels on the device, and the views made there."""
        return TensorBank(self.images.to(device), views, support_view, support_views)

    def open(self, i: int, side: int) -> Image.Image:
        """Image ``i`` at its own size, of one or three channels."""
        pixels = self.images[i].permute(1, 2, 0).numpy()  # (H, W, ch)
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def readable(self, *, skip: bool, cache_dir: str | Path | None, workers: int) -> tuple[ImageSet, Tensor]:
        """The set as it is: pixels in memory have been read."""
        return self, torch.arange(len(self))
