"""Where the pictures of the suite come from: packages of Debian and npm."""

from __future__ import annotations

import subprocess
import tarfile
from functools import cache
from pathlib import Path

from paws.errors import InputError
from paws.models.runtime import cache_folder

EMOJI = "emoji-datasource-twitter@16.0.0"


def debian(package: str, folder: str) -> Path:
    """The folder that an installed Debian package has its pictures in.

    Raises:
        InputError: the package is not installed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path} is not there; install Debian's {package}: apt-get install {package}")
    return path


@cache
def npm(package: str, *kept: str) -> Path:
    """The unpacked members of an npm package (name@version) that start with one of ``kept``, in the cache of benchmarks.

    Raises:
        InputError: npm is not installed or does not get the package.
    """
    folder = benchmarks_folder() / "npm" / package.replace("/", "+")
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".new")
        aside.mkdir(parents=True, exist_ok=True)
        try:
            packed = subprocess.run(
                ["npm", "pack", "--silent", "--pack-destination", str(aside), package],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()[-1]
        except (OSError, subprocess.CalledProcessError, IndexError) as error:
            raise InputError(f"npm pack {package} failed ({error}); it needs npm and a registry") from None
        with tarfile.open(aside / packed) as archive:
            members = [m for m in archive.getmembers() if m.name.removeprefix("package/").startswith(kept)]
            archive.extractall(aside, members, filter="data")
        (aside / packed).unlink()
        aside.rename(folder)
    return folder / "package"


def benchmarks_folder() -> Path:
    """What benchmarks keep: ~/.cache/paws/benchmarks, or below ``$PAWS_CACHE``."""
    return cache_folder() / "benchmarks"
