"""Files from the net, whole or not at all: into a cache, where later ones must equal the first, or to a place of one's own."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from paws.errors import InputError
from paws.runs.files import write_text, writing


def check_https(url: str) -> None:
    """Raise InputError where ``url`` is not one of https, which alone shows that an answer is the server's; plain http is
    read from this machine itself.
    """
    if not re.match(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/", f"{url}/", re.IGNORECASE):
        raise InputError(f"{url}: files are downloaded only over https")


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows a server elsewhere, but not away from https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


OPENER = urllib.request.build_opener(_OnlyHttps)


def download(url: str, cache_dir: str | Path, *, timeout: float = 30.0) -> Path:
    """The file at ``url`` as ``cache_dir/<last part of url>``; no network is needed when it is there already.

    Its SHA-256 is kept beside it in ``<file>.sha256``: a cached or newly downloaded file that differs is an InputError,
    as are a missing network and an unknown address. A broken download leaves nothing behind.
    """
    path = Path(cache_dir).expanduser() / url.rpartition("/")[2]
    record = path.with_name(f"{path.name}.sha256")
    if path.is_file():
        _check(_sha256(path), path, record, url)
        return path
    _make_folder(path)
    with writing(path) as file:
        _check(_fetch(url, file, path, timeout), path, record, url)
    return path


def download_new(url: str, path: Path, sha256: str | None = None, *, timeout: float = 30.0) -> str:
    """Download to ``path``, which must not exist; returns the SHA-256 of the file.

    Raises InputError if it does exist, has another checksum than ``sha256``, or cannot be fetched; nothing is left then.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", sha256.lower()):
        raise InputError(f"SHA-256 {sha256}: expected 64 hexadecimal digits")
    _make_folder(path)
    with writing(path, new=True) as file:
        found = _fetch(url, file, path, timeout)
        if sha256 is not None and found != sha256.lower():
            raise InputError(f"{url}: SHA-256 is {found}, expected {sha256.lower()}; nothing was written")
    return found


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be written to ({error.strerror})") from None


def _fetch(url: str, file: IO[bytes], path: Path, timeout: float) -> str:
    """Copy what is at ``url`` into ``file``, which is going to be ``path``, and return its SHA-256."""
    check_https(url)
    digest, count = hashlib.sha256(), 0
    try:
        with OPENER.open(url, timeout=timeout) as answer:
            size = answer.headers.get("Content-Length")
            while chunk := answer.read(1 << 20):
                digest.update(chunk)
                count += len(chunk)
                file.write(chunk)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answered {error.code} {error.reason}") from None
    except InputError:  # of a redirection
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: no connection ({reason}); download it elsewhere and put it at {path}") from None
    if size is not None and count != int(size):
        raise InputError(f"{url}: the download broke off after {count} of {size} bytes; try again")
    return digest.hexdigest()


def _check(found: str, path: Path, record: Path, url: str) -> None:
    """Compare a SHA-256 with the recorded one, or record it."""
    if not record.is_file():
        write_text(record, f"{found}  {url.rpartition('/')[2]}\n")
    elif record.read_text().split()[:1] != [found]:
        raise InputError(
            f"{path}: SHA-256 is {found}, but {record.name} recorded another one at the first download of {url}; "
            "if the file was meant to change, remove both"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
