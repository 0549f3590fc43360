"""Your own images, tried with Fashion-MNIST: `python examples/own_images.py [--images N] [--per-class n] [--run FOLDER]`.

Writes a folder of PNG files and a CSV with a few labels, as you would have them, then calls `paws fit` on both.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from paws.data.datasets import load_dataset


def make_folder(source: Path | None, folder: Path, images: int, per_class: int, seed: int = 0) -> None:
    """``folder/images``: random pictures of the training split; ``folder/labels.csv``: the first ``per_class`` of each class;
    ``folder/test.csv``: every label that is not among them."""
    data = load_dataset("fashion_mnist", source, "train")
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:images]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    counts = [0] * len(data.classes)
    labels, test = ["file,label"], ["file,label"]
    for number, row in enumerate(chosen.tolist()):
        name, y = f"{number:05d}.png", int(data.labels[row])
        Image.fromarray(data.images[row, 0].numpy()).save(folder / "images" / name)
        counts[y] += 1
        (labels if counts[y] <= per_class else test).append(f"{name},{data.classes[y]}")
    (folder / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (folder / "test.csv").write_text("\n".join(test) + "\n", encoding="utf-8")


def main() -> None:
    """Make the folder and fit it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--source", type=Path, help="folder of its IDX files; Debian's if absent")
    parser.add_argument("--run", type=Path, default=Path("runs/own-images"))
    options, more = parser.parse_known_args()  # what it does not know goes to paws fit
    make_folder(options.source, options.run, options.images, options.per_class)
    command = ["fit", str(options.run / "images"), "--labels", str(options.run / "labels.csv"), "-o", str(options.run / "fit")]
    command += more
    print(f"$ paws {shlex.join(command)}", flush=True)
    raise SystemExit(subprocess.run([sys.executable, "-m", "paws", *command], check=False).returncode)


if __name__ == "__main__":
    main()
