"""Accuracy on digits over seeds of labels and training: `python -m benchmarks.digits [--quick] [--per-class 1 4]`.

Each run is `configs/digits.yaml` with another seed, beside the baselines on the same labels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev

from benchmarks.side_by_side import Figure, finish
from paws.config.cards import load_config
from paws.train import train
from paws.train.baselines import baselines

BARS = {1: 88.0, 4: 97.5}
QUICK_BARS = {1: 80.0}  # of a third of the steps, one seed
QUICK = ("optim.steps_per_epoch=20",)  # as many epochs, a third of the steps


def measure(per_class: int, seeds: range, *, with_baselines: bool, extra: tuple[str, ...] = ()) -> dict[str, float]:
    """Print top-1 in percent of every seed; the means of PAWS, of the baselines, and of the seconds a run took."""
    found: dict[str, list[float]] = {}
    seconds = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            overrides = [f"seed={seed}", f"data.labels.per_class={per_class}", f"run_dir={folder}/run", *extra]
            config = load_config(Path("configs/digits.yaml"), overrides)
            began = time.monotonic()
            top1 = {"PAWS": train(config, quiet=True)["top1"]}
            seconds.append(time.monotonic() - began)
            top1 |= baselines(config) if with_baselines else {}
        for name, value in top1.items():
            found.setdefault(name, []).append(100 * value)
        row = ", ".join(f"{name} {100 * value:.1f}" for name, value in top1.items())
        print(f"{per_class} per class, seed {seed}: {row} ({seconds[-1]:.0f} s)", flush=True)
    for name, values in found.items():
        spread = stdev(values) if len(values) > 1 else 0
        print(f"{per_class} per class, {name}: {mean(values):.1f} ± {spread:.1f}", flush=True)
    return {name: round(mean(values), 2) for name, values in found.items()} | {"seconds": round(max(seconds), 1)}


def main() -> None:
    """Print the table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, a short run, under 60 s")
    parser.add_argument("--per-class", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seeds", type=int, nargs=2, default=[0, 5], help="first and one past the last")
    parser.add_argument("--no-baselines", action="store_true")
    options, given = parser.parse_known_args()
    per_class, seeds, extra = options.per_class, range(*options.seeds), tuple(given)
    if options.quick:
        per_class, seeds, extra = per_class[:1], range(1), (*QUICK, *extra)
    compare = not (options.quick or options.no_baselines)
    means = {k: measure(k, seeds, with_baselines=compare, extra=extra) for k in per_class}
    bars = QUICK_BARS if options.quick else BARS
    found = [Figure(f"digits top-1 in percent, labels per class: {k}", means[k]["PAWS"], bars.get(k)) for k in per_class]
    finish(*found, means=means)


if __name__ == "__main__":
    main()
