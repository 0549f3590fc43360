"""The folder that a fit was told to write into: whether it may, what is there already, and removing it."""

from __future__ import annotations

import json
from pathlib import Path

from paws.errors import InputError
from paws.fit import record
from paws.runs.folder import holds_run
from paws.runs.temporary import remove


def check_target(images: Path, run: Path, overwrite: bool) -> None:
    """Raise InputError where ``run`` is a file, or holds a training run or, without ``overwrite``, a fit of other images."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; give a folder for the run")
    if holds_run(run):
        raise InputError(f"{run} holds a training run; give another folder")
    former = _images_of(run)
    if former not in (None, str(images.absolute())) and not overwrite:
        raise InputError(f"{run} holds a fit of {former}; give another folder, or replace it with --overwrite")


def clear(run: Path) -> None:
    """Remove what a fit wrote into ``run``, and nothing else."""
    for name in record.OWN:
        remove(run / name)


def _images_of(run: Path) -> str | None:
    """The folder of images that a fit in ``run`` is of, whichever version of paws wrote it; None where there is no fit."""
    try:
        return str(json.loads((run / record.RECORD).read_text(encoding="utf-8"))["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
