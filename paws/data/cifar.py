"""The python batches of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html), read without code.

The batches are pickles, and a pickle may name any function to be called; here only what rebuilds a numpy array.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from paws.errors import InputError


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into an old pickle: as a call of _codecs.encode, here with that one encoding only."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding}")
    return text.encode("latin1")


ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which has no place in a data file")
        return ADMITTED[module, name]


def read_pickle(path: str | Path) -> dict[str, Any]:
    """The dictionary in a python 2 or 3 pickle of numbers, strings, lists and numpy arrays; nothing else is built.

    Raises InputError, naming the file, when it is missing, broken, holds code, or something other than a dictionary.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # bytes that are no pickle make the unpickler raise almost anything
        raise InputError(f"{path}: broken or unsafe pickle, refused ({error or type(error).__name__})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__} where a dictionary is expected")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in content.items()}


def read_batch(path: Path, label_key: str, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) in [0, num_classes) of one batch file."""
    batch = read_pickle(path)
    if "data" not in batch or label_key not in batch:
        raise InputError(f"{path}: has the keys {sorted(batch)} but needs data and {label_key}")
    images = batch["data"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise InputError(f"{path}: data is not a uint8 array of shape (N, 3072)")
    try:
        labels = np.array(batch[label_key], dtype=np.int64)
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"{path}: {label_key} is not a list of integers") from None
    if labels.shape != (len(images),) or len(labels) == 0:
        raise InputError(f"{path}: {len(images)} images but {label_key} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"{path}: {label_key} has values outside of 0..{num_classes - 1}")
    return images.reshape(-1, 3, 32, 32), labels


def read_class_names(path: Path, key: str, num_classes: int) -> tuple[str, ...]:
    """The class names in a meta file of the python version."""
    names = read_pickle(path).get(key)
    if not isinstance(names, list) or len(names) != num_classes:
        raise InputError(f"{path}: {key} is not a list of {num_classes} names")
    return tuple(name.decode("latin1") if isinstance(name, bytes) else str(name) for name in names)
