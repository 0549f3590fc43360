"""What `--finetune` gains: `python -m benchmarks.finetune [--images 2000] [--per-class 10] [--epochs 10] [--data letters]`.

Writes a folder of PNG files and a few labels, fits it with EfficientNet-Lite0 at 64 pixels and trains the whole network on, as
``paws fit --finetune`` does; prints how many of the images without a label are named rightly before and after. Eight minutes on
two cores for each kind of data, Fashion-MNIST and letters.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from benchmarks.fashion import SIZE, draw
from benchmarks.letters import CHARACTERS, letters
from benchmarks.side_by_side import Figure, finish
from paws.config.options import FitOptions
from paws.data.datasets import load_dataset
from paws.fit.pipeline import fit_folder
from paws.fit.record import PREDICTIONS
from paws.models.sources import LITE


def images_of(name: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Grey images (N, 1, H, W) uint8, their labels (N,) and the names of the classes."""
    if name == "letters":
        return *letters(), tuple(CHARACTERS)
    found = load_dataset("fashion_mnist", None, "train")
    return found.images, found.labels, tuple(name.replace("/", " ") for name in found.classes)


def right(predictions: Path, truth: dict[str, str]) -> tuple[float, float, float]:
    """Percentages of the images of ``truth``: named rightly, kept, and rightly among those kept."""
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] in truth]
    hits = [row["label"] == truth[row["file"]] for row in rows]
    kept = [hit for hit, row in zip(hits, rows, strict=True) if row["abstain"] == "no"]
    return 100 * sum(hits) / len(hits), 100 * len(kept) / len(rows), 100 * sum(kept) / max(1, len(kept))


def gain(name: str, count: int, per_class: int, epochs: int) -> float:
    """Points of accuracy that fine-tuning adds."""
    images, labels, classes = images_of(name)
    images, labels = images[:count], labels[:count]
    known = draw(labels, per_class, 0)
    with tempfile.TemporaryDirectory() as temporary:
        folder, table = Path(temporary) / "images", Path(temporary) / "labels.csv"
        folder.mkdir()
        names = [f"{i:05d}.png" for i in range(count)]
        for file, image in zip(names, images, strict=True):
            Image.fromarray(image[0].numpy()).save(folder / file)
        given = [f"{names[i]},{classes[known[i]]}" for i in (known >= 0).nonzero().flatten().tolist()]
        table.write_text("\n".join(["file,label", *given]) + "\n", encoding="utf-8")
        truth = {names[i]: classes[labels[i]] for i in (known < 0).nonzero().flatten().tolist()}
        options = FitOptions(backbone=LITE, image_size=SIZE, mirror=name != "letters", finetune=True, epochs=epochs)
        after = fit_folder(folder, table, Path(temporary) / "run", options).folder
        found = [right(run / PREDICTIONS, truth) for run in (after.parent, after)]
    for what, (top1, kept, precision) in zip(("heads", "whole network"), found, strict=True):
        print(f"{name}, {what}: {top1:.1f} % right, {kept:.1f} % kept, {precision:.1f} % of them right", flush=True)
    return found[1][0] - found[0][0]


def main() -> None:
    """Print both accuracies of each kind of data and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--data", nargs="+", choices=["fashion", "letters"], default=["fashion", "letters"])
    options = parser.parse_args()
    torch.set_num_threads(2)
    gains = {name: round(gain(name, options.images, options.per_class, options.epochs), 2) for name in options.data}
    finish(Figure("points that --finetune adds, the least", min(gains.values())), gains=gains)


if __name__ == "__main__":
    main()
