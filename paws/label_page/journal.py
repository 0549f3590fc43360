"""An append-only file of JSON lines: what is in it happened, whatever ends the process.

A line is on the disk (``fsync``) before `Journal.append` returns. A kill in the middle of a write leaves a line without its
end, which is dropped at the next start: nobody was told that it happened.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from paws.data.texts import from_json
from paws.errors import InputError
from paws.runs.files import reason_of

Entry = dict[str, Any]


class Journal:
    """The journal at ``path``; ``entries`` are those that it held when it was opened.

    Raises:
        InputError: it cannot be opened, or a line before the last one is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
            self.entries, self._size = _read(path)
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{path}: {reason_of(error)}") from None
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def append(self, entry: Entry) -> None:
        """Write one entry. It is on the disk when this returns, and not in the file at all when it raises.

        Raises:
            InputError: it cannot be written.
        """
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape") + b"\n"
        try:
            rest = line
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise InputError(f"{self.path}: {reason_of(error)}") from None
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _read(path: Path) -> tuple[list[Entry], int]:
    """The whole entries of a journal, and how many bytes they take."""
    entries: list[Entry] = []
    size = 0
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            entry = from_json(line.decode("utf-8", "surrogateescape"))
            if not line.endswith(b"\n") or not isinstance(entry, dict):
                raise ValueError
        except ValueError:
            if number == len(lines):  # torn by a kill or a power cut
                break
            raise InputError(f"{path}: line {number} is damaged; take it out, or restore the file") from None
        entries.append(entry)
        size += len(line)
    return entries, size
