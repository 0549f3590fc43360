"""Labels that `paws suggest` chooses against labels drawn at random: `python -m benchmarks.suggest [--quick]`.

Accuracy on a held-out test set of one and the same classifier (logistic regression on standardised features) with 10 and with
40 labels in all. The suggested labels: 10 chosen before any label exists, then 30 more with the probabilities of the
classifier fitted to those 10. The random ones: mean over 10 draws from the whole pool, as a person would draw. Digits on their
pixels, Fashion-MNIST on frozen EfficientNet-Lite0 features. The value is the smallest gain, in points. Parameters were
chosen on other Fashion-MNIST images, and on other splits of the digits, which overlap with this one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.features import Features, digits_pixels, fashion_lite0
from benchmarks.side_by_side import Figure, finish
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.space import fit_space
from paws.labels.suggest import choose, frozen_embedding

BUDGETS = (10, 40)
BAR = 3.0


class Trial:
    """A pool whose labels are asked for one by one, and the accuracy that they lead to."""

    def __init__(self, data: Features) -> None:
        self.data, self.space = data, fit_space(data.pool[:, None], 1)
        self.pool = self.space.standardise(data.pool)  # (N, D)
        self.embedding = frozen_embedding(data.pool)

    def model(self, rows: Sequence[int]) -> LogisticRegression:
        labels = self.data.labels[list(rows)]
        if len(labels.unique()) < 2:
            raise SystemExit("a draw met a single class only; logistic regression needs two")
        return LogisticRegression.of(self.pool[list(rows)], labels, self.data.num_classes)

    @torch.inference_mode()
    def accuracy(self, rows: Sequence[int]) -> float:
        guess = self.model(rows).linear(self.space.standardise(self.data.test)).argmax(1)
        return 100 * float((guess == self.data.test_labels).double().mean())

    @torch.inference_mode()
    def suggested(self) -> dict[int, list[int]]:
        first = [pick.row for pick in choose(self.embedding, BUDGETS[0])]
        probabilities: Tensor = self.model(first).linear(self.pool).softmax(1)
        more = choose(self.embedding, BUDGETS[1] - BUDGETS[0], probabilities, labelled=first)
        return {BUDGETS[0]: first, BUDGETS[1]: first + [pick.row for pick in more]}

    def random(self, count: int, seed: int) -> list[int]:
        order = torch.randperm(len(self.pool), generator=torch.Generator().manual_seed(seed))
        return order[:count].tolist()


def gains(name: str, data: Features, draws: int = 10) -> list[float]:
    """Print and return, for each budget, how many points the suggested labels are ahead of random ones."""
    trial = Trial(data)
    found = []
    for budget, rows in trial.suggested().items():
        drawn = [trial.accuracy(trial.random(budget, seed)) for seed in range(draws)]
        ours, classes = trial.accuracy(rows), len(data.labels[rows].unique())
        found.append(ours - mean(drawn))
        print(
            f"{name}, {budget} labels: suggested {ours:.1f} ({classes} of {data.num_classes} classes met), "
            f"random {mean(drawn):.1f} ± {stdev(drawn):.1f}, gain {found[-1]:+.1f}",
            flush=True,
        )
    return found


def main() -> None:
    """Print a line for each set and budget and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, under 60 s")
    parser.add_argument("--tune", action="store_true", help="other test images: what settings are chosen by")
    options = parser.parse_args()
    found = {"digits": gains("digits", digits_pixels(options.tune))}
    if not options.quick:
        found["Fashion-MNIST"] = gains("Fashion-MNIST", fashion_lite0(options.tune))
    value = min(gain for row in found.values() for gain in row)
    rounded = {name: [round(gain, 1) for gain in row] for name, row in found.items()}
    finish(
        Figure("suggested over random labels, points", round(value, 1), None if options.tune else BAR),
        budgets=BUDGETS,
        gains=rounded,
    )


if __name__ == "__main__":
    main()
