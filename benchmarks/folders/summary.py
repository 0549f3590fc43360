"""What the table says: the figures with their bars, and one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.folders.measure import ACCURACY, IN_USE, KNOWING, TRUE, UNIFORM, Results, named
from benchmarks.side_by_side import Figure

OURS, LINEAR, COMBINED = "paws", "logistic_regression", "combination"
FASHION = {1: 71.0, 4: 77.0, 10: 79.0, 25: 81.0}  # % of the test images, backbones from packages
PAIRS = {"fashion-five": "fashion-five-clean", "clipart-living": "clipart-living-clean"}  # half of the pool in no class

Cells = list[tuple[str, int]]  # folders and labels a class


def measured(results: Results, labels: str = "even") -> Cells:
    """Folders and labels a class that were measured."""
    found = {(row["folder"], int(row["per_class"])) for row in results.rows if row["labels"] == labels}
    return sorted(found)


def singles(results: Results) -> list[str]:
    """Every method that is not a combination: PAWS and the baselines."""
    names = {row["method"] for row in results.rows} - {IN_USE, COMBINED}
    return sorted(name for name in names if not name.endswith((TRUE, UNIFORM)))


def figures(results: Results) -> list[Figure]:
    """The figures, each with its bar; those of which nothing was measured are left out."""
    cells, methods = measured(results), singles(results)
    top = {method: np.array([100 * results.mean("accuracy", method, *cell) for cell in cells]) for method in [*methods, IN_USE]}
    baselines = [method for method in methods if method != OURS]
    best = max(baselines, key=lambda method: float(top[method].mean()))
    best_of_cell = np.max([top[method] for method in methods], 0)
    few = np.array([per_class in (1, 4, 10) for _, per_class in cells])
    found = [
        Figure("in use less the best single method, worst folder and labels", float((top[IN_USE] - best_of_cell).min()), -1.0),
        Figure("in use less logistic regression, mean", float((top[IN_USE] - top[LINEAR]).mean()), 5.0),
        Figure(f"in use less {best}, the best baseline on average, mean", float((top[IN_USE] - top[best]).mean()), 3.0),
        Figure(f"PAWS alone less {best}, mean of 1, 4 and 10", float((top[OURS] - top[best])[few].mean()), 0.0),
        Figure(f"PAWS alone less {best}, worst of 1, 4 and 10", float((top[OURS] - top[best])[few].min()), -2.0),
        Figure("right of what is kept, worst folder, less what was asked", 100 * _precision(results, cells), -2.0),
        *_calibration(results, cells),
        *_fashion(results),
        *_no_class(results),
        *_frequencies(results, cells),
    ]
    return [Figure(f.name, round(f.value, 2), f.bar, f.higher_is_better) for f in found if not math.isnan(f.value)]


def table(results: Results) -> Iterable[str]:
    """Lines: accuracy of every method in %, mean over draws, and the rest of what is in use."""
    methods = [*singles(results), IN_USE, named(IN_USE, UNIFORM), named(IN_USE, TRUE)]
    yield "folder, labels a class: " + ", ".join(methods) + "; calibration error, right of kept, kept, KL, AUROC of none, CPU-s"
    columns = ("calibration_error", "precision", "kept", "frequencies_kl", "none_auroc", "cpu_seconds")
    for labels in ("even", "sample"):
        for folder, count in measured(results, labels):
            cells = [f"{100 * results.mean('accuracy', method, folder, count, labels):.1f}" for method in methods]
            rest = [f"{results.mean(column, IN_USE, folder, count, labels):.3f}" for column in columns]
            yield f"{folder}, {count} ({labels}): {' '.join(cells)}; {' '.join(rest)}"


def draw_figure(results: Results, path: Path) -> None:
    """For each number of labels, the accuracy of every method on every folder, what is in use in black.

    A baseline stands there with or without the class frequencies, as is better.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    cells = measured(results)
    folders, counts = sorted({folder for folder, _ in cells}), sorted({count for _, count in cells})
    methods = [name for name in singles(results) if not name.endswith(KNOWING)]
    size = (max(8, 3 * len(counts)), 0.4 * len(folders) + 2.2)
    figure, axes = pyplot.subplots(1, len(counts), sharey=True, squeeze=False, figsize=size, layout="constrained")
    for axis, count in zip(axes[0], counts, strict=True):
        for method in [*methods, IN_USE]:
            both = [[100 * results.mean("accuracy", name, f, count) for f in folders] for name in (method, method + KNOWING)]
            style = {"color": "black", "marker": "|", "s": 160} if method == IN_USE else {"marker": "o", "s": 18}
            axis.scatter(np.fmax(*both), range(len(folders)), label=method.replace("_", " "), **style)
        axis.set(title=f"{count} label{'s' if count > 1 else ''} a class", xlabel="accuracy in %")
        axis.grid(axis="y", alpha=0.3)
    axes[0][0].set_yticks(range(len(folders)), folders)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _precision(results: Results, cells: Cells) -> float:
    """The least share of right ones among what is kept, over folders, less what was asked; means over labels and draws."""
    folders = {folder for folder, _ in cells}
    means = [np.mean([results.mean("precision", IN_USE, *cell) for cell in cells if cell[0] == f]) for f in folders]
    return float(min(means)) - ACCURACY


def _calibration(results: Results, cells: Cells) -> Iterable[Figure]:
    for name, bar, among in (("1", 8.0, (1,)), ("4 and more", 5.0, (4, 10, 25))):
        errors = [results.mean("calibration_error", IN_USE, *cell) for cell in cells if cell[1] in among]
        if errors:
            yield Figure(f"calibration error in points, labels a class: {name}, worst folder", 100 * max(errors), bar, False)


def _fashion(results: Results) -> Iterable[Figure]:
    for count, bar in FASHION.items():
        value = 100 * results.mean("accuracy", IN_USE, "fashion-10000", count)
        yield Figure(f"Fashion-MNIST, 10,000 images, labels a class: {count}", value, bar)


def _no_class(results: Results) -> Iterable[Figure]:
    for folder, without in PAIRS.items():
        counts = [count for name, count in measured(results) if name == folder]
        sides = [[results.of_draws("accuracy", IN_USE, f, count) for f in (folder, without)] for count in counts]
        if gaps := [100 * (a - b) for a, b in filter(None, map(_paired, sides))]:
            yield Figure(f"{folder} less {without}", float(np.mean(gaps)), -1.5)
        if counts:
            aurocs = [results.mean("none_auroc", IN_USE, folder, count) for count in counts]
            yield Figure(f"{folder}, AUROC of none", float(np.mean(aurocs)), 0.85)


def _frequencies(results: Results, cells: Cells) -> Iterable[Figure]:
    """How much of what true frequencies gain over even ones the estimate gains, where all three were measured."""
    priors = [named(IN_USE, g) for g in (UNIFORM, None, TRUE)]
    sides = [[results.of_draws("accuracy", name, *cell) for name in priors] for cell in cells]
    even, own, true = 100 * np.array([*filter(None, map(_paired, sides))]).reshape(-1, 3).T
    if len(even):
        yield Figure("in use with the true class frequencies less with even ones, mean", float((true - even).mean()))
        yield Figure("share of that which the estimate gains", float((own - even).mean() / (true - even).mean()), 0.5)


def _paired(sides: Sequence[dict[str, float]]) -> list[float]:
    """The mean of each side over the draws in which all were measured; nothing where there are none."""
    draws = set.intersection(*map(set, sides))
    return [sum(side[draw] for draw in draws) / len(draws) for side in sides] if draws else []
