"""The files that hold the features of a fit: reading them back, and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paws.data.texts import from_json
from paws.errors import InputError

ABOUT = "views.json"
RECORDED = 64  # images after which the rows are recorded as done
ROW = np.dtype([("content", "<u8", 2), ("checksum", "<u8")])  # names the image's bytes; of the features, 0: not there yet


def read_features(folder: Path, backbone: dict[str, Any], images: str | None) -> np.memmap:
    """The features (N, 1 + K, D) float16 in the folder of a store, read-only.

    Args:
        folder: of the store.
        backbone: of which they are to be.
        images: of which they are to be, as `key_of_images` names them; None where a former version did not write it down.

    Raises:
        InputError: there are none, or not all, or damaged ones, or those of another backbone or of other images.
    """
    found = read_store(folder)
    if found is None:
        raise InputError(f"{folder}: holds no features, or damaged ones; run the same paws fit again")
    about, rows, features = found
    if about.get("backbone") != backbone or images not in (None, key_of_images([rows["content"].tobytes().hex()])):
        raise InputError(f"{folder}: of a later fit that did not come to an end; run paws fit again")
    damaged = int((sound_rows(rows, features)["checksum"] == 0).sum())
    if damaged:
        raise InputError(f"{folder}: {damaged} of {len(rows)} rows are damaged or missing; run the same paws fit again")
    return features


def read_contents(folder: Path) -> list[str]:
    """Names of the bytes of the images (N) whose features a store holds, as `content_of` has them; none where it is damaged."""
    found = read_store(folder)
    return [] if found is None else [name.tobytes().hex() for name in found[1]["content"]]


def read_about(folder: Path) -> dict[str, Any] | None:
    """What the store in a folder says of itself; None where there is none that can be read."""
    try:
        return dict(from_json((folder / ABOUT).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def key_of_images(contents: Sequence[str]) -> str:
    """Names the images whose features a store holds, in the order of its rows, by what names their bytes (N)."""
    return hashlib.blake2b(bytes.fromhex("".join(contents)), digest_size=16).hexdigest()


def read_store(folder: Path) -> tuple[dict[str, Any], np.ndarray, np.memmap] | None:
    """What a store says of itself, its rows (N,) and features (N, 1 + K, D); None where there is none that is whole."""
    about = read_about(folder) or {}
    try:
        names = (Path(about["features"]).name, Path(about["rows"]).name)  # never of another folder
        shape = tuple(int(n) for n in about["shape"])
        rows = np.fromfile(folder / names[1], ROW)
        whole = len(shape) == 3 and len(rows) == shape[0] and (folder / names[0]).stat().st_size == 2 * int(np.prod(shape))
        return (about, rows, np.memmap(folder / names[0], np.float16, "r", shape=shape)) if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def sound_rows(rows: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The rows without the checksums of those whose features have another one."""
    sound = rows.copy()
    done = np.flatnonzero(rows["checksum"])
    for start in range(0, len(done), RECORDED):
        chunk = done[start : start + RECORDED]
        wrong = rows["checksum"][chunk] != checksums(rows["content"][chunk], features[chunk])
        sound["checksum"][chunk[wrong]] = 0
    return sound


def checksums(contents: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Of each row, contents (B, 2) and features (B, 1 + K, D): (B,) uint64, never zero."""
    pairs = zip(contents, features, strict=True)
    sums = b"".join(hashlib.blake2b(name.tobytes() + row.tobytes(), digest_size=8).digest() for name, row in pairs)
    return np.maximum(np.frombuffer(sums, "<u8"), 1)
