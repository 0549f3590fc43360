"""The features of every image of a run, in its plain view and in random ones, in one memory-mapped file.

What other runs have embedded is taken from the store of all of them (`paws.models.feature_cache`).

A row belongs to the bytes of a file, whatever its name and age, and has a checksum: rows that are there stay when files are
added, removed or renamed, damaged ones are made anew, and a run that was killed goes on after the last recorded chunk.

``views.json`` names the two files that hold features and rows. It is replaced as a whole when the set of images changes, so
that a kill leaves the former store or the new one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paws.data.folder import FileSet
from paws.data.stored_views import VERSION
from paws.errors import InputError
from paws.fit.feature_file import ABOUT, RECORDED, ROW, checksums, read_about, read_store, sound_rows
from paws.models.embedding import Embedder
from paws.models.joined import Backbone
from paws.runs.files import reason_of, reserve, write_text, writing
from paws.runs.temporary import remove

TAKEN = 512  # images whose features are there, taken at a time


class FeatureStore:
    """Features (N, 1 + K, D) float16 of N files in a folder of their own.

    Args:
        folder: where they are kept.
        files: whose features they are, in the order of the rows.
        contents: (N) names of the files' bytes, as `paws.data.images.Inspected` has them.
        frozen: the backbone.
        views: K, random views of each image beside the plain one.
        mirror: whether half of the random views are mirrored.

    Raises:
        InputError: the folder cannot be written, or the disk has no room for all features.
    """

    def __init__(
        self, folder: Path, files: FileSet, contents: Sequence[str], frozen: Backbone, views: int, *, mirror: bool = True
    ) -> None:
        self.folder, self.files, self.contents = folder, files, contents
        self.frozen, self.views, self.mirror = frozen, views, mirror
        self.shape = (len(files), 1 + views, frozen.feature_dim)
        self.settings = {"version": VERSION, "views": views, "mirror": mirror, "backbone": frozen.config()}
        self._open()

    @property
    def missing(self) -> int:
        """How many images are not embedded yet."""
        return int((~self.done).sum())

    def fill(
        self,
        embedder: Embedder | None = None,
        *,
        known: set[str] | None = None,
        workers: int = 0,
        advance: Callable[[int], None] = lambda count: None,
    ) -> np.memmap:
        """Embed what is missing and return all features, read-only. ``advance`` is told how many images were done.

        ``known``: the contents of those that `Embedder.known` knows, where it was asked.

        Raises:
            InputError: a file can no longer be read, or is not the one that was checked.
        """
        pending = np.flatnonzero(~self.done)
        if len(pending):
            embedder = embedder or Embedder(self.frozen)
            if known is None:
                known = embedder.known([self.contents[row] for row in pending.tolist()], self.views, mirror=self.mirror)
            there = np.array([self.contents[row] in known for row in pending.tolist()])
            for rows, size in ((pending[there], TAKEN), (pending[~there], RECORDED)):
                self._embed(rows, embedder, known, size, workers, advance)
        return np.memmap(self.folder / self.about["features"], np.float16, "r", shape=self.shape)

    @property
    def done(self) -> np.ndarray:
        """(N,) bool: which images are embedded."""
        return self.rows["checksum"] != 0

    def _embed(
        self,
        pending: np.ndarray,
        embedder: Embedder,
        known: set[str],
        size: int,
        workers: int,
        advance: Callable[[int], None],
    ) -> None:
        """Embed the images ``pending``, so many at a time, and record them as done."""
        features = np.memmap(self.folder / self.about["features"], np.float16, "r+", shape=self.shape)
        rows = np.memmap(self.folder / self.about["rows"], ROW, "r+", shape=len(self.files))
        paths = [self.files.paths[int(row)] for row in pending]
        contents = [self.contents[row] for row in pending.tolist()]
        options: Any = {"mirror": self.mirror, "workers": workers, "batch_size": size, "contents": contents, "known": known}
        start = 0
        for found, faults, names in embedder.batches(paths, self.views, **options):  # (B, 1+K, D)
            chunk = pending[start : start + len(found)]
            faults = [fault or self._changed(row, name) for fault, row, name in zip(faults, chunk, names, strict=True)]
            if any(faults):
                raise InputError("\n".join(fault for fault in faults if fault))
            if float(found.abs().max()) > np.finfo(np.float16).max:
                raise InputError(f"{self.frozen.name}: its features are too large to be stored in half precision")
            features[chunk] = found.to(torch.float16).numpy()
            features.flush()
            rows["checksum"][chunk] = checksums(rows["content"][chunk], features[chunk])  # only now: what has one is there
            rows.flush()
            start += len(found)
            advance(len(found))
        self.rows = np.array(rows)

    def _changed(self, row: int, content: str) -> str | None:
        return None if content == self.contents[row] else f"{self.files.paths[row]}: changed while the fit ran; run it again"

    def _open(self) -> None:
        rows = np.zeros(len(self.files), ROW)
        rows["content"] = np.frombuffer(bytes.fromhex("".join(self.contents)), "<u8").reshape(-1, 2)
        former = read_store(self.folder)
        if former is None or {name: former[0].get(name) for name in self.settings} != self.settings:
            former = None
        elif former[0]["shape"] == list(self.shape) and np.array_equal(former[1]["content"], rows["content"]):
            self.about, _, features = former
            self.rows = sound_rows(former[1], features)
            if not np.array_equal(self.rows, former[1]):  # what is damaged is not there
                self.rows.tofile(self.folder / self.about["rows"])
            return
        self._build(rows, former)

    def _build(self, rows: np.ndarray, former: tuple[dict[str, Any], np.ndarray, np.ndarray] | None) -> None:
        """A store for these files that holds the sound rows which the ``former`` one has of them."""
        token = secrets.token_hex(4)
        self.about = {**self.settings, "shape": list(self.shape), "features": f"{token}.f16", "rows": f"{token}.rows"}
        path = self.folder / self.about["features"]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                reserve(file.fileno(), 2 * int(np.prod(self.shape)))  # else a full disk is a fault of the memory map
                file.truncate(2 * int(np.prod(self.shape)))
            features = np.memmap(path, np.float16, "r+", shape=self.shape)
            if former is not None:
                place = {name.tobytes(): i for i, name in enumerate(former[1]["content"]) if former[1]["checksum"][i]}
                for row, name in enumerate(rows["content"]):
                    if (old := place.get(name.tobytes())) is not None:
                        features[row], rows["checksum"][row] = former[2][old], former[1]["checksum"][old]
            self.rows = sound_rows(rows, features)
            features.flush()
            with writing(self.folder / self.about["rows"]) as file:
                file.write(self.rows.tobytes())
            write_text(self.folder / ABOUT, json.dumps(self.about))
        except OSError as error:
            raise InputError(f"{path}: {reason_of(error)}") from None
        finally:
            self._clear()

    def _clear(self) -> None:
        """Remove the files that `ABOUT` does not name: of a former store, or of one that was not finished."""
        known = read_about(self.folder) or {}
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.suffix in (".f16", ".rows", ".u8") and path.name not in (known.get("features"), known.get("rows")):
                remove(path)
