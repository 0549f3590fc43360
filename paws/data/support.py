"""The class-stratified support set: which labelled images vote in a step, and their label matrix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from paws.errors import InputError
from paws.losses import smoothed_one_hot
from paws.seeds import generator, python_random


class SupportSampler:
    """Support sets as a pure function of the step (arXiv 2104.13963, section 4).

    Position p of a set holds an image of the window's class p % classes_per_batch. Windows cut a permutation of the
    classes that all ranks share; classes left over are skipped until the next permutation. When a window holds all
    classes they stand in order, so that the columns of the label matrix are the class ids.

    Args:
        labels: (N,) int64 class ids, -1 where unlabelled.
        classes_per_batch: classes in a set.
        images_per_class: images of each class in a set; a class with fewer repeats them as evenly as possible.
        num_classes: C; each of them needs a label.
        seed: of the draws.
        rank, world_size: this process among all. With shared classes the ranks draw different images of a class as long
            as it has enough.
        unique_classes: every rank has classes of its own.

    Raises:
        InputError: a class without a label, or fewer classes than a step needs.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        classes_per_batch: int,
        images_per_class: int,
        num_classes: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        unique_classes: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:
        self.classes_per_batch, self.images_per_class = classes_per_batch, images_per_class
        self.num_classes, self.seed, self.rank, self.world_size = num_classes, seed, rank, world_size
        self.unique_classes = unique_classes
        known = labels.cpu().numpy()
        order = np.argsort(known, kind="stable")
        bounds = np.searchsorted(known[order], np.arange(num_classes + 1))
        self._images, self._bounds = (
            torch.from_numpy(order),
            bounds.tolist(),
        )  # images of class c: [bounds[c], bounds[c+1])
        empty = [str(names[c]) if names else str(c) for c in range(num_classes) if bounds[c] == bounds[c + 1]]
        if empty:
            raise InputError(
                f"no labelled image of class {', '.join(empty[:10])}: label at least one image of each class"
            )
        needed = classes_per_batch * (world_size if unique_classes else 1)
        if needed > num_classes:
            ranks = f" × {world_size} ranks with classes of their own" if unique_classes and world_size > 1 else ""
            raise InputError(
                f"support.classes_per_batch={classes_per_batch}{ranks} needs {needed} classes, but there are {num_classes}"
            )
        self._per_pass = num_classes // needed  # windows that one permutation of the classes gives
        self._order: tuple[int, Tensor] = (-1, torch.arange(num_classes))

    def classes(self, step: int) -> Tensor:
        """The class ids (classes_per_batch,) of a step's window, on this rank."""
        if self.classes_per_batch == self.num_classes:
            return torch.arange(self.num_classes)
        nth, window = divmod(step, self._per_pass)
        if self._order[0] != nth:
            self._order = (nth, torch.randperm(self.num_classes, generator=generator(self.seed, "classes", nth)))
        if self.unique_classes:
            window = window * self.world_size + self.rank
        return self._order[1][window * self.classes_per_batch : (window + 1) * self.classes_per_batch]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Indices (images_per_class * classes_per_batch,) of a step's support images, and its window's class ids."""
        classes = self.classes(step)
        rows = [self._draw(step, int(c)) for c in classes]  # cpb * [(images_per_class,)]
        return self._images[torch.tensor(rows).T.reshape(-1)], classes

    def _draw(self, step: int, label: int) -> list[int]:
        first, end = self._bounds[label], self._bounds[label + 1]
        shared = not self.unique_classes and self.world_size > 1
        ranks, rank = (self.world_size, self.rank) if shared else (1, 0)
        random = python_random(self.seed, "support", step, label, 0 if shared else self.rank)
        wanted, there = self.images_per_class * ranks, end - first
        drawn: list[int] = []
        while len(drawn) < wanted:  # whole rounds over a class that has fewer images than asked for
            drawn += random.sample(range(first, end), min(there, wanted - len(drawn)))
        return drawn[rank * self.images_per_class : (rank + 1) * self.images_per_class]


def support_labels(
    classes_per_batch: int,
    images_per_class: int,
    views: int = 1,
    *,
    world_size: int = 1,
    unique_classes: bool = False,
    smoothing: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Label matrix (world_size * views * images_per_class * classes_per_batch, C) of the supports of all ranks.

    Rows are rank by rank, view by view, position by position, as the embeddings are gathered. A column stands for a place
    in the window: classes_per_batch of them, times world_size with unique classes. Rows sum to 1.
    """
    window = torch.arange(classes_per_batch).repeat(views * images_per_class)  # (V*S,)
    offsets = torch.arange(world_size)[:, None] * (classes_per_batch if unique_classes else 0)
    columns = classes_per_batch * (world_size if unique_classes else 1)
    return smoothed_one_hot((window + offsets).reshape(-1), columns, smoothing, dtype)  # (W*V*S, C)
