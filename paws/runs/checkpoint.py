"""Checkpoints that survive what kills a job: atomic writes, a checksum, a fall-back.

A checkpoint is an ordinary ``torch.save`` file with a checksum line after its end, which `torch.load` ignores. It is
one file, so no kill can part the state from its checksum.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import IO, Any

import torch

from paws.errors import InputError
from paws.runs.files import link, reason_of, writing

_MARK = b"\npaws-sha256:"
_TRAILER = len(_MARK) + 64  # hexadecimal digits of a SHA-256
_CHUNK = 1 << 22


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists and dicts of them); a kill leaves the old file or the new one.

    Raises:
        InputError: the disk is full or the folder cannot be written; the former file is as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(path) as file:
            hashed = _Hashed(file)
            torch.save(state, hashed)  # type: ignore[arg-type]
            file.write(_MARK + hashed.hash.hexdigest().encode())
    except (OSError, InputError) as error:
        said = str(error) if isinstance(error, InputError) else f"{path}: {reason_of(error)}"
        raise InputError(f"{said}; older checkpoints are intact, and --resume goes on from them") from error


class _Hashed:
    """A file to write to that hashes what passes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint written by `save`, on the CPU; no code in it is ever run.

    Raises:
        InputError: the file is missing, truncated, altered, or holds more than tensors and plain values.
    """
    try:
        with open(path, "rb") as file:
            _verify(path, file)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: the checkpoint cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused, it holds code and not only tensors and plain values") from error
    except InputError:
        raise
    except Exception as error:  # unpickling raises almost anything on what save has not written
        raise InputError(f"{path}: no checkpoint of paws: {error!r}") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a checkpoint's dict of states, found {type(state).__name__}")
    return state


def _verify(path: Path, file: IO[bytes]) -> None:
    left = os.fstat(file.fileno()).st_size - _TRAILER
    digest = hashlib.sha256()
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
    trailer = file.read()
    if not trailer.startswith(_MARK):
        raise InputError(f"{path}: no checksum at its end: the file is truncated or was not written by paws")
    if trailer != _MARK + digest.hexdigest().encode():
        raise InputError(f"{path}: the checksum does not match: the file was damaged or altered")


class CheckpointFolder:
    """The checkpoints of one run: ``step-00000120.pt``, of which the last ``keep`` stay, and ``best.pt``.

    ``last.pt`` is a link to the newest. Checkpoints saved with ``keep=True`` are never deleted.
    """

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        if keep < 1:
            raise InputError(f"checkpoint.keep is {keep}: at least 1 checkpoint must stay")
        self.folder, self.keep = folder, keep

    def save(self, step: int, state: dict[str, Any], *, keep: bool = False) -> Path:
        """Write the state after ``step`` steps, then delete what is older than the last few.

        Raises InputError when it cannot be written; older checkpoints are then intact.
        """
        path = self.folder / f"step-{step:08d}{'-kept' if keep else ''}.pt"
        save(path, state)
        link(self.folder / "last.pt", path.name)
        passing = [known for known in self._steps() if not known.stem.endswith("-kept")]
        # A step beyond this one is the damaged file that a fall-back went behind: it may not push out a good one.
        beyond = [known for known in passing if _step(known) > step]
        good = [known for known in passing if _step(known) <= step]
        for old in beyond + good[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Replace ``best.pt``."""
        save(self.folder / "best.pt", state)
        return self.folder / "best.pt"

    def latest_path(self) -> Path | None:
        """The newest checkpoint file, unchecked; None when there is none."""
        return next(reversed(self._steps()), None)

    def load_latest(self) -> dict[str, Any] | None:
        """The state of the newest sound checkpoint; None when there is none at all.

        A damaged file is named in a warning and the one before it is taken. Raises InputError when all are damaged.
        """
        faults: list[str] = []
        for path in reversed(self._steps()):
            try:
                state = load(path)
            except InputError as error:
                faults.append(str(error))
                continue
            for fault in faults:
                warnings.warn(f"{fault}; going on from {path.name}", RuntimeWarning, stacklevel=2)
            return state
        if faults:
            raise InputError("no checkpoint can be loaded:\n" + "\n".join(faults))
        return None

    def load_best(self) -> dict[str, Any]:
        """The state in ``best.pt``; raises InputError when it is missing or damaged."""
        return load(self.folder / "best.pt")

    def _steps(self) -> list[Path]:
        """Checkpoint files by step, the oldest first."""
        return sorted(self.folder.glob("step-*.pt"), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest sound checkpoint in a folder; see `CheckpointFolder.load_latest`."""
    return CheckpointFolder(folder).load_latest()
