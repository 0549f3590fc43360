"""Features that were computed on this machine: one store for all runs and verbs, addressed by content, backbone and view.

Each backbone has one SQLite file in ``$PAWS_CACHE/features`` (~/.cache/paws/features). A row is one view of one picture: the
digest of the file's bytes, the number of the view, a checksum, features in half precision. All files together take at most
``$PAWS_FEATURES_GB`` (5): the backbone that was used longest ago goes first, and where one alone is too large, nothing is added
to it. 0 switches the store off. The folder may be removed at any time: what is missing or damaged is computed again.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paws.data.images import file_bytes
from paws.errors import InputError
from paws.models.frozen import Frozen
from paws.models.runtime import cache_folder
from paws.runs.keys import content_key

PATIENCE = 60.0  # seconds to wait for another process that writes
SEAL = 8  # bytes of a row's checksum
ASKED = 500  # pictures in one query
TABLE = (
    "CREATE TABLE IF NOT EXISTS features (content TEXT, view INTEGER, numbers BLOB, PRIMARY KEY (content, view)) WITHOUT ROWID"
)


class FeatureCache:
    """The features of pictures by one backbone, D numbers a view.

    Args:
        frozen: the backbone; its name, weights, size and preprocessing are in the key.
        made: how: the version of the code that makes views, the largest size that pictures are decoded for, the kind of device.

    Raises:
        InputError: the folder cannot be written.
    """

    def __init__(self, frozen: Frozen, *made: str | int) -> None:
        self.width = frozen.feature_dim
        self.file = cache_folder() / "features" / f"{content_key(frozen.config(), *made)}.sqlite"
        try:
            self.limit = float(os.environ.get("PAWS_FEATURES_GB") or 5) * 1e9
        except ValueError:
            self.limit = math.nan
        if not self.limit >= 0:
            raise InputError(f"PAWS_FEATURES_GB={os.environ['PAWS_FEATURES_GB']}: is no number from 0 on")
        if self.limit:
            try:
                self._make()
            except (OSError, sqlite3.Error) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise InputError(f"{self.file}: cannot be written ({why}); set PAWS_CACHE to a writable folder") from None

    def known(self, contents: Sequence[str], views: Sequence[int]) -> set[str]:
        """Those of ``contents`` of which all ``views`` are there."""
        if not self.limit or not contents:
            return set()
        marks = ",".join("?" * len(views))
        found: set[str] = set()
        with self._sound(), closing(self._open()) as store:
            for start in range(0, len(contents), ASKED):
                some = contents[start : start + ASKED]
                query = f"SELECT content FROM features WHERE content IN ({','.join('?' * len(some))}) AND view IN ({marks})"
                found.update(
                    row[0]
                    for row in store.execute(f"{query} GROUP BY content HAVING COUNT(*) = ?", [*some, *views, len(views)])
                )
        return found

    def read(self, contents: Sequence[str], views: Sequence[int]) -> dict[str, Tensor]:
        """Features (V, D) float32 of the pictures that are `known` and undamaged."""
        if not contents:
            return {}
        blobs: dict[str, dict[int, bytes]] = {}
        with self._sound(), closing(self._open()) as store:
            for start in range(0, len(contents), ASKED):
                some = contents[start : start + ASKED]
                query = f"SELECT content, view, numbers FROM features WHERE content IN ({','.join('?' * len(some))})"
                for content, view, numbers in store.execute(query, some):
                    if (row := self._unsealed(numbers)) is not None:
                        blobs.setdefault(content, {})[view] = row
        whole = {content: rows for content, rows in blobs.items() if all(view in rows for view in views)}
        return {content: _features([rows[view] for view in views]) for content, rows in whole.items()}

    def add(self, contents: Sequence[str], views: Sequence[int], features: Tensor) -> None:
        """Keep ``features`` (B, V, D) of the pictures ``contents`` (B); those that half precision cannot hold are not kept."""
        if not self.limit or self._full():
            return
        half = features.to(torch.float16)
        rows = [
            (content, view, _sealed(numbers.numpy().tobytes()))
            for content, of_views in zip(contents, half, strict=True)
            for view, numbers in zip(views, of_views, strict=True)
            if content and bool(numbers.isfinite().all())
        ]
        with self._sound(), closing(self._open()) as store, store:
            store.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """What fails in the block is not kept, as on a full disk; a damaged file goes."""
        try:
            yield
        except sqlite3.OperationalError:
            pass
        except sqlite3.DatabaseError:
            self.file.unlink(missing_ok=True)

    def _unsealed(self, row: Any) -> bytes | None:
        """The numbers in a row; None where it is damaged."""
        whole = isinstance(row, bytes) and len(row) == SEAL + 2 * self.width and _sealed(row[SEAL:]) == row
        return row[SEAL:] if whole else None

    def _make(self) -> None:
        """The file with its table; one that is damaged is made anew."""
        try:
            self._open().close()
        except sqlite3.OperationalError:
            raise  # it cannot be written, or is locked
        except sqlite3.DatabaseError:
            self.file.unlink()
            self._open().close()
        os.utime(self.file)  # used now

    def _open(self) -> sqlite3.Connection:
        """A connection for one call: none is open when processes fork, and another process may have removed the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(self.file, timeout=PATIENCE)
        try:
            store.execute(TABLE)
        except sqlite3.Error:
            store.close()
            raise
        return store

    def _full(self) -> bool:
        """Whether there is no room; the backbones that were used longest ago make some."""
        sizes = {path: path.stat() for path in self.file.parent.glob("*.sqlite")}
        total = sum(status.st_size for status in sizes.values())
        for path in sorted(sizes, key=lambda path: sizes[path].st_mtime_ns):
            if total <= self.limit or path == self.file:
                continue
            with suppress(OSError):
                path.unlink()
                total -= sizes[path].st_size
        return total > self.limit


def _sealed(numbers: bytes) -> bytes:
    return hashlib.blake2b(numbers, digest_size=SEAL).digest() + numbers


def content_of(path: str | Path) -> str:
    """The digest of a file's bytes, as `paws.data.images.ImageFile` has it; "" where it cannot be read."""
    try:
        return hashlib.blake2b(file_bytes(path), digest_size=16).hexdigest()
    except (OSError, ValueError):
        return ""


def _features(rows: Sequence[bytes]) -> Tensor:
    return torch.from_numpy(np.stack([np.frombuffer(row, np.float16) for row in rows])).float()
