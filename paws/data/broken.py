"""Find unreadable files before training starts, all ranks together, once per state of the folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from paws import distributed
from paws.data.images import inspect_images
from paws.data.texts import from_json
from paws.errors import InputError
from paws.runs.files import write_text

if TYPE_CHECKING:
    from paws.data.folder import FileSet

SHOWN = 10  # messages
logger = logging.getLogger(__name__)


def without_broken(
    files: FileSet, *, skip: bool, cache_dir: str | Path | None = None, workers: int = 0
) -> tuple[FileSet, Tensor]:
    """The set without its unreadable files, and where each image went: (N,) int64 new positions, -1 for those left out.

    Raises InputError naming the broken files, unless ``skip``: then they are logged. See ``find_broken``.
    """
    broken = find_broken(files, cache_dir=cache_dir, workers=workers)
    if not broken:
        return files, torch.arange(len(files))
    few = "\n  ".join([*list(broken.values())[:SHOWN], *(["..."] if len(broken) > SHOWN else [])])
    count = f"{len(broken)} of {len(files)} images are broken"
    if not skip:
        raise InputError(f"{count}; mend or remove them, or leave them out with data.skip_broken=true:\n  {few}")
    if distributed.is_main():
        logger.warning("%s and left out:\n  %s", count, few)
    keep = torch.ones(len(files), dtype=torch.bool)
    keep[list(broken)] = False
    rows = keep.nonzero().flatten()
    position = torch.full((len(files),), -1).index_copy(0, rows, torch.arange(len(rows)))
    return files.select(rows), position


def find_broken(files: FileSet, *, cache_dir: str | Path | None = None, workers: int = 0) -> dict[int, str]:
    """Position -> message of every unreadable file, the same on all ranks; each decodes its share of them once.

    Every rank must call this. With ``cache_dir`` the answer is kept there and holds until a folder of the set changes
    (a file that is rewritten in place does not change its folder).
    """
    cache = None if cache_dir is None else Path(cache_dir) / f"broken-{_state(files)}.json"
    known = distributed.broadcast_object(_read(cache) if cache is not None and distributed.is_main() else None)
    if known is not None:
        return known
    rank, world_size = distributed.rank(), distributed.world_size()
    mine = enumerate(inspect_images(files.paths[rank::world_size], workers))
    shares = distributed.gather_objects({rank + world_size * i: found.fault for i, found in mine if found.fault})
    broken = {i: message for share in shares for i, message in share.items()}
    broken = dict(sorted(broken.items()))
    if cache is not None and distributed.is_main():
        _write(cache, broken)
    return broken


def _state(files: FileSet) -> str:
    """A name for these files in these folders at their modification times."""
    digest = hashlib.sha256()
    folders = set()
    for path in files.paths:
        digest.update(os.fsencode(path) + b"\0")
        folders.add(os.path.dirname(path))
    for folder in sorted(folders):
        digest.update(str(os.stat(folder).st_mtime_ns).encode() + b"\0")
    return digest.hexdigest()[:16]


def _read(cache: Path) -> dict[int, str] | None:
    try:
        return {int(i): str(message) for i, message in from_json(cache.read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return None


def _write(cache: Path, broken: dict[int, str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_text(cache, json.dumps(broken))
