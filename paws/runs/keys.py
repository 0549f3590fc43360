"""One name for any values: what results are kept under, so that equal input finds them and other input does not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class _Hash(Protocol):
    def update(self, data: Any, /) -> None: ...


def content_key(*values: Any) -> str:
    """32 hexadecimal digits: equal for values of equal types and contents, in this and any other process.

    Takes None, bool, int, float, str, bytes, paths, sequences, mappings (in any order of their keys), dataclasses, arrays and
    tensors (by shape, dtype and numbers).

    Raises:
        TypeError: a value of another type.
    """
    digest = hashlib.sha256()
    _feed(values, digest)
    return digest.hexdigest()[:32]


@singledispatch
def _feed(value: Any, digest: _Hash) -> None:
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"no key for a value of type {type(value).__name__}")
    _feed({field.name: getattr(value, field.name) for field in fields(value)}, digest)


@_feed.register(type(None))
@_feed.register(bool)
@_feed.register(int)
@_feed.register(float)
def _(value: Any, digest: _Hash) -> None:
    _put(type(value).__name__, repr(value).encode(), digest)


@_feed.register
def _(value: str, digest: _Hash) -> None:
    _put("str", value.encode("utf-8", "surrogateescape"), digest)


@_feed.register
def _(value: bytes, digest: _Hash) -> None:
    _put("bytes", value, digest)


@_feed.register
def _(value: Path, digest: _Hash) -> None:
    _put("path", os.fsencode(value), digest)


@_feed.register
def _(value: Sequence, digest: _Hash) -> None:
    _put("sequence", str(len(value)).encode(), digest)
    for item in value:
        _feed(item, digest)


@_feed.register
def _(value: Mapping, digest: _Hash) -> None:
    _put("mapping", str(len(value)).encode(), digest)
    for key, item in sorted(value.items()):
        _feed(key, digest)
        _feed(item, digest)


@_feed.register
def _(value: Tensor, digest: _Hash) -> None:
    _put(f"tensor {tuple(value.shape)} {value.dtype}", b"", digest)
    digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


@_feed.register
def _(value: np.ndarray, digest: _Hash) -> None:
    _put(f"array {value.shape} {value.dtype.str}", b"", digest)
    digest.update(np.ascontiguousarray(value).data)


def _put(kind: str, data: bytes, digest: _Hash) -> None:
    """The length stands before the data, so that no two lists of values read as the same bytes."""
    digest.update(f"{kind} {len(data)}\n".encode())
    digest.update(data)
