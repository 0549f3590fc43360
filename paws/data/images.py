"""Image files: finding them."""

from __future__ import annotations

import os
from pathlib import Path

from paws.errors import InputError

EXTENSIONS = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pnm"])


def find_images(root: str | Path) -> list[str]:
    """Paths of all image files below ``root``, relative to it, with / between folders, sorted.

    A file is an image if its ending says so (in any case); hidden files and folders are passed over. Symbolic links are
    followed, each folder is visited once. Raises InputError if ``root`` is no readable folder.
    """
    return scan_images(root)[0]


def scan_images(root: str | Path) -> tuple[list[str], dict[str, int]]:
    """``find_images``, and the folders it visited (relative, "" is the root) with their modification times in ns."""
    images: list[str] = []
    folders: dict[str, int] = {}
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
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{path}: not a readable folder ({error.strerror})") from None
        seen.add((status.st_dev, status.st_ino))
        folders[folder] = status.st_mtime_ns
        prefix = f"{folder}/" if folder else ""
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        images += [
            prefix + e.name for e in visible if os.path.splitext(e.name)[1].lower() in EXTENSIONS and e.is_file()
        ]
        inside = sorted((e for e in visible if e.is_dir()), key=lambda e: (e.is_symlink(), e.name))
        waiting += [prefix + entry.name for entry in reversed(inside)]  # real folders are visited before links
    return sorted(images), folders
