"""Training on a crowded machine: `python -m benchmarks.crowded [--quick]`.

Images a second of `paws train configs/digits.yaml` with two OpenMP threads, alone and beside two processes that are always
busy, as the package sets threads to wait (passively) and as OpenMP has it where nobody says anything (they spin). Runs of both
ways take turns. The bar beside two busy processes is for two cores; the other one counts only where nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.side_by_side import Figure, finish

ROOT = Path(__file__).parents[1]
CARD = ["configs/digits.yaml", "log.every_steps=5", "optim.epochs=1"]
BUSY = "while True: pass"
SPINNING = {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "300000"}  # what libgomp does where nothing is set
PASSIVE: dict[str, str] = {}


def images_a_second(environment: dict[str, str], steps: int) -> float:
    """Of a training run: the median of its log, without the first rows."""
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "paws", "train", *CARD, f"optim.steps_per_epoch={steps}", f"run_dir={folder}/run"]
        done = {**kept, "OMP_NUM_THREADS": "2", **environment}
        subprocess.run(command, cwd=ROOT, env=done, check=True, capture_output=True, text=True)
        rows = (Path(folder) / "run/metrics.jsonl").read_text(encoding="utf-8")
    rates = [float(rate) for rate in re.findall(r'"images_per_second": ([\d.]+)', rows)]
    return median(rates[1:] or rates)


def busy(count: int) -> ExitStack:
    """``count`` processes that do nothing but take a core; they end with the context."""
    stack = ExitStack()
    for _ in range(count):
        process = subprocess.Popen([sys.executable, "-c", BUSY])
        stack.callback(process.wait)
        stack.callback(process.kill)
    return stack


def main() -> None:
    """Print images a second, both ratios and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pair of short runs for each")
    quick = parser.parse_args().quick
    pairs, steps = (1, 10) if quick else (5, 60)
    found: dict[int, float] = {}
    spread: dict[str, tuple[float, float]] = {}
    for others in (0, 2):
        with busy(others):
            rates = [(images_a_second(PASSIVE, steps), images_a_second(SPINNING, steps)) for _ in range(pairs)]
        ratios = [passive / spinning for passive, spinning in rates]
        found[others], spread[f"beside {others}"] = median(ratios), (min(ratios), max(ratios))
        passive, spinning = (median(side) for side in zip(*rates, strict=True))
        print(f"beside {others} busy processes: {passive:.0f} images/s passive, {spinning:.0f} spinning; {found[others]:.2f} x")
    load = os.getloadavg()[0]
    print(f"load of this machine at the end: {load:.1f}; the figure without busy processes counts where nothing else ran")
    finish(
        Figure("training beside two busy processes, passive over spinning", round(found[2], 2), 5, timing=True),
        Figure("training alone, passive over spinning", round(found[0], 2), 0.95, timing=True),
        spread=spread,
        load=round(load, 1),
    )


if __name__ == "__main__":
    main()
