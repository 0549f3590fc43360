"""Files fetched once into a cache. Nobody publishes their checksums: later downloads must equal the first one."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from paws.errors import InputError


def download(url: str, cache_dir: str | Path, *, timeout: float = 30.0) -> Path:
    """The file at ``url`` as ``cache_dir/<last part of url>``; no network is needed when it is there already.

    Its SHA-256 is kept beside it in ``<file>.sha256``: a cached or newly downloaded file that differs is an InputError,
    as are a missing network and an unknown address. A broken download leaves nothing behind.
    """
    path = Path(cache_dir).expanduser() / url.rpartition("/")[2]
    record = path.with_name(f"{path.name}.sha256")
    if path.is_file():
        _check(path, record, url)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
        part = Path(folder) / path.name
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer, part.open("wb") as file:
                size = answer.headers.get("Content-Length")
                while chunk := answer.read(1 << 20):
                    file.write(chunk)
        except urllib.error.HTTPError as error:
            raise InputError(f"{url}: the server answered {error.code} {error.reason}") from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise InputError(f"{url}: no connection ({reason}); download it elsewhere and put it at {path}") from None
        if size is not None and part.stat().st_size != int(size):
            raise InputError(f"{url}: the download broke off after {part.stat().st_size} of {size} bytes; try again")
        _check(part, record, url)
        os.replace(part, path)
    return path


def _check(path: Path, record: Path, url: str) -> None:
    """Compare with the recorded checksum, or record it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not record.is_file():
        record.write_text(f"{found}  {url.rpartition('/')[2]}\n")
    elif record.read_text().split()[:1] != [found]:
        raise InputError(
            f"{path}: SHA-256 is {found}, but {record.name} recorded another one at the first download of {url}; "
            "if the file was meant to change, remove both"
        )
