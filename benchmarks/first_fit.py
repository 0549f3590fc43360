"""A first `paws fit` and a second one, against a former commit: `python -m benchmarks.first_fit [--pairs 3] [--quick]`.

2,000 PNG pictures of 128 pixels (Fashion-MNIST, enlarged) with four labels a class. This package fits them as it comes, in an
empty cache; then again into another run folder, with five more labels. Commit 8acd8ac does the same with its defaults and the
backbone that its documentation names: EfficientNet-Lite0, at 128 pixels, in five random views beside the plain one.

CPU-seconds are those of a command with all the processes that it starts. Making the network ready (its ONNX file, once for
each size on a machine) is measured apart, in another empty cache. Embedding is what the first fit takes beyond that and beyond
a fit of features that are there already, of which training, comparison and calibration are nearly all: the second one here, and
a third one of the former commit, into its first run folder.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from PIL import Image

from benchmarks.fashion import draw
from benchmarks.side_by_side import Figure, finish
from paws.data.datasets import ImageSet, load_dataset

ROOT = Path(__file__).parents[1]
FORMER = "8acd8ac"
GIVEN = ("--backbone", "tf_efficientnet_lite0", "--image-size", "128")  # the former commit's; five views are its default
PICTURES, SIDE, PER_CLASS, MORE = 2000, 128, 4, 5
BARS = {"the first fit": 0.35, "the second fit": 0.1, "embedding": 0.4, "a fit of features that are there": 0.25}
EXPORT = """import sys, time
from paws.models.frozen import *
from paws.models.runtime import exported
try: from paws.models.sources import frozen_backbone
except ImportError: pass
frozen, start = frozen_backbone("tf_efficientnet_lite0", image_size=int(sys.argv[1])), time.process_time()
exported(frozen)
print(time.process_time() - start)"""


class Costs(NamedTuple):
    """CPU-seconds of a first fit, a second one, one whose features are there, and of making the network ready; top-1 in %."""

    first: float
    second: float
    embedded: float
    export: float
    top1: float

    @property
    def embedding(self) -> float:
        return self.first - self.export - self.embedded

    def told(self, pictures: int) -> str:
        return (
            f"first {self.first:.1f} CPU-seconds, {self.export:.1f} of them the network's export; second {self.second:.1f}; "
            f"with features {self.embedded:.1f}; embedding {1000 * self.embedding / pictures:.1f} ms a picture; "
            f"{self.top1:.1f} % right"
        )


def write_folder(root: Path, pictures: int) -> dict[str, str]:
    """``root``/photos, labels.csv and more.csv, which has `MORE` further labels; the class of each picture without a label."""
    data = load_dataset("fashion_mnist", None, "train")
    assert isinstance(data, ImageSet)
    truth = data.labels[:pictures]
    (root / "photos").mkdir()
    for i, image in enumerate(data.images[:pictures, 0]):
        Image.fromarray(image.numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(root / f"photos/{i:05d}.png")
    known = draw(truth, PER_CLASS, 0) >= 0
    labelled = {name: known.nonzero().flatten().tolist() for name in ("labels.csv", "more.csv")}
    labelled["more.csv"] += (~known).nonzero().flatten().tolist()[:MORE]
    for name, rows in labelled.items():
        lines = ["file,label", *(f"{i:05d}.png,{data.classes[truth[i]]}" for i in rows)]
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {f"{i:05d}.png": data.classes[truth[i]] for i in range(pictures) if i not in labelled["more.csv"]}


def unpack(commit: str, folder: Path) -> None:
    """The package at ``commit`` of this repository."""
    packed = subprocess.run(["git", "archive", commit, "paws"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


class Checkout:
    """Runs Python with the package that lies in a folder, and a cache of its own."""

    def __init__(self, package: Path, cache: Path) -> None:
        self.package, self.environment = package, os.environ | {"PYTHONPATH": str(package), "PAWS_CACHE": str(cache)}

    def run(self, *arguments: str | Path) -> tuple[float, str]:
        """CPU-seconds of `python ARGUMENTS`, all its processes included, and what it printed."""
        began = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.package, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{arguments}\n{done.stdout}\n{done.stderr}")
        return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - began, done.stdout

    def fit(self, folder: Path, labels: str, run: Path, given: tuple[str, ...]) -> tuple[float, str]:
        return self.run("-m", "paws", "fit", folder / "photos", "--labels", folder / labels, "-o", run, *given)


def measure(package: Path, folder: Path, truth: dict[str, str], given: tuple[str, ...], shared: bool) -> Costs:
    """The costs of the package in ``package``; with ``shared`` features, the second fit is the one without embedding."""
    with tempfile.TemporaryDirectory() as place:
        runs, checkout = Path(place), Checkout(package, Path(place) / "cache")
        first, printed = checkout.fit(folder, "labels.csv", runs / "first", given)
        second, _ = checkout.fit(folder, "more.csv", runs / "second", given)
        embedded = second if shared else checkout.fit(folder, "more.csv", runs / "first", given)[0]
        size = re.search(r"at (\d+)\s+pixels", printed)
        assert size is not None, printed
        export = float(Checkout(package, runs / "other-cache").run("-c", EXPORT, size[1])[1])
        with (runs / "second/predictions.csv").open(encoding="utf-8", newline="") as file:
            right = [row["label"] == truth[row["file"]] for row in csv.DictReader(file) if row["file"] in truth]
    return Costs(first, second, embedded, export, 100 * sum(right) / len(right))


def main() -> None:
    """Print both sides' costs, the ratios and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--preset", help="of this package, in place of the one that it chooses")
    parser.add_argument("--quick", action="store_true", help="one pair, 200 pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs, pictures = (1, 200) if options.quick else (options.pairs, options.pictures)
    given = ("--preset", options.preset) if options.preset else ()
    ratios: dict[str, list[float]] = {name: [] for name in (*BARS, "the first fit, the network ready")}
    found = []
    with tempfile.TemporaryDirectory() as place:
        folder, former = Path(place), Path(place) / FORMER
        truth = write_folder(folder, pictures)
        unpack(FORMER, former)
        for number in range(pairs):
            ours, theirs = measure(ROOT, folder, truth, given, True), measure(former, folder, truth, GIVEN, False)
            found.append((ours, theirs))
            for name, costs in (("here", ours), (FORMER, theirs)):
                print(f"pair {number}, {name}: {costs.told(pictures)}", flush=True)
            ratios["the first fit"].append(ours.first / theirs.first)
            ratios["the second fit"].append(ours.second / theirs.second)
            ratios["embedding"].append(ours.embedding / theirs.embedding)
            ratios["a fit of features that are there"].append(ours.embedded / theirs.embedded)
            ratios["the first fit, the network ready"].append((ours.first - ours.export) / (theirs.first - theirs.export))
    for name, values in ratios.items():
        print(f"{name}: {median(values):.3f} x ({min(values):.3f} to {max(values):.3f})")
    gain = median(ours.top1 - theirs.top1 for ours, theirs in found)
    bars = BARS if pictures >= PICTURES else {}
    figures = [
        Figure(f"{name} over {FORMER}, CPU-seconds", round(median(values), 3), bars.get(name), False, timing=True)
        for name, values in ratios.items()
    ]
    finish(*figures, Figure("points right more than it", round(gain, 2), None), spread=ratios)


if __name__ == "__main__":
    main()
