"""The python batches of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html), read without code.

The batches are pickles, and a pickle may name any function to be called; here only what rebuilds a numpy array. numpy's own
functions for that trust what they are given, and a damaged pickle ends the process in them: stand-ins take note of shape, type
and bytes instead, and make the array of these when they fit.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paws.errors import InputError

ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")  # modules that rebuild an array
NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")  # the types of numbers that an array may have


class _Dtype:
    """What a pickle says of the type of an array's numbers: its name, then its byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *flags: Any) -> None:
        self.name: Any = name
        self.order: Any = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        """The type; raises ValueError where it is none of numbers."""
        if not isinstance(self.name, str) or not NUMBERS.fullmatch(self.name) or self.order not in ("|", "<", ">", "="):
            raise ValueError(f"an array of {self.name!r}")
        return np.dtype(self.name).newbyteorder(self.order)


class _Array:
    """An array that a pickle rebuilds: nothing until its state comes."""

    __slots__ = ("content",)
    content: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, by_columns, data = state
        data = data.encode("latin1") if isinstance(data, str) else bytes(data) if isinstance(data, bytearray) else data
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array of another form")
        kind = dtype.real()
        if math.prod(shape) * kind.itemsize != len(data):
            raise ValueError(f"an array of shape {shape} in {len(data)} bytes")
        self.content = np.frombuffer(data, kind).reshape(shape, order="F" if by_columns else "C")


class _ArrayUnpickler(pickle._Unpickler):  # in Python: that in C takes memory for what is claimed
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Something new at each call, so that nothing that is done to it lasts."""
        if module in ARRAYS and name == "_reconstruct":
            return lambda *arguments: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return lambda: None  # only named, as the kind of array
        if (module, name) == ("numpy", "dtype"):
            return lambda *arguments: _Dtype(*arguments)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: _latin1(text, encoding)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which has no place in a data file")


def _latin1(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes into an old pickle: as a call of _codecs.encode, here with that one encoding only."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")


def read_pickle(path: str | Path) -> dict[str, Any]:
    """The dictionary in a python 2 or 3 pickle of numbers, strings, lists and numpy arrays; nothing else is built.

    Raises InputError, naming the file, when it is missing, broken, holds code, or something other than a dictionary.
    """
    path = Path(path)
    try:
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds a {type(content).__name__} where a dictionary is expected")
        return {_text(key): value.content if isinstance(value, _Array) else value for key, value in content.items()}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # bytes that are no pickle make the unpickler raise almost anything
        raise InputError(f"{path}: broken or unsafe pickle, refused ({error or type(error).__name__})") from None


def _text(value: Any) -> str:
    if not isinstance(value, str | bytes):  # what is nested may be endless as text
        raise ValueError(f"a {type(value).__name__} where a text is expected")
    return value if isinstance(value, str) else value.decode("latin1")


def read_batch(path: Path, label_key: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) in [0, num_classes) of one batch file."""
    batch = read_pickle(path)
    if "data" not in batch or label_key not in batch:
        raise InputError(f"{path}: has the keys {sorted(batch)} but needs data and {label_key}")
    images = batch["data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise InputError(f"{path}: data is not a uint8 array of shape (N, 3072)")
    labels = batch[label_key]
    if isinstance(labels, list) and all(type(label) is int and abs(label) < 2**31 for label in labels):
        labels = np.array(labels, dtype=np.int64)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        raise InputError(f"{path}: {label_key} is not a list of integers")
    labels = labels.astype(np.int64)
    if labels.shape != (len(images),) or len(labels) == 0:
        raise InputError(f"{path}: {len(images)} images but {label_key} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"{path}: {label_key} has values outside of 0..{num_classes - 1}")
    return images.reshape(-1, 3, 32, 32), labels


def read_class_names(path: Path, key: str, num_classes: int) -> tuple[str, ...]:
    """The class names in a meta file of the python version."""
    names = read_pickle(path).get(key)
    if not isinstance(names, list) or len(names) != num_classes or not all(isinstance(name, str | bytes) for name in names):
        raise InputError(f"{path}: {key} is not a list of {num_classes} names")
    return tuple(map(_text, names))
