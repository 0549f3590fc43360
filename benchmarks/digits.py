"""Accuracy on digits over seeds of labels and training: `python -m benchmarks.digits [--quick] [--per-class 1 4]`.

Each run is `configs/digits.yaml` with another seed, beside the baselines on the same labels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

from benchmarks.side_by_side import print_result
from paws.cards import load_config
from paws.train import train
from paws.train.compare import baselines

BARS = {1: 88.0, 4: 97.5}


def measure(per_class: int, seeds: range, *, with_baselines: bool, extra: tuple[str, ...] = ()) -> float:
    """Print top-1 of every seed and return PAWS's mean."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            overrides = [f"seed={seed}", f"data.labels.per_class={per_class}", f"run_dir={folder}/run", *extra]
            config = load_config(Path("configs/digits.yaml"), overrides)
            began = time.monotonic()
            top1 = {"PAWS": train(config, quiet=True)["top1"]}
            seconds = time.monotonic() - began
            top1 |= baselines(config) if with_baselines else {}
        for name, value in top1.items():
            found.setdefault(name, []).append(value)
        print(
            f"{per_class} per class, seed {seed}: " + ", ".join(f"{k} {v:.1f}" for k, v in top1.items()),
            f"({seconds:.0f} s)",
            flush=True,
        )
    for name, values in found.items():
        print(f"{per_class} per class, {name}: {mean(values):.1f} ± {stdev(values) if len(values) > 1 else 0:.1f}")
    return mean(found["PAWS"])


def main() -> None:
    """Print the table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, a short run, under 60 s")
    parser.add_argument("--per-class", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 5], help="first and one past the last")
    parser.add_argument("--no-baselines", action="store_true")
    options, extra = parser.parse_known_args()
    if options.quick:
        value = measure(1, range(1), with_baselines=False, extra=("optim.epochs=3", *extra))
    else:
        means = [
            measure(k, range(*options.seeds), with_baselines=not options.no_baselines, extra=tuple(extra))
            for k in options.per_class
        ]
        value = means[0]
    bar = BARS.get(options.per_class[0])
    print_result("digits top-1", round(value, 2), bar or 0.0, higher_is_better=True, per_class=options.per_class[0])


if __name__ == "__main__":
    main()
