"""The folder that a fit was told to write into: whether it may, what is there already, and removing it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from paws.bundle.bundle import ABOUT
from paws.data.texts import from_json
from paws.errors import InputError
from paws.fit import record
from paws.models.runtime import cache_folder
from paws.runs.files import check_target as check_file
from paws.runs.folder import check_apart, check_owner, holds_run, kind_of
from paws.runs.keys import content_key
from paws.runs.temporary import remove

PARTS = {  # folders of a run that are replaced or removed as a whole, and what may lie in them
    record.BUNDLE: ("bundle.json", "*.safetensors"),
    record.PREVIOUS: ("bundle.json", "*.safetensors"),
    record.FEATURES: ("views.json", "*.f16", "*.rows"),
}
OF_SYSTEMS = (".*", "Thumbs.db", "desktop.ini")


def decoded(images: Path) -> Path:
    """The file of the cache that holds what decoding told of a folder's images, for all runs and verbs."""
    return cache_folder() / "checked" / f"{content_key(str(images.resolve()))}.json"


def check_target(images: Path, run: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise InputError where a fit of ``images`` with further ``inputs`` may not write into ``run``; writes nothing.

    That is where something would be lost: a file, somebody else's files or a training run in its place, a fit of other images
    (without ``overwrite``), the images in it or around it, or an input among the files that a fit writes.
    """
    check_apart(run, images)
    if kind_of(run) is None and holds_run(run):
        raise InputError(f"{run} holds a training run; give another folder")
    if (run / ABOUT).is_file():
        raise InputError(f"{run} is a bundle; give another folder for the run")
    former = _images_of(run)
    check_owner(run, "fit", record.OWN, older=former is not None)
    if former is not None and not _same(Path(former), images) and not overwrite:
        raise InputError(f"{run} holds a fit of {former}; give another folder, or replace it with --overwrite")
    for path in inputs:
        name = _name_in(run, path)
        if name in record.OWN and name != record.LABELS:
            raise InputError(f"{path} is one of the files that the fit writes; copy it to another place and give that")


def absolute(path: Path) -> Path:
    """A path from the root on, without ``..`` where it leads to the same place so: behind a link it may not."""
    whole = path.absolute()
    short = Path(os.path.normpath(whole))
    return short if _same(short, whole) else whole


def check_parts(run: Path) -> None:
    """Raise InputError where files of somebody lie in a folder of the run that is going to be replaced, or something that is no
    plain file has the name of one; writes nothing."""
    for name in record.RESULTS:
        check_file(run / name)
    for name, patterns in PARTS.items():
        for path in sorted((run / name).iterdir()) if (run / name).is_dir() else ():
            if not any(fnmatch(path.name, pattern) for pattern in (*patterns, *OF_SYSTEMS)):
                raise InputError(f"{path}: does not belong there and would be lost, as {run / name} is replaced; move it away")


def clear(run: Path, inputs: Sequence[Path]) -> None:
    """Remove what a fit wrote into ``run``, and nothing else; no input either, such as the labels of ``paws labels``."""
    kept = {_name_in(run, path) for path in inputs}
    for name in record.OWN:
        if name not in kept:
            remove(run / name)


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are spelled alike, or lead to the same folder."""
    return one.absolute() == other.absolute() or (one.exists() and other.exists() and one.samefile(other))


def _name_in(run: Path, path: Path) -> str | None:
    """The first part of ``path`` below ``run``; None where it lies elsewhere."""
    inside, root = path.resolve(), run.resolve()
    return inside.relative_to(root).parts[0] if root in inside.parents else None


def _images_of(run: Path) -> str | None:
    """The folder of images that a fit in ``run`` is of, whichever version of paws wrote it; None where there is no fit."""
    try:
        found = from_json((run / record.RECORD).read_bytes())
        return str(found["images"]) if {"key", "backbone", "settings"} <= set(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
