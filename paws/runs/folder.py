"""The folder of a run: its marker, without which nothing in it is replaced or removed, and clearing it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from paws.errors import InputError
from paws.runs.files import write_text
from paws.runs.temporary import remove

Kind = Literal["fit", "training"]

MARKER = ".paws-run"  # holds the kind of the run
# In the order of removal: while anything of a run is left, config.yaml says that the folder holds one.
OWN = (
    "summary.json",
    "environment.json",
    "baselines.json",
    "metrics.jsonl",
    "metrics.csv",
    "checkpoints",
    "tensorboard",
    "report.html",
    "config.yaml",
)


def holds_run(folder: Path) -> bool:
    """Whether a training run was begun in ``folder``; one that has lost its config still has checkpoints."""
    return (folder / "config.yaml").is_file() or any((folder / "checkpoints").glob("*.pt"))


def kind_of(folder: Path) -> str | None:
    """The kind of run that ``folder`` is marked for; None where it has no marker."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def claim(folder: Path, kind: Kind) -> None:
    """Mark a folder as that of a run; from here on what has the names of a run's files is the run's."""
    if kind_of(folder) != kind:
        write_text(folder / MARKER, f"{kind}\n")


def check_owner(folder: Path, kind: Kind, names: Iterable[str], *, older: bool = False) -> None:
    """Raise InputError where a run may not write ``names`` into ``folder``, as they would not be its own; writes nothing.

    ``older``: there is a run of a version of paws that had no markers.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder for the run")
    found = kind_of(folder)
    if found not in (None, kind):
        raise InputError(f"{folder} holds a {found} run; give another folder")
    foreign = [name for name in names if os.path.lexists(folder / name)]
    if found is None and foreign and not older:
        raise InputError(
            f"{folder} holds {', '.join(foreign[:3])} and is not the folder of a {kind} run (no {MARKER} in it), so it would "
            "be lost; give a new folder"
        )


def check_apart(run: Path, images: Path) -> None:
    """Raise InputError where the folder of a run is that of its images, in it or around it."""
    own, pictures = run.resolve(), images.resolve()
    if own == pictures or own in pictures.parents or pictures in own.parents:
        where = "is" if own == pictures else "lies around" if own in pictures.parents else "lies in"
        raise InputError(f"{run} {where} the folder of the images; give a folder beside it for the run")


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that already holds a run unless told what to do with it; writes nothing.

    Raises:
        InputError: the folder holds a run and neither flag is set, files of somebody else have a run's names, or it is a file.
    """
    if resume and overwrite:
        raise InputError("give either --resume, which goes on with the run, or --overwrite, which replaces it")
    older = (folder / "config.yaml").is_file() and (folder / "environment.json").is_file()
    older = older or any((folder / "checkpoints").glob("step-*.pt"))
    check_owner(folder, "training", OWN, older=older)
    if holds_run(folder) and not (resume or overwrite):
        raise InputError(
            f"run_dir {folder} already holds a run: --resume goes on with it, --overwrite replaces it, "
            "or give another folder with run_dir=…"
        )


def clear_run(folder: Path) -> None:
    """Remove what a run wrote into ``folder``, and nothing else."""
    for name in OWN:
        remove(folder / name)
