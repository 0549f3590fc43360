"""Checkpoints that a kill at any moment cannot spoil: written aside, flushed, renamed, and verified when read."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import warnings
from pathlib import Path
from typing import Any

import torch

from paws.errors import InputError

MARK = b"paws-sha256:"  # after the zip archive that torch writes: mark and 64 hexadecimal digits


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, strings, lists, dicts) with its checksum; the file appears whole or not at all.

    Raises:
        OSError: the disk is full or the folder not writable; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w+b") as file:
            torch.save(state, file)
            file.flush()
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0, os.SEEK_END)
            file.write(MARK + digest.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: the checkpoint could not be written ({error}); earlier ones are untouched") from error


def load(path: Path) -> dict[str, Any]:
    """Read and verify a checkpoint; nothing in it is executed.

    Raises:
        InputError: missing, truncated, altered, or holding something other than tensors and plain values.
    """
    size = len(MARK) + 64
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            tail = file.read()
            if not tail.startswith(MARK) or end < size:
                raise InputError(f"{path}: truncated or not a checkpoint of paws (no checksum at its end)")
            file.seek(0)
            digest = hashlib.sha256()
            left = end - size
            while left:
                block = file.read(min(left, 1 << 22))
                if not block:
                    break
                digest.update(block)
                left -= len(block)
            if digest.hexdigest().encode() != tail[len(MARK) :]:
                raise InputError(f"{path}: damaged (its checksum does not fit its content)")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # whatever the unpickler makes of foreign bytes
        raise InputError(f"{path}: not a checkpoint that can be read safely ({str(error).splitlines()[0]})") from None


class CheckpointFolder:
    """The checkpoints of a run: ``step-00000100.pt`` …, of which the last ``keep`` stay, ``epoch-…`` for good, and ``best.pt``."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.count = folder, keep

    def save(self, step: int, state: dict[str, Any], *, keep: bool = False) -> None:
        """Write the state after ``step`` steps; with ``keep`` it is never deleted."""
        if not (self.folder / f"kept-{step:08d}.pt").exists():
            save(self.folder / f"{'kept' if keep else 'step'}-{step:08d}.pt", state)
        for old in sorted(self.folder.glob("step-*.pt"))[: -self.count]:
            old.unlink(missing_ok=True)

    def save_best(self, state: dict[str, Any]) -> None:
        """Write ``best.pt``."""
        save(self.folder / "best.pt", state)

    def paths(self) -> list[Path]:
        """All checkpoints by step, oldest first."""
        found = [*self.folder.glob("step-*.pt"), *self.folder.glob("kept-*.pt")]
        return sorted(found, key=lambda path: path.name.split("-")[1])

    def latest_path(self) -> Path | None:
        """The newest checkpoint, unread."""
        paths = self.paths()
        return paths[-1] if paths else None

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole; a damaged one is passed over with a warning. None where there is none.

        Raises:
            InputError: there are checkpoints, but all of them are damaged.
        """
        faults = []
        for path in reversed(self.paths()):
            try:
                return load(path)
            except InputError as fault:
                faults.append(str(fault))
                warnings.warn(f"{fault}; going back to the checkpoint before it", stacklevel=2)
        if faults:
            raise InputError(
                f"{self.folder}: no checkpoint can be read: {'; '.join(faults)}; start anew with --overwrite"
            )
        return None


class RunLock:
    """An exclusive hold on a run folder for as long as this process lives; a second process is refused."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ".lock"
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - held open on purpose
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise InputError(f"run_dir {folder} is in use by {holder}; wait for it or give another run_dir") from None
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        """Let go of the folder."""
        self._file.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
