"""How many wrong labels stand in the first 20 of `paws labels --suspicious`: `python -m benchmarks.suspicious [--quick]`.

Of 100 labels, 10 of each class, 10 are changed to another class at random; mean over 5 draws. The held-out probabilities are
those of logistic regression on the folds that `paws fit` uses. Digits on their pixels, Fashion-MNIST on frozen
EfficientNet-Lite0 features. The value is the smaller of the two shares. Parameters were chosen on other Fashion-MNIST images,
and on other splits of the digits, which overlap with this one.
"""

from __future__ import annotations

import argparse
from statistics import mean

import torch
from torch import Tensor

from benchmarks.features import Features, digits_pixels, fashion_lite0
from benchmarks.side_by_side import Figure, finish
from paws.classifiers.folds import folds
from paws.classifiers.logistic_regression import LogisticRegression
from paws.classifiers.space import fit_space
from paws.labels.issues import rank_labels

PER_CLASS, FLIPPED, LOOKED_AT, BAR = 10, 10, 20, 0.7


def held_out(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Probabilities (S, C) of logistic regressions that did not see the image."""
    fold = folds(labels, 5, seed=0)
    found = torch.empty(len(labels), num_classes)
    for part in range(5):
        seen, out = fold != part, fold == part
        probe = LogisticRegression.of(features[seen], labels[seen], num_classes)
        with torch.inference_mode():
            found[out] = probe.linear(features[out]).softmax(1)
    return found


def share_found(data: Features, draw: int) -> float:
    """Share of the changed labels among the first LOOKED_AT of the ranking."""
    generator = torch.Generator().manual_seed(draw)
    order = torch.randperm(len(data.labels), generator=generator)
    rows = torch.cat([order[data.labels[order] == c][:PER_CLASS] for c in range(data.num_classes)])
    labels = data.labels[rows].clone()
    wrong = torch.randperm(len(rows), generator=generator)[:FLIPPED]
    labels[wrong] = (labels[wrong] + torch.randint(1, data.num_classes, (FLIPPED,), generator=generator)) % data.num_classes
    features = fit_space(data.pool[:, None], 1).standardise(data.pool[rows])  # (S, D)
    ranking = rank_labels(features, labels, data.num_classes, held_out(features, labels, data.num_classes))
    return len({doubt.row for doubt in ranking[:LOOKED_AT]} & set(wrong.tolist())) / FLIPPED


def main() -> None:
    """Print a line for each set and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits only, under 60 s")
    parser.add_argument("--tune", action="store_true", help="other images and draws: what settings are chosen by")
    options = parser.parse_args()
    sets = {"digits": digits_pixels} | ({} if options.quick else {"Fashion-MNIST": fashion_lite0})
    shares = {}
    for name, load in sets.items():
        data = load(options.tune)
        found = [share_found(data, draw) for draw in (range(100, 105) if options.tune else range(5))]
        shares[name] = round(mean(found), 3)
        print(
            f"{name}: {mean(found):.0%} of the wrong labels in the first {LOOKED_AT} ({', '.join(f'{s:.0%}' for s in found)})"
        )
    finish(Figure("share of the wrong labels found", min(shares.values()), None if options.tune else BAR), shares=shares)


if __name__ == "__main__":
    main()
