"""The folder of a training run: whether it holds one, and clearing it."""

from __future__ import annotations

from pathlib import Path

from paws.errors import InputError
from paws.runs.temporary import remove

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


def check_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that already holds a run unless told what to do with it; writes nothing.

    Raises:
        InputError: the folder holds a run and neither flag is set, or it is a file.
    """
    if resume and overwrite:
        raise InputError("give either --resume, which goes on with the run, or --overwrite, which replaces it")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"run_dir {folder} is a file; give a folder")
    if holds_run(folder) and not (resume or overwrite):
        raise InputError(
            f"run_dir {folder} already holds a run: --resume goes on with it, --overwrite replaces it, "
            "or give another folder with run_dir=…"
        )


def clear_run(folder: Path) -> None:
    """Remove what a run wrote into ``folder``, and nothing else."""
    for name in OWN:
        remove(folder / name)
