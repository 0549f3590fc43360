"""An example of own images: scikit-learn's digits as a folder of pictures and a CSV with a few labels.

The digits are the test set of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from paws.runs.files import new_folder, write_text

SIDE = 48  # pixels; the digits have 8
TESTED = 40  # of each digit
LICENCE = """The pictures are the handwritten digits of scikit-learn's load_digits, enlarged: the test set of
"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, Creative Commons Attribution 4.0 International (CC BY 4.0).
"""


class Example(NamedTuple):
    """What was written: the folder of pictures, a few labels, and labels of other pictures to test on."""

    images: Path
    labels: Path
    test: Path
    pictures: int


def write_example(folder: Path, per_class: int = 5, seed: int = 0) -> Example:
    """Write ``folder``/photos (1,797 PNG files), labels.csv with ``per_class`` labels of each digit, test.csv with some more.

    A fit does not learn from test images, so that most pictures are left without a label.

    Raises:
        InputError: ``folder`` exists, or cannot be written.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)  # (N, 64) in [0, 16]; (N,)
    order = np.random.default_rng(seed).permutation(len(labels))
    found: dict[str, list[tuple[str, str]]] = {"labels.csv": [], "test.csv": []}
    counts = [0] * 10
    with new_folder(folder, flush=False) as new:  # it can be made again
        (new / "photos").mkdir()
        for number, row in enumerate(order.tolist()):
            name, digit = f"{number:04d}.png", int(labels[row])
            picture = Image.fromarray(np.uint8(255 - pixels[row].reshape(8, 8) * 255 / 16))
            picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(new / "photos" / name)
            counts[digit] += 1
            if counts[digit] <= per_class + TESTED:
                found["labels.csv" if counts[digit] <= per_class else "test.csv"].append((name, str(digit)))
        for name, rows in found.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("file", "label"), *rows])
            write_text(new / name, text.getvalue())
        write_text(new / "LICENCE.txt", LICENCE)
    return Example(folder / "photos", folder / "labels.csv", folder / "test.csv", len(order))
