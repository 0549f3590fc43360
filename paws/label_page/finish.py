"""What a session ends with, by the functions of the verbs: predictions and bundle, sorted folders, ONNX, the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paws.bundle.bundle import load_bundle
from paws.bundle.export import export
from paws.config.options import FitOptions
from paws.errors import InputError
from paws.fit import record
from paws.fit.pipeline import fit_folder
from paws.fit.run import FitRun
from paws.fit.sentences import accuracy_sentence
from paws.fit.sorting import NONE, sort_images
from paws.runs.temporary import remove

SORTED, ONNX = "sorted", "model.onnx"
WHAT = ("fit", "onnx", "folders", "report")


def finish(
    what: str, images: Path, labels: Path, run: Path, options: FitOptions, device: str = "cpu", none: Sequence[str] = ()
) -> str:
    """Fit with the labels of now, unless that is done, and make ``what``, one of `WHAT`; ``none``: pictures of no class.

    Returns what was made, for people. Raises InputError where it cannot be.
    """
    if not labels.is_file():
        raise InputError("nothing is labelled yet; give two classes a picture each")
    fitted = fit_folder(images, labels, run, replace(options, skip_broken=True), device=device, quiet=True)
    if what == "onnx":
        (run / ONNX).unlink(missing_ok=True)
        export(load_bundle(run / record.BUNDLE), run / ONNX)
        return f"{run / ONNX}: from pixels to probabilities, {(run / ONNX).stat().st_size / 1e6:.1f} MB"
    if what == "folders":
        counts = sort(fitted, run / SORTED, none)
        return f"{run / SORTED}: " + ", ".join(f"{name} {count}" for name, count in counts.items())
    if what == "report":
        from paws.report import write_report

        return str(write_report(run, None))
    return f"{run / record.PREDICTIONS} and {run / record.BUNDLE}; {accuracy_sentence(fitted.record)}"


def sort(fitted: FitRun, folder: Path, none: Sequence[str] = ()) -> dict[str, int]:
    """`paws sort` in place of what it made before, with the pictures ``none`` in a folder of their own."""
    remove(folder)
    counts = sort_images(fitted, folder)
    for row in fitted.predictions:
        if row["file"] not in none or row["given"]:
            continue
        former = next(path for path in folder.iterdir() if (path / row["file"]).is_file())
        target = folder / NONE / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (former / row["file"]).rename(target)
        counts[former.name] -= 1
        counts[NONE] += 1
    return dict(counts)
