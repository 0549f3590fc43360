"""Stored features of augmented views as an image bank: training reads them where it would read pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from paws.seeds import generator


class FeatureBank:
    """The ``Bank`` of cached views (N, V, D), V the views of an image, the plain one among them.

    Every step shows each unlabelled image in two different views of its own draw and each support image in one. Only the
    rows of the step are read, so that ``views`` may be a memory map far larger than memory. An image of one single view
    gets its second one from noise in feature space, as do all views where asked for.

    Args:
        views: (N, V, D) float16 or float32 tensor or array.
        device: where training runs.
        dropout: share of the features of a view that are set to zero (the others enlarged to keep the mean), in [0, 1).
        noise: standard deviation of the Gaussian noise that is added to the features.
    """

    def __init__(
        self,
        views: Tensor | np.ndarray,
        device: torch.device | str = "cpu",
        *,
        dropout: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        self.stored, self.device = views, torch.device(device)
        self.dropout, self.noise = dropout, noise

    def read(self, indices: Tensor, support: Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Two views (B, D) of the unlabelled images and one (S, D) of the support images, as they are stored."""
        seed, step, rank = key
        count, draws = self.stored.shape[1], generator(seed, "views", step, rank)
        first = torch.randint(count, (len(indices),), generator=draws)  # (B,)
        further = torch.randint(1, max(2, count), (len(indices),), generator=draws)
        second = (first + further) % count
        own = torch.randint(count, (len(support),), generator=draws)  # (S,)
        rows, chosen = torch.cat([indices, indices, support]), torch.cat([first, second, own])
        read = _rows(self.stored, rows, chosen)  # (2B + S, D)
        view1, view2, supports = read.split([len(indices), len(indices), len(support)])
        return view1, view2, supports

    def views(self, read: Any, key: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Views [(B, D)] * 2 and support [(S, D)] on the training device, float32."""
        seed, step, rank = key
        draws = generator(seed, "noise", step, rank)
        view1, view2, support = (self._disturbed(part.to(self.device).float(), draws) for part in read)
        return [view1, view2] if len(view1) else [], [support] if len(support) else []

    def _disturbed(self, features: Tensor, draws: Generator) -> Tensor:
        if self.dropout:
            kept = torch.rand(features.shape, generator=draws) >= self.dropout
            features = features * kept.to(self.device) / (1 - self.dropout)
        if self.noise:
            features = features + self.noise * torch.randn(features.shape, generator=draws).to(self.device)
        return features


def _rows(stored: Tensor | np.ndarray, rows: Tensor, views: Tensor) -> Tensor:
    """``stored[rows, views]`` (R, D) as a tensor of its own."""
    if isinstance(stored, Tensor):
        return stored[rows.to(stored.device), views.to(stored.device)]
    return torch.from_numpy(np.asarray(stored[rows.numpy(), views.numpy()]))
