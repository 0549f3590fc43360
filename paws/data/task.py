"""A task: the training images with the labels one may see, and the held-out ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from paws.data.datasets import DATASETS, DatasetInfo, has_test, load_dataset
from paws.data.labelled_folder import labelled_folder
from paws.data.splits import check_disjoint, labelled, only_labelled, read_split
from paws.data.store import Images

TABLES = (".csv", ".jsonl")  # files of labels as `paws fit` takes them, of a folder of images


@dataclass(frozen=True)
class Task:
    """What a recipe trains and is evaluated on."""

    info: DatasetInfo
    train: Images
    labelled: Tensor  # (M,) int64 indices into train
    validation: Tensor  # (V,) int64 indices into train, held out; empty without a validation split
    test: Images | None  # None where the dataset has no held-out split

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
    workers: int = 0,
) -> Task:
    """Load a dataset of the table and choose its labelled images (see ``paws.data.splits.labelled``).

    For a folder of images ``file`` may be the CSV that `paws fit` takes: the folder need not have one for each class then, and
    there is no test split. Image files are checked before anything is trained on them (see ``paws.data.broken``): all ranks
    must call this.

    Raises:
        InputError: unknown dataset, missing or broken files, a split that does not fit.
    """
    test: Images | None = None
    if dataset == "folder" and root is not None and file is not None and file.suffix.lower() in TABLES:
        train: Images = labelled_folder(root.expanduser(), file.expanduser())
        file = None  # its labels are those that there are
    else:
        train = load_dataset(dataset, root, "train", cache_dir=cache_dir)
        test = load_dataset(dataset, root, "test", cache_dir=cache_dir) if has_test(dataset, root) else None
    draw = partial(labelled, per_class=per_class, fraction=fraction, seed=seed, classes=train.classes)
    chosen = draw(train.labels, file=file, names=train.names)
    empty = torch.empty(0, dtype=torch.int64)
    held_out = empty if validation is None else read_split(validation, len(train), train.names)
    train, position = train.readable(skip=skip_broken, cache_dir=cache_dir, workers=workers)
    if test is not None:
        test, _ = test.readable(skip=skip_broken, cache_dir=cache_dir, workers=workers)
    # split files count all images, draws only the readable ones
    chosen = draw(train.labels) if file is None else _moved(chosen, position)
    held_out = _moved(held_out, position)
    if validation is not None:
        check_disjoint(chosen, held_out, validation)
    return Task(DATASETS[dataset], train, chosen, held_out, test)


def _moved(rows: Tensor, position: Tensor) -> Tensor:
    """``rows`` after some images were left out: those that remain, at their new positions."""
    moved = position[rows]
    return moved[moved >= 0]
