"""Small real fits of every kind that a page can be of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from paws.config.options import FitOptions
from paws.fit.pipeline import fit_folder
from paws.fit.run import load_fit
from paws.labels import relabel
from tests.conftest import TINY, write_patterns


def plain(fitted: Path, weights: Path, folder: Path) -> Path:
    """Four labels of each of three classes."""
    return fitted


def tested(fitted: Path, weights: Path, folder: Path) -> Path:
    """With labels of further images, one of them wrong, whose names are given in every way that labels allow."""
    rows = ["file,label", f"{folder / 'images' / 'sü-8.png'},slope", "images/dü-8.png,rows", "./rü-10.png ,rows"]
    (folder / "test.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return _fit(weights, folder, test=str(folder / "test.csv"))


def trained(fitted: Path, weights: Path, folder: Path) -> Path:
    """Encoders trained on the pixels."""
    return _fit(weights, folder, train="light", epochs=1)


def single(fitted: Path, weights: Path, folder: Path) -> Path:
    """One label a class."""
    return _fit(weights, folder, labelled=1)


def relabelled(fitted: Path, weights: Path, folder: Path) -> Path:
    """One label corrected, one added, one taken away."""
    return change(fitted, folder, {"sü-0.png": "dots", "dü-6.png": "dots", "rü-2.png": None})


def removed(fitted: Path, weights: Path, folder: Path) -> Path:
    """A class has lost all its labels."""
    return change(fitted, folder, dict.fromkeys(labelled(fitted, "slope")))


def renamed(fitted: Path, weights: Path, folder: Path) -> Path:
    """A class has another name."""
    return change(fitted, folder, dict.fromkeys(labelled(fitted, "slope"), "a slope"))


KINDS: dict[str, Callable[[Path, Path, Path], Path]] = {
    make.__name__: make for make in (plain, tested, trained, single, relabelled, removed, renamed)
}


def labelled(run: Path, name: str) -> list[str]:
    """The files with this label."""
    return [row["file"] for row in load_fit(run).predictions if row["given"] == name]


def change(run: Path, folder: Path, changes: relabel.Changes) -> Path:
    """A copy of a run with changed labels; its images stay where they are."""
    copy = Path(shutil.copytree(run, folder / "run"))
    fit = load_fit(copy)
    relabel.rewrite_run(fit, *relabel.relabel_run(fit, changes))
    return copy


def _fit(weights: Path, folder: Path, labelled: int = 4, **options: object) -> Path:
    images = write_patterns(folder, labelled=labelled)
    chosen = FitOptions(backbone=TINY, weights=str(weights), image_size=32, views=2, steps=30, **options)  # type: ignore[arg-type]
    return fit_folder(images, folder / "labels.csv", folder / "run", chosen, workers=0, quiet=True).folder
