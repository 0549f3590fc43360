"""A task: the training images with the labels one may see, and the held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from paws.data.datasets import DATASETS, DatasetInfo, FileSet, ImageSet, load_dataset
from paws.data.splits import check_disjoint, labelled, only_labelled, read_split
from paws.errors import InputError


@dataclass(frozen=True)
class Task:
    """What a recipe trains and is evaluated on."""

    info: DatasetInfo
    train: ImageSet | FileSet
    labelled: Tensor  # (M,) int64 indices into train
    validation: Tensor  # (V,) int64 indices into train, held out; empty without a validation split
    test: ImageSet | FileSet | None  # None where the dataset has no held-out split

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def visible(self) -> Tensor:
        """Labels (N,) of the training images, -1 where they may not be seen."""
        return only_labelled(self.train.labels, self.labelled)


def load_task(
    dataset: str,
    root: Path | None = None,
    *,
    file: Path | None = None,
    per_class: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    validation: Path | None = None,
    cache_dir: Path | None = None,
    skip_broken: bool = False,
) -> Task:
    """Load a dataset of the table and choose its labelled images (see ``paws.data.splits.labelled``).

    Raises:
        InputError: unknown dataset, missing or broken files, a split that does not fit.
    """
    train = load_dataset(dataset, root, "train", cache_dir=cache_dir)
    names = train.names if isinstance(train, FileSet) else None
    try:
        test: ImageSet | FileSet | None = load_dataset(dataset, root, "test", cache_dir=cache_dir)
    except InputError:
        if not isinstance(train, FileSet):
            raise
        test = None  # a folder of classes alone has no held-out images
    chosen = labelled(
        train.labels,
        file=file,
        per_class=per_class,
        fraction=fraction,
        seed=seed,
        names=names,
        classes=train.classes,
    )
    held_out = torch.empty(0, dtype=torch.int64)
    if validation is not None:
        held_out = read_split(validation, len(train), names)
        check_disjoint(chosen, held_out, validation)
    return Task(DATASETS[dataset], train, chosen, held_out, test)
