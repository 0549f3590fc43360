"""Predict any number of images as a stream: one process, or shares of the images on many ranks and one table."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from paws import distributed
from paws.bundle.bundle import Bundle
from paws.bundle.table import PREDICT_COLUMNS, Prediction, write_rows
from paws.data.formats import scan_images
from paws.data.labels import SHOWN, listed
from paws.data.texts import read_text
from paws.errors import InputError
from paws.runs.files import writing
from paws.runs.temporary import temporary_name


def list_images(inputs: Sequence[Path]) -> tuple[list[str], list[str], list[str]]:
    """Paths of the images that ``inputs`` stand for, and the names to show: all images of a folder (relative to it, where
    it is the only input), an image file, or a text file (.txt) with a path on every line. And what was passed over in folders.

    Raises:
        InputError: inputs that do not exist, all of them named, or no image at all.
    """
    paths: list[str] = []
    problems, passed_over = [], []
    for given in inputs:
        if os.path.isdir(given):
            listing = scan_images(given)
            paths += [os.path.join(given, name) for name in listing.images]
            passed_over += [f"{given}: {listing.told()}"] if listing.passed_over else []
        elif given.suffix.lower() == ".txt" and os.path.isfile(given):
            lines = [line.rstrip("\r") for line in read_text(given).split("\n") if line.strip()]
            paths += [line if os.path.exists(line) else line.strip() for line in lines]  # a name may begin or end with a blank
        elif os.path.isfile(given):
            paths.append(str(given))
        else:
            problems.append(f"{given}: no such file or folder")
    if problems:
        raise InputError("\n".join(problems))
    if not paths:
        raise InputError("\n".join([f"{', '.join(map(str, inputs))}: no images there", *passed_over]))
    root = inputs[0] if len(inputs) == 1 and inputs[0].is_dir() else None
    return paths, [os.path.relpath(path, root) if root else path for path in paths], passed_over


def predictions(bundle: Bundle, paths: Sequence[str], names: Sequence[str], *, workers: int = 0) -> Iterator[list[Prediction]]:
    """Predictions in order, a batch at a time; an image that cannot be read has its ``error``."""
    start = 0
    for features, faults, _ in bundle.embedder.batches(paths, workers=workers):
        found = bundle.predict_features(names[start : start + len(features)], features[:, 0])
        yield [Prediction(p.file, error=fault) if fault else p for p, fault in zip(found, faults, strict=True)]
        start += len(features)


def predict_table(
    bundle: Bundle,
    paths: Sequence[str],
    names: Sequence[str],
    output: Path,
    *,
    workers: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the table ``output`` with a row for every image, in order; returns how many could not be read.

    Every rank must call it with the same images: each predicts its share of them, and rank 0 joins the shares (the folder
    of ``output`` must be one that all ranks see). The table appears when it is whole.

    Raises:
        InputError: the table cannot be written, or not one image can be read.
    """
    rank, ranks = distributed.rank(), distributed.world_size()
    begin, end = (len(paths) * place // ranks for place in (rank, rank + 1))
    share = None if rank == 0 else output.with_name(temporary_name())

    faults: list[str] = []

    def write(file: TextIO) -> int:
        broken = 0
        for batch in predictions(bundle, paths[begin:end], names[begin:end], workers=workers):
            broken += sum(bool(p.error) for p in batch)
            faults.extend(p.error for p in batch[: SHOWN - len(faults)] if p.error)
            write_rows(file, (p.row() for p in batch), PREDICT_COLUMNS, header=False)
            advance(len(batch))
        return broken

    if share is not None:
        try:
            with writing(share, text=True) as file:
                broken = write(file)
            total = _total(distributed.gather_objects((broken, share)), len(paths), faults)
            distributed.barrier()  # until the share is in the table
        finally:
            share.unlink(missing_ok=True)
        return total
    with writing(output, text=True, ours=",".join(PREDICT_COLUMNS).encode()) as file:
        write_rows(file, [], PREDICT_COLUMNS)
        found = distributed.gather_objects((write(file), None))  # from here on every share is whole
        total = _total(found, len(paths), faults)
        for _, further in found[1:]:
            with open(further, encoding="utf-8", errors="surrogateescape", newline="") as part:
                shutil.copyfileobj(part, file)
    distributed.barrier()
    return total


def _total(found: Sequence[tuple[int, Path | None]], images: int, faults: Sequence[str]) -> int:
    total = sum(broken for broken, _ in found)
    if total == images:
        raise InputError(listed(f"not one of {total} images can be read", faults))
    return total
