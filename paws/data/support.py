"""Class-balanced support sets (arXiv 2104.13963, section 3): the labelled images of a step, and their class ids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from paws.errors import InputError
from paws.seeds import python_random


class SupportSampler:
    """Draws S = images_per_class x classes_per_batch labelled images for each step, the same number of every class.

    ``labels`` int64 (N,) with -1 for unlabelled. Position p of a batch belongs to class p % classes_per_batch of the
    batch's window of classes. The windows walk through one permutation of the classes after the other, equal on all
    ranks; classes left over at the end of a permutation are skipped. With all classes in every batch they stand in
    order. The ranks either share a window and divide the images of its classes among them, or (``unique_classes``)
    have a window each. A class with fewer images than are needed repeats them evenly, down to one image.

    Everything is a function of (seed, step, rank): nothing is remembered from batch to batch, and the cost of a batch
    does not depend on N. Raises InputError for sizes below 1, a class without a label (``names`` of the C classes say
    which; without them C is the largest label + 1), and fewer classes than a batch takes.
    """

    def __init__(
        self,
        labels: Tensor,
        *,
        classes_per_batch: int,
        images_per_class: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        unique_classes: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        for key, value in (("classes_per_batch", classes_per_batch), ("images_per_class", images_per_class)):
            if value < 1:
                raise InputError(f"{key} is {value}, must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is outside of a world of {world_size}")
        num_classes = len(names) if names else int(labels.max()) + 1 if len(labels) else 0
        check_every_class(labels, num_classes, names)
        needed = classes_per_batch * (world_size if unique_classes else 1)
        if num_classes < needed:
            ranks = f" on each of {world_size} ranks with unique classes" if needed > classes_per_batch else ""
            raise InputError(f"classes_per_batch is {classes_per_batch}{ranks}, but there are {num_classes} classes")
        # images of class c: order[starts[c] : starts[c + 1]], ascending
        order = torch.argsort(labels, stable=True)
        self.order = order[int((labels < 0).sum()) :]
        self.starts = [0, *torch.bincount(labels[labels >= 0], minlength=num_classes).cumsum(0).tolist()]
        self.num_classes = num_classes
        self.classes_per_batch, self.images_per_class = classes_per_batch, images_per_class
        self.seed, self.rank, self.world_size, self.unique_classes = seed, rank, world_size, unique_classes

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Indices (S,) into ``labels`` and this rank's window of classes (classes_per_batch,), both int64."""
        classes = self._window(step)
        columns = [self._images(c, step) for c in classes]  # classes_per_batch lists of images_per_class
        return self.order[torch.tensor(columns).T.reshape(-1)], torch.tensor(classes)

    def _window(self, step: int) -> list[int]:
        if self.classes_per_batch == self.num_classes:
            return list(range(self.num_classes))
        stride = self.classes_per_batch * (self.world_size if self.unique_classes else 1)
        class_pass, window = divmod(step, self.num_classes // stride)
        permutation = list(range(self.num_classes))
        python_random(self.seed, "classes", class_pass).shuffle(permutation)
        first = window * stride + (self.rank * self.classes_per_batch if self.unique_classes else 0)
        return permutation[first : first + self.classes_per_batch]

    def _images(self, c: int, step: int) -> list[int]:
        """Positions in ``order``: this rank's share of what all ranks that see class c draw in this step.

        The ranks deal round and round from the same draw without replacement, so each image comes as often as any other
        or once more, for one rank and for all together.
        """
        start, stop = self.starts[c], self.starts[c + 1]
        sharing, share = (1, 0) if self.unique_classes else (self.world_size, self.rank)
        drawn = min(stop - start, sharing * self.images_per_class)
        images = python_random(self.seed, "support", step, c).sample(range(start, stop), drawn)
        first = share * self.images_per_class
        return [images[(first + j) % drawn] for j in range(self.images_per_class)]


def support_labels(
    classes_per_batch: int, images_per_class: int, views: int = 1, *, world_size: int = 1, unique_classes: bool = False
) -> Tensor:
    """The class ids (world_size * views * S,) int64 of the support sets of all ranks; they are the same in every step.

    Rank by rank, within it view by view, within it position by position. An id is a place in the ranks' windows of classes:
    one of classes_per_batch when the ranks share the window, of world_size * classes_per_batch when they do not.
    """
    place = torch.arange(classes_per_batch).repeat(images_per_class * views)  # (views * S,)
    first = torch.arange(world_size)[:, None] * (classes_per_batch if unique_classes else 0)
    return (first + place).flatten()


def check_every_class(labels: Tensor, num_classes: int, names: Sequence[str] | None = None) -> None:
    """Raise InputError, naming the classes, unless each of ``num_classes`` classes occurs in ``labels`` (N,)."""
    counts = torch.bincount(labels[labels >= 0], minlength=num_classes)
    empty = (counts == 0).nonzero().flatten().tolist()
    if num_classes == 0 or empty:
        shown = ", ".join(str(names[c]) if names else str(c) for c in empty[:5]) + (", ..." if len(empty) > 5 else "")
        raise InputError(
            f"{len(empty)} of {num_classes} classes have no labelled image: {shown}" if empty else "no image is labelled"
        )
