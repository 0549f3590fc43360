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
TITLES = {LOGISTIC: "logistic regression alone", HEADS: "as it comes", "light": "`--train light`", "full": "`--train full`"}
NAMES = {"fashion": "Fashion-MNIST", "letters": "letters"}
GOALS = {  # whether points that training adds are meant or all that is right, how many percent, and in how many CPU-minutes
    ("fashion", "2000", "10"): (True, 2.0, 10.0),
    ("letters", "10000", "10"): (False, 40.0, 60.0),
    ("letters", "10000", "4"): (False, 25.0, 60.0),
}
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


def spread(values: list[float]) -> str:
    """Their mean, and the standard deviation where there are several; nothing of none."""
    return "" if not values else f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def table(rows: list[Row]) -> list[str]:
    """Lines of the table in docs/results.md: mean and standard deviation over the draws."""
    kinds: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["data"], -int(row["per_class"]), list(TITLES).index(row["train"]))):
        kinds[row["data"], row["images"], row["per_class"], row["train"]].append(row)
    heading = (
        "| folder | labels per class | fit | right | right of held-out labels | kept | right of kept | CPU-seconds | draws |"
    )
    lines = [heading, "|---|---|---|---|---|---|---|---|---|"]
    for (name, count, per_class, way), found in kinds.items():
        judged, kept = [row for row in found if per_class != "1"], [row for row in found if float(row["kept"]) > 0]
        shares = [
            spread([float(row[column]) for row in rows_of])
            for column, rows_of in (("top1", found), ("held_out", judged), ("kept", found), ("precision", kept))
        ]
        steps = f" ({found[0]['encoders']})" if found[0]["encoders"] else ""
        seconds = f"{mean(float(row['cpu_seconds']) for row in found):.0f}"
        about = [f"{NAMES[name]}, {int(count):,}", per_class, TITLES[way] + steps, *shares, seconds, str(len(found))]
        lines.append(f"| {' | '.join(about)} |")
    return lines


def gains(rows: list[Row]) -> dict[tuple[str, ...], list[float]]:
    """The points that each way of training adds to the fit as it comes, for each kind of folder, one number a draw."""
    heads = {tuple(row[key] for key in CELL[:-1]): float(row["top1"]) for row in rows if row["train"] == HEADS}
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        draws = tuple(row[key] for key in CELL[:-1])
        if row["train"] not in (HEADS, LOGISTIC) and draws in heads:
            found[(*draws[:-1], row["train"])].append(float(row["top1"]) - heads[draws])
    return found


def summary(rows: list[Row]) -> list[Figure]:
    """Print the table and what training adds; return what is held to bars."""
    print("\n".join(table(rows)))
    added = gains(rows)
    figures = [Figure("points that --train adds, the least", round(min(map(min, added.values()), default=0.0), 2), -0.5)]
    for about, found in added.items():
        title = " ".join(about)
        print(f"{title}: {spread(found)} points more than without, {len(found)} draws, the least {min(found):+.1f}")
        of_kind = [row for row in rows if tuple(row[key] for key in ("data", "images", "per_class", "train")) == about]
        goal = GOALS.get(about[:-1])
        if goal is not None:
            adds, bar, minutes = goal
            value = mean(found) if adds else mean(float(row["top1"]) for row in of_kind)
            what = "points added" if adds else "percent right"
            spent = max(float(row["cpu_seconds"]) for row in of_kind) / 60
            figures += [Figure(f"{title}: {what}", round(value, 2), bar)]
            figures += [Figure(f"{title}: CPU-minutes, the most", round(spent, 1), minutes, False, timing=True)]
    return figures


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
    finish(*summary(rows))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    main()
