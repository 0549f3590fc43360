"""Which files are images, and how images are found below a folder.

Only raster formats are decoded. Pillow knows others that draw by starting another program (EPS through Ghostscript) or through
the operating system (WMF), and containers that say nothing of how their pixels look; none of them is ever opened.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from paws.errors import InputError

RASTER = frozenset(
    [
        "AVIF",
        "BMP",
        "DDS",
        "DIB",
        "GIF",
        "HEIF",
        "ICNS",
        "ICO",
        "JPEG",
        "JPEG2000",
        "MPO",
        "PCX",
        "PNG",
        "PPM",
        "PSD",
        "QOI",
        "SGI",
        "SUN",
        "TGA",
        "TIFF",
        "WEBP",
        "XBM",
        "XPM",
    ]
)
HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypheis", b"ftypmif1", b"ftypmsf1")  # from byte 4 on
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
BROKEN = "links to nothing"
HEIC_HINT = "pip install pillow-heif reads HEIC"
BEGINNINGS = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"\0\0\0\x0cjP  ",
)  # of files without a suffix; the two letters of BMP begin texts as well


@cache
def decoders() -> tuple[str, ...]:
    """The formats of `RASTER` that the installed Pillow opens; with the package pillow-heif, HEIF (HEIC) too."""
    Image.init()
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    return tuple(name for name in Image.OPEN if name in RASTER)


@cache
def suffixes() -> frozenset[str]:
    """The endings of image files, in lower case with their dot: ``.jpg``, ``.jfif``, ``.png``, ``.avif`` ..."""
    known = {"MPO": "JPEG"}  # a JPEG file of several pictures
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if known.get(name, name) in decoders())


def is_heic(data: bytes) -> bool:
    """Whether the first bytes of a file are those of a HEIC picture."""
    return data[4:12] in HEIC


@dataclass
class Listing:
    """What lies below a folder; names are relative to it, with / between folders."""

    images: list[str] = field(default_factory=list)  # sorted
    folders: dict[str, int] = field(default_factory=dict)  # each folder that was visited, "" the root: modification time in ns
    passed_over: Counter[str] = field(default_factory=Counter)  # files that are no images, by their suffix, and links to none

    @property
    def empty(self) -> list[str]:
        """The sub-folders right below the root in which, at any depth, there is no image."""
        full = {name.partition("/")[0] for name in self.images}
        return sorted(name for name in self.folders if name and "/" not in name and name not in full)

    def told(self) -> str:
        """What was passed over, for people; empty where nothing was."""
        if not self.passed_over:
            return ""
        count = sum(self.passed_over.values())
        kinds = ", ".join(f"{suffix or 'without a suffix'} {n}" for suffix, n in self.passed_over.most_common())
        hint = f" ({HEIC_HINT})" if any(suffix in HEIC_SUFFIXES for suffix in self.passed_over) else ""
        return f"{count} file{'s were' if count > 1 else ' was'} passed over: {kinds}{hint}"


def find_images(root: str | Path) -> list[str]:
    """Paths of all image files below ``root``, relative to it, with / between folders, sorted; see `scan_images`."""
    return scan_images(root).images


def scan_images(root: str | Path) -> Listing:
    """All image files below ``root``, the folders they lie in, and what was passed over.

    A file is an image if its suffix is one of `suffixes` (in any case); a file without any suffix is one if it begins as one.
    Hidden files and folders are left out. Symbolic links are followed, each folder is visited once. Raises InputError if
    ``root`` is no readable folder.
    """
    found = Listing()
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        path = os.path.join(root, folder)
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue  # a link back to a folder that was visited
            with os.scandir(path) as listing:
                entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{path}: not a readable folder ({error.strerror})") from None
        seen.add((status.st_dev, status.st_ino))
        found.folders[folder] = status.st_mtime_ns
        prefix = f"{folder}/" if folder else ""
        for entry in entries:
            suffix = os.path.splitext(entry.name)[1].lower()
            if not entry.is_file():
                if not os.path.exists(entry.path):
                    found.passed_over[BROKEN] += 1
                continue
            if suffix in suffixes() or (not suffix and _begins_as_image(entry.path)):
                found.images.append(prefix + entry.name)
            else:
                found.passed_over[suffix] += 1
        inside = sorted((e for e in entries if e.is_dir()), key=lambda e: (e.is_symlink(), e.name))
        waiting += [prefix + entry.name for entry in reversed(inside)]  # real folders are visited before links
    found.images.sort()
    return found


def _begins_as_image(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            data = file.read(12)
    except OSError:
        return False
    inside = (data[:4] == b"RIFF" and data[8:] == b"WEBP") or data[4:] == b"ftypavif"
    return data.startswith(BEGINNINGS) or inside or (data[:2] == b"BM" and data[6:10] == bytes(4))
