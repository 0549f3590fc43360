"""Copy the data to storage of the node before training: one process per node copies, the others wait for it.

The copy is made beside its place and renamed when it is whole, so that whoever sees it sees all of it.
"""

from __future__ import annotations

import lzma
import shutil
import tarfile
import time
import zlib
from pathlib import Path

from paws import distributed
from paws.errors import InputError
from paws.runs.files import new_folder
from paws.seeds import seed_of

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def stage(source: str | Path, to: str | Path, *, timeout: float = 3600.0, local_rank: int | None = None) -> Path:
    """The root of a copy below ``to`` of ``source``, a folder or a tar archive.

    The process with ``local_rank`` 0 (as the launcher counts, when absent) copies unless a copy of the same source is there;
    the others wait for up to ``timeout`` seconds. Of an archive that holds one folder only, that folder is the root.
    Raises InputError for a missing source, a broken or unsafe archive, too little space, and when the wait was in vain;
    nothing half-copied is left behind.
    """
    source, to = Path(source).expanduser().absolute(), Path(to).expanduser().absolute()
    copy = to / _name(source)
    if (distributed.local_rank() if local_rank is None else local_rank) == 0:
        if not copy.is_dir():
            _make(source, copy)
    else:
        _wait(copy, timeout)
    return _root(copy) if source.is_file() else copy


def _name(source: Path) -> str:
    """A name that changes when the source does."""
    try:
        status = source.stat()
    except OSError as error:
        raise InputError(f"{source}: cannot be copied to the node ({error.strerror})") from None
    if source.is_file() and not source.name.endswith(ARCHIVES):
        raise InputError(f"{source}: neither a folder nor an archive ({', '.join(ARCHIVES)})")
    version = seed_of(str(source), status.st_mtime_ns, status.st_size if source.is_file() else 0)
    return f"{source.name.partition('.tar')[0]}-{version:016x}"


def _make(source: Path, copy: Path) -> None:
    try:
        with new_folder(copy, flush=False) as part:
            if source.is_file():
                _extract(source, part)
            else:
                shutil.copytree(source, part, dirs_exist_ok=True)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{source}: broken or unsafe archive ({error})") from None
    except (OSError, InputError) as error:  # shutil.Error too
        if not copy.is_dir():  # else another job on this node was faster
            raise InputError(f"{source}: copying to {copy.parent} failed ({error})") from None


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            tar.extract(member, folder, filter="data")  # refuses paths and links that lead out of the folder
            tar.members.clear()  # type: ignore[attr-defined]  # else a million of them stay in memory
        # An archive ends with a block of zeros, but tarfile also takes the mere end of the file for it.
        assert tar.fileobj is not None
        if tar.fileobj.tell() == tar.offset:
            raise tarfile.ReadError("it ends without an end mark: cut short")
        while tar.fileobj.read(1 << 20):  # to the end of a compressed file, where its checksum is
            pass


def _wait(copy: Path, timeout: float) -> None:
    end = time.monotonic() + timeout
    while not copy.is_dir():
        if time.monotonic() > end:
            raise InputError(
                f"{copy}: no copy of the data came into being within {timeout:g} s; see the messages of this node's first "
                "process, or raise data.stage_timeout"
            )
        time.sleep(min(1.0, timeout / 10))


def _root(copy: Path) -> Path:
    inside = [entry for entry in copy.iterdir() if not entry.name.startswith(".")]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name != "train" else copy
