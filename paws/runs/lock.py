"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paws.errors import InputError


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; a second launch into it is refused with the holder named.

    The system releases the lock when the process ends in any way. It is a POSIX record lock: it works over NFS, and
    loader workers do not inherit it. Only the rank that writes takes it.

    Raises:
        InputError: another process holds the folder, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - its errors are told apart from the body's
    except OSError as error:
        raise InputError(f"{folder}: the run folder cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputError(f"{folder}: {holder} runs in this folder; wait for it or give another run_dir") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield
