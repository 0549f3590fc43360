"""What can be chosen of a fit, and whether it can be done in the folder that was given for it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paws.classifiers.heads import HeadSettings
from paws.errors import InputError
from paws.fit import record
from paws.fit.choice import method_named
from paws.models.frozen import DEFAULT
from paws.runs.log import holds_run


@dataclass(frozen=True)
class FitOptions:
    """What can be chosen of a fit; paths are kept as they were given."""

    backbone: str = DEFAULT
    weights: str | None = None  # file of the backbone's weights
    image_size: int | None = None
    views: int = 5  # random views of each image beside the plain one
    mirror: bool = True  # half of them; not where left and right matter
    test: str | None = None  # labels to report on
    accuracy: float = 0.95  # what predictions should reach that it does not abstain from
    model: str = "auto"
    prior: str | tuple[float, ...] = "uniform"
    steps: int = HeadSettings.steps  # training steps of each head
    seed: int = 0
    skip_broken: bool = False


def default_workers() -> int:
    """Processes to decode images with: none on two cores, where they would only take turns with the network."""
    cores = os.cpu_count() or 1
    return 0 if cores <= 2 else min(8, cores // 2)


def clear(run: Path) -> None:
    """Remove what a fit wrote into ``run``, and nothing else."""
    for name in record.OWN:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def check_options(images: Path, run: Path, options: FitOptions, overwrite: bool) -> None:
    """Raise InputError listing options out of range, and a ``run`` that holds something else or a fit of other images."""
    method_named(options.model)
    problems = []
    if not 0 < options.accuracy <= 1:
        problems.append(f"--accuracy {options.accuracy}: give a share above 0 and up to 1, e.g. 0.95")
    if options.views < 0:
        problems.append(f"--views {options.views}: give 0 or more")
    if options.steps < 1:
        problems.append(f"--steps {options.steps}: give at least 1")
    if options.image_size is not None and options.image_size < 16:
        problems.append(f"--image-size {options.image_size}: give at least 16 pixels")
    if run.exists() and not run.is_dir():
        problems.append(f"{run} is a file; give a folder for the run")
    elif holds_run(run):
        problems.append(f"{run} holds a training run; give another folder")
    elif run.is_dir() and not overwrite:
        former = read_record(run).get("images", str(images.absolute()))
        if former != str(images.absolute()):
            problems.append(f"{run} holds a fit of {former}; give another folder, or replace it with --overwrite")
    if problems:
        raise InputError("\n".join(problems))


def read_record(run: Path) -> dict[str, Any]:
    """What fit.json says; empty where there is none yet."""
    try:
        return dict(json.loads((run / record.RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
