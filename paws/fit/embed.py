"""The features of every image of a run, in its plain view and in random ones, in one memory-mapped file.

What other runs have embedded is taken from the store of all of them (`paws.models.feature_cache`).

A row belongs to a file by its name, size and modification time. Rows that are there stay when files are added or removed; a
run that was killed goes on after the last recorded chunk.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.data.folder import FileSet, Stamp, stamps
from paws.data.stored_views import VERSION
from paws.errors import InputError
from paws.fit.record import STORE
from paws.models.embedding import Embedder
from paws.models.frozen import Backbone
from paws.runs.files import write_text

RECORDED = 64  # images after which the rows are recorded as done


class FeatureStore:
    """Features (N, 1 + K, D) float16 of N files in a folder of their own.

    Args:
        folder: where they are kept.
        files: whose features they are, in the order of the rows.
        frozen: the backbone.
        views: K, random views of each image beside the plain one.
        mirror: whether half of the random views are mirrored.
    """

    def __init__(self, folder: Path, files: FileSet, frozen: Backbone, views: int, *, mirror: bool = True) -> None:
        self.folder, self.files, self.frozen, self.views, self.mirror = folder, files, frozen, views, mirror
        self.shape = (len(files), 1 + views, frozen.feature_dim)
        self.settings = {"version": VERSION, "views": views, "mirror": mirror, "backbone": frozen.config()}
        self._open(stamps(files))

    @property
    def missing(self) -> int:
        """How many images are not embedded yet."""
        return int((self.done == 0).sum())

    def fill(
        self,
        embedder: Embedder | None = None,
        contents: Sequence[str] | None = None,
        *,
        workers: int = 0,
        advance: Callable[[int], None] = lambda count: None,
    ) -> np.memmap:
        """Embed what is missing and return all features, read-only. ``advance`` is told how many images were done.

        ``contents`` (N): the digests of the files, where they are known.

        Raises:
            InputError: a file can no longer be read.
        """
        pending = np.flatnonzero(self.done == 0)
        if len(pending):
            some = None if contents is None else [contents[int(row)] for row in pending]
            self._embed(pending, embedder or Embedder(self.frozen), some, workers, advance)
        return np.memmap(self.folder / STORE[0], np.float16, "r", shape=self.shape)

    def _embed(
        self,
        pending: np.ndarray,
        embedder: Embedder,
        contents: Sequence[str] | None,
        workers: int,
        advance: Callable[[int], None],
    ) -> None:
        features = np.memmap(self.folder / STORE[0], np.float16, "r+", shape=self.shape)
        done = np.memmap(self.folder / STORE[1], np.uint8, "r+", shape=(len(self.files),))
        paths = [self.files.paths[int(row)] for row in pending]
        options: Any = {"mirror": self.mirror, "workers": workers, "batch_size": RECORDED, "contents": contents}
        start = 0
        for found, faults, _ in embedder.batches(paths, self.views, **options):  # (B, 1+K, D)
            if any(faults):
                raise InputError("\n".join(fault for fault in faults if fault))
            chunk = pending[start : start + len(found)]
            if float(found.abs().max()) > np.finfo(np.float16).max:
                raise InputError(f"{self.frozen.name}: its features are too large to be stored in half precision")
            features[chunk] = found.to(torch.float16).numpy()
            features.flush()
            done[chunk] = 1  # only now: a row that is marked is there, whatever ends this process
            done.flush()
            start += len(found)
            advance(len(found))
        self.done = np.array(done)

    def _open(self, files: list[Stamp]) -> None:
        aside = self.folder.with_name(f".{self.folder.name}.new")
        if aside.is_dir() and not self.folder.is_dir() and (aside / STORE[2]).is_file():
            aside.rename(self.folder)  # killed between the removal of the old one and this step
        shutil.rmtree(aside, ignore_errors=True)
        about = {**self.settings, "shape": list(self.shape), "files": [list(stamp) for stamp in files]}
        known = _read(self.folder)
        if known != about:
            self._build(aside, files, known)
            write_text(aside / STORE[2], json.dumps(about))
            shutil.rmtree(self.folder, ignore_errors=True)
            aside.rename(self.folder)
        self.done = np.fromfile(self.folder / STORE[1], np.uint8)

    def _build(self, folder: Path, files: list[Stamp], known: dict[str, Any] | None) -> None:
        """A store for these files that holds the rows which the one that is ``known`` has of them."""
        folder.mkdir(parents=True)
        features = np.memmap(folder / STORE[0], np.float16, "w+", shape=self.shape)
        done = np.zeros(len(files), np.uint8)
        if known is not None and {name: known.get(name) for name in self.settings} == self.settings:
            old = np.memmap(self.folder / STORE[0], np.float16, "r", shape=tuple(known["shape"]))
            finished = np.fromfile(self.folder / STORE[1], np.uint8)
            row_of = {tuple(stamp): row for row, stamp in enumerate(known["files"]) if finished[row]}
            for row, stamp in enumerate(files):
                if (former := row_of.get(stamp)) is not None:
                    features[row], done[row] = old[former], 1
        features.flush()
        done.tofile(folder / STORE[1])


def _read(folder: Path) -> dict[str, Any] | None:
    """What a store says of itself; None where there is none that is whole."""
    try:
        known = json.loads((folder / STORE[2]).read_text(encoding="utf-8"))
        size = 2 * int(np.prod(known["shape"]))
        whole = (folder / STORE[0]).stat().st_size == size and (folder / STORE[1]).stat().st_size == known["shape"][0]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return known if whole else None
