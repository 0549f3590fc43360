"""Private names for what is being written, and the removal of what killed processes left under such names."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

TEMPORARY = re.compile(
    r"\.paws-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>\d+)-[0-9a-f]{16}(\.of\.(?P<former>.+))?\.tmp", re.DOTALL
)
ABANDONED = 7 * 24 * 3600  # seconds after which what another machine left in a shared folder is removed


def temporary_name(former: str = "") -> str:
    """A name for what is being written, as `sweep` knows it: this machine, this process, and 64 random bits.

    ``former``: the name of what is put aside under this one, and gets its name back where nothing has taken its place.
    """
    process, of = os.getpid(), f".of.{former}" if former else ""
    return f".paws-{_machine()}-{process}-{_start_of(process) or 0}-{secrets.token_hex(8)}{of}.tmp"


def remove(path: Path) -> None:
    """Remove a file, a link (never what it leads to) or a folder; nothing happens where there is none."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass


def sweep(folder: Path) -> None:
    """Remove what processes that have ended left half-written in ``folder``, and give what they had put aside its name again.

    Looked for once by each process.
    """
    _sweep(os.path.abspath(folder), os.getpid())


@functools.lru_cache(maxsize=256)
def _sweep(folder: str, process: int) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (match := TEMPORARY.fullmatch(entry.name)) and _is_left(match, entry):
                with suppress(OSError):
                    former = match["former"] and os.path.join(folder, match["former"])
                    if former and not os.path.lexists(former):
                        os.rename(entry.path, former)
                    else:
                        remove(Path(entry.path))


def _is_left(match: re.Match[str], entry: os.DirEntry[str]) -> bool:
    if match["machine"] != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED
    return _start_of(int(match["process"])) != match["start"]


@functools.cache
def _machine() -> str:
    """A name for the set of processes that know each other by number: this boot of this machine, or of this container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _start_of(process: int) -> str | None:
    """When the process began, so that a number used again is not taken for it; None where there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)  # a system without /proc
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "0"
