"""Own images: `python -m benchmarks.own_images [--per-class 1 4 10 25] [--draws 0 5] [--backbones NAME ...] [--quick]`.

Fashion-MNIST as a folder of 10,000 images with a few labels, through ``paws.fit.fit.fit_features``: test top-1 of what is in
use, of PAWS and of each baseline on the same features and labels, over draws of the labels. Calibration (expected calibration
error, precision of predictions at or above the threshold for 95 %) is that of what is in use, whose top-1 has a bar.
``--backbones``: EfficientNet-Lite0 if absent; the features of several stand beside each other, as ``--preset best`` has them.

``--letters`` does the same with 36 classes of letters and digits, for which the backbone's features are poor.

``--tune`` is what settings are to be chosen by: other draws of the labels (from 100 on), and other images in place of the test
images: the second 10,000 training images, which are not in the pool. The test images are for the figures that are published.

``--scale`` fits ten times the pool from a memory map on disk beside the pool itself, and prints how the seconds of head
training compare, and the peak memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch

from benchmarks.fashion import POOL, Pool, draw, fashion_features
from benchmarks.letters import letter_features
from benchmarks.side_by_side import Figure, finish
from paws import classifiers
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.strangers import STRANGE
from paws.config.options import PREFERRED
from paws.fit.fit import fit_features
from paws.metrics import calibration_error
from paws.models.hub import PACKAGES
from paws.models.sources import LITE

BARS = {1: 71.0, 4: 77.0, 10: 79.0, 25: 81.0}  # top-1 in percent of what is in use, by labels a class, Fashion-MNIST
QUICK_BARS = {4: 70.0}  # of 2,000 images, one draw
ACCURACY = 0.95
TUNING_DRAWS = 100  # number of the first draw of ``--tune``


def one_draw(data: Pool, per_class: int, number: int) -> dict[str, float]:
    """Percentages of one fit, and its seconds."""
    began, cpu = time.monotonic(), time.process_time()
    labels = draw(data.labels, per_class, number)
    fitted = fit_features(
        data.views, labels, data.classes, seed=number, accuracy=ACCURACY, test=(data.test.float(), data.test_labels)
    )
    found = {score.method: 100 * score.test for score in fitted.scores if score.test is not None}
    votes = fitted.classifier.votes(data.test)
    confidence, predicted = votes.probabilities.max(1)
    kept = (confidence >= fitted.classifier.threshold) & (votes.strange <= STRANGE)
    right = predicted == data.test_labels
    found["auto"] = found[fitted.chosen]
    found["calibration error"] = 100 * calibration_error(confidence, right)
    found["kept"] = 100 * float(kept.double().mean())
    found["precision"] = 100 * float(right[kept].double().mean()) if bool(kept.any()) else 100.0
    found["seconds"], found["CPU-seconds"] = time.monotonic() - began, time.process_time() - cpu
    print(
        f"{per_class} per class, draw {number}: " + ", ".join(f"{name} {value:.1f}" for name, value in found.items()),
        flush=True,
    )
    print(f"  {fitted.chosen}; {fitted.agreement:.1%} of the images have views that agree.", flush=True)
    return found


def measure(data: Pool, per_class: int, draws: range) -> float:
    """Print every draw, mean and deviation, and the best baseline; the mean top-1 in percent of what is in use."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in draws:
        for name, value in one_draw(data, per_class, number).items():
            found[name].append(value)
    for name, values in found.items():
        print(f"{per_class} per class, {name}: {mean(values):.1f} ± {stdev(values) if len(values) > 1 else 0:.1f}")
    baselines = [name for name in classifiers.table() if name not in (PREFERRED, PawsEnsemble.name)]
    best = max(baselines, key=lambda name: mean(found[name]))
    margin = mean(found[PREFERRED]) - mean(found[best])
    print(f"{per_class} per class: what is in use is {margin:+.1f} points above {best}, the best baseline")
    return mean(found[PREFERRED])


def training_seconds(views: np.ndarray, labels: torch.Tensor, classes: tuple[str, ...]) -> float:
    """Seconds of one fit's head training."""
    times: dict[str, float] = {}
    fit_features(views, labels, classes, progress=lambda what, share: times.setdefault(what, time.monotonic()) and None)
    return times["comparing"] - times["training heads"]


def scale(data: Pool, per_class: int = 4, times: int = 10) -> None:
    """Head training on ``times`` as many images, over that on the pool."""
    labels = draw(data.labels, per_class, 0)
    small = training_seconds(data.views, labels, data.classes)
    with tempfile.TemporaryDirectory() as folder:
        count = len(data.views)
        stored = Path(folder) / "views"
        with stored.open("wb") as file:  # not through a map, whose pages would count as memory of this process
            for _ in range(times):
                for start in range(0, count, 1000):
                    file.write(data.views[start : start + 1000].tobytes())
        large = np.memmap(stored, np.float16, "r", shape=(times * count, *data.views.shape[1:]))
        known = torch.cat([labels, torch.full((len(large) - count,), -1)])
        seconds = training_seconds(large, known, data.classes)
    print(
        f"head training: {small:.1f} s for {count} images, {seconds:.1f} s for {len(large)}; peak memory {peak_memory():.0f} MB"
    )
    figure = Figure("head training, ten times the images", round(seconds / small, 2), 1.5, higher_is_better=False, timing=True)
    finish(figure, peak_memory_mb=peak_memory())


def peak_memory() -> int:
    """MB of this process, mapped files included."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Print the table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one draw at 4 labels per class of 2,000 images, under 60 s")
    parser.add_argument("--per-class", type=int, nargs="+", default=list(BARS))
    parser.add_argument("--draws", type=int, nargs=2, default=[0, 5], help="first and one past the last")
    parser.add_argument(
        "--backbones", nargs="+", choices=tuple(PACKAGES), default=[LITE], metavar="NAME", help=", ".join(PACKAGES)
    )
    parser.add_argument("--letters", action="store_true", help="letters and digits in hundreds of fonts instead")
    parser.add_argument("--scale", action="store_true", help="head training on ten times the pool")
    parser.add_argument("--tune", action="store_true", help="other test images and draws: what settings are chosen by")
    options = parser.parse_args()
    if options.scale:
        scale(fashion_features())
        return
    if options.quick:
        options.per_class, options.draws = [4], [0, 1]
    sizes = (2000, 1000) if options.quick else (POOL, POOL)
    backbones = tuple(options.backbones)
    data = letter_features(tune=options.tune) if options.letters else fashion_features(*sizes, backbones, tune=options.tune)
    first, last = (number + TUNING_DRAWS * options.tune for number in options.draws)
    bars: dict[int, float] = {} if options.letters or options.tune else QUICK_BARS if options.quick else BARS
    found = {k: measure(data, k, range(first, last)) for k in options.per_class}
    name = "top-1 in % of what is in use, labels per class: "
    figures = [Figure(f"{name}{k}", round(top1, 2), bars.get(k)) for k, top1 in found.items()]
    finish(*figures, peak_memory_mb=peak_memory())


if __name__ == "__main__":
    main()
