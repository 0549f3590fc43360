"""Text files that people write: lists of labels and of file names, in the encodings that spreadsheets and editors save."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paws.errors import InputError

ARCHIVES = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # how .xlsx, .ods and .xls begin
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, or what its byte order mark says; single bytes that are not UTF-8 are kept as surrogates.

    File names need not be UTF-8, so such bytes may be right; `is_utf8` tells them.

    Raises:
        InputError: the file cannot be read, is no text, or is UTF-16 or UTF-32 without a mark.
    """
    try:
        data = path.read_bytes()
        if data.startswith(ARCHIVES):
            raise InputError(f"{path}: is a spreadsheet or an archive, and no text; save the table as CSV in UTF-8")
        encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
        if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) or (b"\0" in data and encoding != "utf-16"):
            raise InputError(f"{path}: holds zero bytes, as UTF-16 or UTF-32 text does; save it as UTF-8")
        return data.decode(encoding, "strict" if encoding == "utf-16" else "surrogateescape")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text ({error}); save it as UTF-8") from None


def from_json(text: str | bytes) -> Any:
    """What a JSON text holds. Raises json.JSONDecodeError, whatever is wrong with it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as error:  # a number of thousands of digits, bytes that are no text
        raise json.JSONDecodeError(str(error), "", 0) from None


def is_utf8(text: str) -> bool:
    """Whether a text has no bytes that were not UTF-8."""
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


def printable(text: str) -> str:
    """The text with bytes that are not UTF-8 as ``\\xe9``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text: str) -> str:
    """`printable`, with ends of lines and other characters that no picture shows as a replacement character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in printable(text))


def counted(count: int, noun: str) -> str:
    """How many of a thing: ``1 label``, ``2,000 labels``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def composed(text: str) -> str:
    """The text with letters and their accents as one character (NFC)."""
    return unicodedata.normalize("NFC", text)


def alike(names: Sequence[str]) -> list[str]:
    """Names that differ in nothing but blanks or upper and lower case, each set as one text."""
    found = defaultdict(list)
    for name in names:
        found["".join(composed(name).casefold().split())].append(name)
    return [" and ".join(map(repr, same)) for same in found.values() if len(same) > 1]
