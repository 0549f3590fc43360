"""An image folder with one sub-folder per class, at any size: a compact index, cached on disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paws.data.formats import scan_images
from paws.data.images import open_image
from paws.data.texts import from_json
from paws.errors import InputError
from paws.runs.files import writing

if TYPE_CHECKING:
    from paws.data.files import FileBank
    from paws.data.views import EvalView, MultiCrop, View

CACHE_VERSION = 2
Stamp = tuple[str, int, int, int, int]  # name, bytes, modification and change time in ns, number of the file
TICK = 20_000_000  # ns: the clock of a file system is no finer than some milliseconds


class Paths(Sequence[str]):
    """N paths below one root as one buffer of bytes: a million paths take 40 MB, and forked workers share them.

    ``paths[i]`` is the full path, ``paths.names`` the same sequence relative to the root.
    """

    def __init__(self, root: str, buffer: np.ndarray, ends: np.ndarray) -> None:
        self.root, self.buffer, self.ends = root, buffer, ends  # ends int64 (N,): where each name ends in the buffer

    @classmethod
    def of(cls, root: str | Path, names: Sequence[str]) -> Paths:
        """From names relative to ``root`` ("" when they are paths as they stand)."""
        encoded = [os.fsencode(name) for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        return cls(os.fspath(root), np.frombuffer(b"".join(encoded), np.uint8), ends)

    @property
    def names(self) -> Paths:
        return Paths("", self.buffer, self.ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        start = int(self.ends[index - 1]) if index else 0
        name = os.fsdecode(self.buffer[start : int(self.ends[index])].tobytes())
        return os.path.join(self.root, name) if self.root else name

    def __iter__(self) -> Iterator[str]:
        data, start = self.buffer.tobytes(), 0
        for end in self.ends.tolist():
            name = os.fsdecode(data[start:end])
            yield os.path.join(self.root, name) if self.root else name
            start = end


@dataclass(frozen=True)
class FileSet:
    """Images in files: ``paths`` (N strings), ``labels`` int64 (N,) with -1 where unknown, ``classes`` (C names)."""

    paths: Sequence[str]
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> Sequence[str]:
        """The paths relative to the root of the set (class/file in a folder of classes)."""
        return self.paths.names if isinstance(self.paths, Paths) else self.paths

    def select(self, rows: Tensor) -> FileSet:
        """The images ``rows`` (M,) int64 alone."""
        names = [self.names[i] for i in rows.tolist()]
        paths = Paths.of(self.paths.root, names) if isinstance(self.paths, Paths) else names
        return FileSet(paths, self.labels[rows], self.classes)

    def batches(self, view: EvalView, *, batch_size: int, device: torch.device, workers: int = 0) -> Iterator[Tensor]:
        """Normalised evaluation views (B, 3, size, size), decoded by ``workers`` processes."""
        from paws.data.files import plain_batches

        return plain_batches(self.paths, view, batch_size=batch_size, device=device, workers=workers)

    def bank(self, views: MultiCrop | None, support_view: View | None, support_views: int, *, device: torch.device) -> FileBank:
        """Files decoded and cropped by loader workers, their colours drawn on the device."""
        from paws.data.files import FileBank

        return FileBank(self.paths, views, support_view, support_views, device=device)

    def open(self, i: int, side: int) -> Image.Image:
        """The picture in file ``i``, a large JPEG at a reduced scale. Raises InputError when it cannot be read."""
        return open_image(self.paths[i], side)

    def readable(self, *, skip: bool, cache_dir: str | Path | None, workers: int) -> tuple[FileSet, Tensor]:
        """The set without files that cannot be decoded (see ``paws.data.broken``): all ranks must call this."""
        from paws.data.broken import without_broken

        return without_broken(self, skip=skip, cache_dir=cache_dir, workers=workers)


def stamps(files: FileSet) -> list[Stamp | None]:
    """What tells whether a file is the one that was read: a change of its bytes changes the last two, whatever times are set.

    None where it was written so short a time ago that another change could look the same.

    Raises:
        InputError: a file is gone.
    """
    found: list[Stamp | None] = []
    now = time.time_ns()
    for name, path in zip(files.names, files.paths, strict=True):
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; it was there when the folder was read") from None
        mark = (name, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        found.append(mark if status.st_ctime_ns < now - TICK else None)
    return found


def index_folder(root: str | Path, cache_dir: str | Path | None = None, classes: tuple[str, ...] | None = None) -> FileSet:
    """All images below ``root/<class>/``; class ids follow the sorted folder names (or ``classes``, when given).

    With ``cache_dir`` the index is kept there in one file and used again as long as no folder below ``root`` has
    changed (their modification times are compared). Raises InputError for a missing root, a root without class
    folders, a class folder without an image, and a class folder that ``classes`` does not know.
    """
    root = Path(root).absolute()
    if cache_dir is None:
        index = _scan_classes(root)
    else:
        cache = _cache_file(root, cache_dir)
        cached = _read_cache(cache, root)
        index = cached or _scan_classes(root)
        if cached is None:
            _write_cache(cache, index)
    order = {name: i for i, name in enumerate(classes or index.classes)}
    unknown = [name for name in index.classes if name not in order]
    if unknown:
        known = ", ".join(list(order)[:5])
        raise InputError(f"{root / unknown[0]}: no such class among the training classes ({known}, ...)")
    labels = np.repeat(np.array([order[name] for name in index.classes], np.int64), index.counts)
    return FileSet(index.paths, torch.from_numpy(labels), tuple(order))


@dataclass(frozen=True)
class _Index:
    classes: tuple[str, ...]
    counts: np.ndarray  # images in each class, int64 (C,)
    paths: Paths
    folders: dict[str, int]  # every folder below the root -> modification time in ns


def _scan_classes(root: Path) -> _Index:
    names: list[str] = []
    counts = []
    folders = {"": _modified(root)}
    classes = class_names(root)
    if not classes:
        raise InputError(f"{root}: has no class folders; expected {root}/<class>/<image>")
    for name in classes:
        found = scan_images(root / name)
        if not found.images:
            over = f" ({found.told()})" if found.passed_over else ""
            raise InputError(f"{root / name}: this class folder holds no image{over}; remove it or put images into it")
        names += [f"{name}/{image}" for image in found.images]
        counts.append(len(found.images))
        folders |= {os.path.join(name, folder): modified for folder, modified in found.folders.items()}
    return _Index(classes, np.array(counts, np.int64), Paths.of(root, names), folders)


def _cache_file(root: Path, cache_dir: str | Path) -> Path:
    return Path(cache_dir) / f"index-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.npz"


def _write_cache(cache: Path, index: _Index) -> None:
    """One file, written aside and renamed. No cache of a folder changed just now: its next change may look the same."""
    if max(index.folders.values()) > time.time_ns() - 2 * 10**9:
        return
    about = {"version": CACHE_VERSION, "classes": index.classes, "folders": index.folders}
    cache.parent.mkdir(parents=True, exist_ok=True)
    with writing(cache) as file:
        about_bytes = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(file, about=about_bytes, counts=index.counts, buffer=index.paths.buffer, ends=index.paths.ends)


def _read_cache(cache: Path, root: Path) -> _Index | None:
    """The cached index, or None where there is none that still holds."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            about = from_json(arrays["about"].tobytes())
            if about["version"] != CACHE_VERSION or any(
                _modified(root / folder) != modified for folder, modified in about["folders"].items()
            ):
                return None
            paths = Paths(os.fspath(root), arrays["buffer"], arrays["ends"])
            return _Index(tuple(about["classes"]), arrays["counts"], paths, about["folders"])
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile):
        return None


def _modified(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1  # gone


def class_names(root: Path) -> tuple[str, ...]:
    """The sorted names of the sub-folders that stand for classes."""
    try:
        with os.scandir(root) as entries:
            return tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))
    except OSError as error:
        raise InputError(f"{root}: not a readable folder ({error.strerror})") from None
