"""Atomic files and folders: whole under their name or not there at all, whatever ends the process.

What is being written stands in the target's own folder under a private name that nobody can guess or prepare, opened with
``O_CREAT | O_EXCL | O_NOFOLLOW``, is flushed to the disk, and then takes the target's name by one rename. A private name
holds the process that writes, so what a killed process left is removed at the next call, and nothing else is.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from paws.errors import InputError
from paws.runs.temporary import remove, sweep, temporary_name

HEAD = 4096  # bytes in which a file says what has written it
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable"),
}


def write_text(path: Path, text: str, *, new: bool = False) -> None:
    """Write a text file, UTF-8, in place of the one that is there, or (``new``) only where there is none.

    Raises:
        InputError: it cannot be written; a former file is as it was.
    """
    write_bytes(path, text.encode("utf-8", "surrogateescape"), new=new)


def write_bytes(path: Path, data: bytes, *, new: bool = False) -> None:
    """`write_text` for bytes."""
    with writing(path, new=new) as file:
        reserve(file.fileno(), len(data))
        file.write(data)


@contextmanager
def writing(path: Path, *, text: bool = False, new: bool = False, ours: bytes = b"") -> Iterator[Any]:
    """A stream (bytes, or UTF-8 ``text`` with its line ends as they are) that becomes the file ``path`` when the block ends.

    If the block raises, a former file stays as it was. ``new``: ``path`` must not exist, also not by then.
    ``ours``: a file that is there must have these bytes near its beginning, else it is somebody else's.

    Raises:
        InputError: it cannot be written; a link, a folder or a device has the name; with ``new``, anything has.
    """
    path = Path(path)
    check_target(path, new=new, ours=ours)
    temporary = path.parent / temporary_name()
    raw: _Writer | None = None
    file: IO[Any] | None = None
    try:
        raw = _Writer(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b")
        buffered = io.BufferedRandom(raw)
        file = io.TextIOWrapper(buffered, "utf-8", "surrogateescape", newline="") if text else buffered
        yield file
        file.flush()
        os.fsync(raw.fileno())
        _publish(temporary, path, new)
    except Exception as error:
        failure = raw.error if raw is not None and raw.error is not None else error  # torch raises one of its own instead
        if _is_about(failure, path.parent, path, temporary):
            raise InputError(f"{path}: {reason_of(failure)}") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()
        with suppress(OSError):
            if file is not None:
                file.close()


@contextmanager
def new_folder(path: Path, *, replace: bool = False, flush: bool = True) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``path`` when the block ends; ``replace``: in place of the one that is there.

    If the block raises, the former folder stays as it was. A kill between the two renames leaves none until the next call that
    writes beside it, which gives the former one its name again. Without ``flush`` a power cut may cost contents, which is for
    copies that can be made again.

    Raises:
        InputError: it cannot be written, or without ``replace`` the name is taken.
    """
    path = Path(path)
    temporary, former = path.parent / temporary_name(), path.parent / temporary_name(former=path.name)
    if not replace:
        check_new(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        os.mkdir(temporary)
        yield temporary
        for folder, _, names in os.walk(temporary) if flush else ():
            for name in ("", *names):
                sync(Path(folder, name))
        if replace and os.path.lexists(path):
            os.rename(path, former)
        os.rename(temporary, path)
        sync(path.parent.resolve())
    except InputError as error:  # of a file in it, by the name that it was to have
        raise InputError(str(error).replace(str(temporary), str(path))) from error
    except OSError as error:
        if _is_about(error, path.parent, path, temporary):
            raise InputError(f"{path}: {reason_of(error)}") from error
        raise
    finally:
        with suppress(OSError):
            if os.path.lexists(former) and not os.path.lexists(path):
                os.rename(former, path)
            remove(former)
        with suppress(OSError):
            remove(temporary)


def link(path: Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, in place of the link that is there."""
    temporary = path.parent / temporary_name()
    try:
        os.symlink(target, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: {reason_of(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_new(path: Path) -> None:
    """Raise InputError where there is something at ``path``."""
    if os.path.lexists(path):
        raise InputError(f"{path}: exists already; remove it or choose another name")


def check_target(path: Path, *, new: bool = False, ours: bytes = b"") -> None:
    """Raise InputError where a file may not be written to ``path``: only a plain file is ever replaced. See `writing`.

    What killed processes left beside it goes.
    """
    sweep(path.parent)
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise InputError(f"{path}: cannot be written (there is no folder {path.parent})") from None
        return
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    if new:
        check_new(path)
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "no plain file"
        raise InputError(f"{path} is {kind}; give the name of a file")
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if head and ours not in head:
        raise InputError(f"{path}: exists, and is nothing that this command has written; remove it or choose another name")


def check_no_input(path: Path, inputs: Iterable[str | Path]) -> None:
    """Raise InputError where ``path`` is one of the files or folders that a command reads."""
    for given in inputs:
        if os.path.exists(path) and os.path.exists(given) and os.path.samefile(path, given):
            raise InputError(f"{path} is read by this command, so it is not written to; choose another name")


def reason_of(error: Exception) -> str:
    """That a file cannot be written, what the system says about it, and what to do."""
    advice = ADVICE.get(getattr(error, "errno", None) or 0)
    return f"cannot be written ({getattr(error, 'strerror', None) or error})" + (f": {advice}" if advice else "")


def reserve(descriptor: int, size: int) -> None:
    """Take ``size`` bytes of the disk for an open file, so that a full one is an OSError now and not a fault later."""
    if not size or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):  # a file system that cannot reserve
            raise


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer(io.FileIO):
    """A file that keeps the error of a failed write, as some libraries raise one of their own instead."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _publish(temporary: Path, path: Path, new: bool) -> None:
    if new:
        try:
            os.link(temporary, path, follow_symlinks=False)  # unlike a rename, it fails where the name is taken
        except FileExistsError:
            raise InputError(f"{path}: exists already; remove it or choose another name") from None
        except OSError:  # a file system without links
            check_target(path, new=True)
            os.replace(temporary, path)
    else:
        os.replace(temporary, path)
    sync(path.parent.resolve())  # it may be a link


def _is_about(error: Exception, *paths: Path) -> bool:
    """Whether ``error`` is the system's and about writing to ``paths``, not about a file that was read meanwhile."""
    if not isinstance(error, OSError):
        return False
    name = None if error.filename is None else os.fsdecode(error.filename)
    return name is None or name in map(str, paths) or name.startswith(f"{paths[-1]}{os.sep}")
