"""IDX files (MNIST's format, http://yann.lecun.com/exdb/mnist), gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from paws.errors import InputError

UNSIGNED_BYTE = 0x08
MAX_BYTES = 1 << 32  # a header that promises more is broken


def read_idx(path: str | Path) -> np.ndarray:
    """The uint8 array of an IDX file; its shape stands in the file.

    Raises InputError, naming the file, when it is missing, not an IDX file of unsigned bytes, cut short, or too long.
    """
    path = Path(path)
    try:
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            shape = _read_shape(file, path)
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise InputError(f"{path}: its header promises {size} bytes of shape {shape}, more than {MAX_BYTES}")
            data = file.read(size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: broken file ({error or type(error).__name__}); download it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(data) != size:
        found = "less" if len(data) < size else "more"
        raise InputError(f"{path}: its header promises {size} bytes of shape {shape} but there are {found}")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)


def find_idx(folder: Path, stem: str) -> Path:
    """``folder/stem`` or ``folder/stem.gz``, whichever exists."""
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{folder}: there is neither {stem} nor {stem}.gz")


def _read_shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) != 4 or magic[:2] != b"\0\0" or magic[2] != UNSIGNED_BYTE or not 1 <= magic[3] <= 4:
        raise InputError(f"{path}: not an IDX file of unsigned bytes (it starts with {magic.hex() or 'nothing'})")
    sizes = file.read(4 * magic[3])
    if len(sizes) != 4 * magic[3]:
        raise InputError(f"{path}: the file ends inside its header")
    return tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
