"""Where a training step's tensors come from: which images a step uses, and the views made of them.

A ``Source`` is a pure function of the step: the order of the pool, the support set and every view depend on (seed, step, rank)
alone. How views are made is the business of an image bank: pixels in memory (here), or files decoded by loader workers
(``paws.data.folder``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from paws.data.support import SupportSampler, support_labels
from paws.seeds import generator


@dataclass
class Batch:
    """The tensors of one step on one rank."""

    views: list[Tensor]  # [(B, ...)] * n, large views first; empty when only a support set is asked for
    support: list[Tensor]  # [(S, ...)] * V; empty without a sampler
    indices: Tensor  # (B,) int64 which images the views are of
    classes: Tensor  # (classes per batch,) int64 the classes that the ids of ``Source.labels`` stand for on this rank
    step: int = 0  # from 0


class Bank(Protocol):
    """Images, and how views are made of them."""

    def read(self, indices: Tensor, support: Tensor, key: tuple[int, ...]) -> Any:
        """What a loader worker prepares of a step: any tree of tensors. ``key`` = (seed, step, rank)."""

    def views(self, read: Any, key: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Views of the unlabelled images and of the support set on the training device."""


class TensorBank:
    """Images as one uint8 tensor (N, ch, H, W) on the training device; all views of a step are made there in one go."""

    def __init__(
        self,
        images: Tensor,
        views: Callable[[Tensor, torch.Generator], list[Tensor]] | None,
        support_view: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        support_views: int = 1,
    ) -> None:
        self.images, self._views = images, views
        self._support_view, self.support_views = support_view, support_views

    def read(self, indices: Tensor, support: Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The indices themselves: there is nothing to prepare."""
        return indices, support

    def views(self, read: tuple[Tensor, Tensor], key: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Views [(B, ch, h, w)] * n and support views [(S, ch, h, w)] * V."""
        indices, support = (part.to(self.images.device) for part in read)
        seed, step, rank = key
        views, supports = [], []
        if self._views is not None and len(indices):
            views = self._views(self.images[indices], generator(seed, "views", step, rank))
        if self._support_view is not None and len(support):
            draws = generator(seed, "support views", step, rank)
            stacked = self.images[support].repeat(self.support_views, 1, 1, 1)  # (V*S, ch, H, W)
            supports = list(self._support_view(stacked, draws).split(len(support)))
        return views, supports


class Source:
    """Batches of views and support sets for a range of steps.

    Args:
        bank: makes the views.
        pool: (N,) indices of the images that the unlabelled views are drawn from, in passes over a fresh order each.
        batch_size: B, images per step and rank; 0 for support sets only.
        sampler: draws the support set of a step.
        steps_per_epoch: one pass over the pool (or, without a pool, over the labelled images) when absent.
        smoothing: of the support labels.
        workers: loader processes that call ``bank.read``; 0 reads in this process.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        pool: Tensor | None = None,
        batch_size: int = 0,
        sampler: SupportSampler | None = None,
        support_views: int = 1,
        smoothing: float = 0.0,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
    ) -> None:
        self.bank, self.batch_size, self.sampler = bank, batch_size, sampler
        self.pool = torch.empty(0, dtype=torch.int64) if pool is None else pool.cpu()
        self.seed, self.rank, self.world_size, self.workers = seed, rank, world_size, workers
        self.pass_length = max(1, len(self.pool) // (batch_size * world_size)) if batch_size else 1
        self.steps_per_epoch = steps_per_epoch or self.pass_length
        self.smoothing = smoothing
        self.labels = torch.empty(0, dtype=torch.int64)  # (world_size * V * S,) class ids of the supports of all ranks
        self.num_classes = 0  # that the ids count
        if sampler is not None:
            unique = sampler.unique_classes
            self.num_classes = sampler.classes_per_batch * (world_size if unique else 1)
            self.labels = support_labels(
                sampler.classes_per_batch,
                sampler.images_per_class,
                support_views,
                world_size=world_size,
                unique_classes=unique,
            )
        self._order: tuple[int, Tensor] = (-1, self.pool)

    @property
    def per_step(self) -> dict[str, int]:
        """The effective batch: images and support samples (each view counts) of all ranks in a step."""
        return {
            "images_per_step": self.batch_size * self.world_size,
            "supports_per_step": len(self.labels),
        }

    def indices(self, step: int) -> Tensor:
        """Which images of the pool a step shows this rank, (B,) int64. A pool smaller than a batch is repeated."""
        nth, position = divmod(step, self.pass_length)
        if self._order[0] != nth:
            order = self.pool[torch.randperm(len(self.pool), generator=generator(self.seed, "order", nth))]
            needed = self.batch_size * self.world_size * self.pass_length
            self._order = (nth, order.repeat(-(-needed // max(1, len(order))))[:needed])
        start = (position * self.world_size + self.rank) * self.batch_size
        return self._order[1][start : start + self.batch_size]

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, Any]:
        """What a loader worker prepares of a step."""
        empty = torch.empty(0, dtype=torch.int64)
        indices = self.indices(step) if self.batch_size else empty
        support, classes = self.sampler.batch(step) if self.sampler else (empty, empty)
        return indices, classes, self.bank.read(indices, support, (self.seed, step, self.rank))

    def batches(self, steps: Sequence[int]) -> Iterator[Batch]:
        """The batches of ``steps``, made as they are asked for (read ahead when there are workers)."""
        for step, (indices, classes, read) in zip(steps, self._read(steps), strict=True):
            views, support = self.bank.views(read, (self.seed, step, self.rank))
            yield Batch(views, support, indices, classes, step)

    def _read(self, steps: Sequence[int]) -> Iterator[Any]:
        if not self.workers:
            return (self[step] for step in steps)
        loader: DataLoader[Any] = DataLoader(
            self,  # type: ignore[arg-type]
            batch_size=None,
            sampler=steps,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
        )
        return self._told(iter(loader))

    @staticmethod
    def _told(batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            advice = "if memory ran short, lower data.workers; go on with --resume"
            raise RuntimeError(f"a loader worker was killed: {error}; {advice}") from error
