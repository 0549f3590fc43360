"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paws.errors import InputError
from paws.runs.files import reason_of

HOLDER = re.compile(r"(process \d+ on .*\n)?")
LONGEST = 400  # characters


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
        file = os.fdopen(
            os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666),
            "r+",
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise InputError(f"{folder}: the run folder cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputError(f"{folder}: {holder} runs in this folder; wait for it or give another folder") from error
        except OSError as error:  # a file system that has no locks
            raise InputError(f"{folder}: cannot be locked ({error.strerror}); give another folder for the run") from error
        if not HOLDER.fullmatch(file.read(LONGEST)):
            raise InputError(f"{folder / '.lock'}: is nothing that paws has written; give another folder for the run")
        try:
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            raise InputError(f"{folder}: {reason_of(error)}") from error
        yield
