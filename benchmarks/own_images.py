"""Own images: `python -m benchmarks.own_images [--per-class 1 4 10 25] [--draws 0 5] [--quick | --scale | --letters]`.

Fashion-MNIST as a folder of 10,000 images with a few labels, through ``paws.fit.fit.fit_features``: test top-1 of PAWS, of what
"auto" takes, and of each frozen baseline on the same features and labels, over draws of the labels. The margin is PAWS's mean
over that of the baseline with the best mean. Our LabelSpreading (symmetric graph, alpha 0.9) is stronger than scikit-learn's as
it comes, so a second margin leaves ours out. Calibration (expected calibration error, precision of predictions at or above the
threshold for 95 %) is that of what "auto" takes. Every margin has a bar.

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
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor

from benchmarks.fashion import Pool, draw, fashion_features
from benchmarks.letters import letter_features
from benchmarks.side_by_side import Figure, finish
from paws import classifiers
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.strangers import STRANGE
from paws.config.options import PREFERRED
from paws.fit.fit import fit_features
from paws.metrics import calibration_error

AS_IT_COMES = "LabelSpreading as scikit-learn has it"  # one-sided graph of 10 neighbours, alpha 0.2
BARS = {1: 9.0, 4: 6.5, 10: 3.0, 25: 0.0}  # points of PAWS above the best baseline, Fashion-MNIST
QUICK_BARS = {4: 0.0}  # of 2,000 images, one draw
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
    found[AS_IT_COMES] = scikit_learn_spreading(data, labels)
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


def scikit_learn_spreading(data: Pool, labels: Tensor) -> float:
    """Test top-1 in percent of ``LabelSpreading(kernel="knn", n_neighbors=10)`` on standardised features.

    The neighbours, which no label changes, are looked for once for all draws.
    """
    pool, graph, nearest = neighbours(data)
    model = LabelSpreading(kernel=lambda a, b: graph, n_neighbors=10, max_iter=200)
    with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
        model.fit(pool, labels.numpy())
    votes = np.nan_to_num(model.label_distributions_)[nearest].sum(1)  # (T, 10, C) -> (T, C)
    return 100 * float((model.classes_[votes.argmax(1)] == data.test_labels.numpy()).mean())


@cache
def neighbours(data: Pool) -> tuple[np.ndarray, Any, np.ndarray]:
    """Standardised features (N, D) of the pool, its graph, and the rows of the test images' 10 nearest (T, 10)."""
    pool, test = (np.asarray(part, np.float32) for part in (data.views[:, 0], data.test))
    mean_, std = pool.mean(0), pool.std(0) + 1e-6
    pool, test = (pool - mean_) / std, (test - mean_) / std
    found = NearestNeighbors(n_neighbors=10).fit(pool)
    return pool, found.kneighbors_graph(pool), found.kneighbors(test, return_distance=False)


def measure(data: Pool, per_class: int, draws: range, bar: float | None) -> float:
    """Print every draw, mean and deviation; PAWS's margin in points over the best baseline."""
    found: dict[str, list[float]] = defaultdict(list)
    for number in draws:
        for name, value in one_draw(data, per_class, number).items():
            found[name].append(value)
    for name, values in found.items():
        print(f"{per_class} per class, {name}: {mean(values):.1f} ± {stdev(values) if len(values) > 1 else 0:.1f}")
    baselines = [name for name in classifiers.table() if name not in (PREFERRED, PawsEnsemble.name)]
    best = max(baselines, key=lambda name: mean(found[name]))
    margin = mean(found[PREFERRED]) - mean(found[best])
    print(f"{per_class} per class: what is in use is {margin:+.1f} points above {best}, the best baseline (bar {bar})")
    usual = max((name for name in (*baselines, AS_IT_COMES) if name != "label_spreading"), key=lambda name: mean(found[name]))
    print(
        f"{per_class} per class: {mean(found[PREFERRED]) - mean(found[usual]):+.1f} above {usual}, without our LabelSpreading"
    )
    return margin


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
    parser.add_argument("--letters", action="store_true", help="letters and digits in hundreds of fonts instead")
    parser.add_argument("--scale", action="store_true", help="head training on ten times the pool")
    parser.add_argument("--tune", action="store_true", help="other test images and draws: what settings are chosen by")
    options = parser.parse_args()
    if options.scale:
        scale(fashion_features())
        return
    if options.quick:
        options.per_class, options.draws = [4], [0, 1]
    sizes = (2000, 1000) if options.quick else ()
    data = letter_features(tune=options.tune) if options.letters else fashion_features(*sizes, tune=options.tune)
    first, last = (number + TUNING_DRAWS * options.tune for number in options.draws)
    bars: dict[int, float] = {} if options.letters or options.tune else QUICK_BARS if options.quick else BARS
    margins = {k: measure(data, k, range(first, last), bars.get(k)) for k in options.per_class}
    name = "PAWS's margin over the best frozen baseline in points, labels per class: "
    found = [Figure(f"{name}{k}", round(margin, 2), bars.get(k)) for k, margin in margins.items()]
    finish(*found, peak_memory_mb=peak_memory())


if __name__ == "__main__":
    main()
