"""What `paws fit --train` gains: `python -m benchmarks.train [--data letters] [--images 10000] [--per-class 10] [--draws 5]`.

A folder of PNG files with a few labels is fitted with EfficientNet-Lite0 at 64 pixels, as it comes, with logistic regression
alone and with ``--train``, and what they say is held against the truth of the images without a label: ornamental letters (36
classes) and Fashion-MNIST.

Rows are appended to ``docs/results/train.csv``, and what is there is not measured again; with ``--keep FOLDER`` a fit that was
stopped goes on too. CPU-seconds are those of all processes of the whole fit, without features that were kept. ``--table``
measures nothing. Choices were made on draws from 10 on (``--tune``), which are written nowhere.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.fashion import SIZE, draw
from benchmarks.letters import CHARACTERS, letters
from benchmarks.side_by_side import Figure, finish
from paws.config.options import FitOptions
from paws.data.datasets import load_dataset
from paws.fit.pipeline import fit_folder
from paws.fit.run import FitRun
from paws.models.sources import LITE

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "train.csv"
HEADS = "heads"  # the fit as it comes
LOGISTIC = "logistic_regression"  # the same features with this method alone
CELL = ("data", "images", "per_class", "draw", "train")
COLUMNS = (*CELL, "top1", "held_out", "kept", "precision", "encoders", "cpu_seconds")
TUNING = 10  # the first draw that choices were made on
Row = dict[str, str]


def images_of(name: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Grey images (N, 1, H, W) uint8, their labels (N,) and the names of the classes."""
    if name == "letters":
        return *letters(), tuple(CHARACTERS)
    found = load_dataset("fashion_mnist", None, "train")
    return found.images, found.labels, tuple(name.replace("/", " ") for name in found.classes)


def write_folder(folder: Path, name: str, count: int, per_class: int, number: int) -> dict[str, str]:
    """Images and a table of labels in ``folder``; the classes of the images that are not in it, by file."""
    images, labels, classes = images_of(name)
    images, labels = images[:count], labels[:count]
    known = draw(labels, per_class, number)
    (folder / "images").mkdir(exist_ok=True)
    names = [f"{i:05d}.png" for i in range(count)]
    for file, image in zip(names, images, strict=True):
        Image.fromarray(image[0].numpy()).save(folder / "images" / file)
    given = [f"{names[i]},{classes[known[i]]}" for i in (known >= 0).nonzero().flatten().tolist()]
    (folder / "labels.csv").write_text("\n".join(["file,label", *given]) + "\n", encoding="utf-8")
    return {names[i]: classes[labels[i]] for i in (known < 0).nonzero().flatten().tolist()}


def measured(fit: FitRun, truth: dict[str, str], seconds: float) -> Row:
    """The columns behind those of the cell: shares in percent."""
    rows = [row for row in fit.predictions if row["file"] in truth]
    hits = [row["label"] == truth[row["file"]] for row in rows]
    kept = [hit for hit, row in zip(hits, rows, strict=True) if row["abstain"] == "no"]
    found = {
        "top1": 100 * mean(hits),
        "held_out": 100 * (fit.record.score.accuracy.value or 0.0),
        "kept": 100 * len(kept) / len(rows),
        "precision": 100 * mean(kept or [0]),
        "cpu_seconds": seconds,
    }
    about = fit.record.head.get("encoders", {})
    return {name: f"{value:.2f}" for name, value in found.items()} | {
        "encoders": f"{about['backbone']}, {about['steps']} steps" if about else ""
    }


def cell(
    name: str, count: int, per_class: int, number: int, ways: list[str], epochs: int | None, keep: Path | None
) -> Iterator[Row]:
    """A row for each of ``ways``: the fit as it comes, logistic regression, light or full training."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) if keep is None else keep / f"{name}-{count}-{per_class}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        truth = write_folder(folder, name, count, per_class, number)
        for way in ways:
            how: dict[str, Any] = {HEADS: {}, LOGISTIC: {"model": LOGISTIC}}.get(way, {"train": way, "epochs": epochs})
            options = FitOptions(backbone=LITE, image_size=SIZE, mirror=name != "letters", **how)
            began = _cpu_seconds()
            fit = fit_folder(folder / "images", folder / "labels.csv", folder / way, options)
            row = dict(zip(CELL, map(str, (name, count, per_class, number, way)), strict=True))
            row |= measured(fit, truth, _cpu_seconds() - began)
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            yield row


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def read() -> list[Row]:
    """The rows that were measured."""
    if not RESULTS.is_file():
        return []
    with RESULTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(row: Row) -> None:
    """Add a row to those that were measured."""
    new = not RESULTS.is_file()
    with RESULTS.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def summary(rows: list[Row]) -> list[float]:
    """Print mean and standard deviation of each kind of cell; return the points that training gains in each draw."""
    by_cell: dict[tuple[str, ...], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by_cell[tuple(row[key] for key in CELL[:-1])][row["train"]] = row
    gains: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
    for (name, count, per_class, _), ways in by_cell.items():
        for way in ways.keys() - {HEADS, LOGISTIC}:
            if HEADS in ways:
                gains[name, count, per_class, way].append((float(ways[HEADS]["top1"]), float(ways[way]["top1"])))
    for about, pairs in sorted(gains.items()):
        before, after = zip(*pairs, strict=True)
        spread = [f"{mean(side):.1f}" + (f" ± {stdev(side):.1f}" if len(side) > 1 else "") for side in (before, after)]
        least = min(b - a for a, b in pairs)
        print(f"{', '.join(about)}: {spread[0]} -> {spread[1]} %, {len(pairs)} draws, least gain {least:+.1f}")
    return [b - a for pairs in gains.values() for a, b in pairs]


def main() -> None:
    """Measure what is missing; print the table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=["fashion", "letters"], default=["fashion", "letters"])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--per-class", type=int, nargs="+", default=[4, 10])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(5)), help="which of them")
    parser.add_argument("--train", nargs="+", choices=["light", "full"], default=["light"])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--keep", type=Path, help="folder in which the fits stay")
    parser.add_argument("--tune", action="store_true", help="draws on which choices were made; nothing is written")
    parser.add_argument("--table", action="store_true", help="print what was measured, and measure nothing")
    options = parser.parse_args()
    ways, rows = [HEADS, *options.train, LOGISTIC], read()
    wanted = [(n, options.images, p, d) for n in options.data for p in options.per_class for d in options.draws]
    for name, count, per_class, number in [] if options.table else wanted:
        there = [row for row in rows if [row[key] for key in CELL[:-1]] == [name, str(count), str(per_class), str(number)]]
        missing = [way for way in ways if way not in {row["train"] for row in there}]
        if options.tune:
            rows = list(cell(name, count, per_class, number + TUNING, ways, options.epochs, options.keep))
            continue
        for row in cell(name, count, per_class, number, missing, options.epochs, options.keep) if missing else ():
            append(row)
            rows.append(row)
    gains = summary(rows)
    finish(Figure("points that --train adds, the least", round(min(gains, default=0.0), 2), -0.5))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
