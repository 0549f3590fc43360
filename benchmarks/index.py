"""Starting on ImageNet and drawing its support sets, without ImageNet: 1,281,167 synthetic names in 1,000 classes.

The value is what the support batches of 64 ranks cost with ten times the images, relative to one time, interleaved: it
must not grow. The JSON also holds seconds and peak memory (beyond imports) of a fresh process that starts from the cached
index: reads it, compares it with the folder's modification times, makes the labels and the sampler, draws a batch.

    python -m benchmarks.index [--quick]
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES, RANKS, IMAGENET = 1000, 64, 1_281_167
BAR, SECONDS_BAR, MEGABYTES_BAR = 1.15, 2.0, 500.0
LONG_AGO = 10**18  # ns
RECIPE = {"classes_per_batch": 15, "images_per_class": 7, "unique_classes": True, "world_size": RANKS, "seed": 0}


def write_index(root: Path, cache_dir: Path) -> None:
    """The cached index of a folder of ImageNet's size, of which only the class folders exist."""
    import numpy as np

    from paws.data import folder

    classes = tuple(f"n{c:08d}" for c in range(CLASSES))
    for path in (*(root / name for name in classes), root):
        path.mkdir(parents=True, exist_ok=True)
        os.utime(path, ns=(LONG_AGO, LONG_AGO))
    counts = np.full(CLASSES, IMAGENET // CLASSES) + (np.arange(CLASSES) < IMAGENET % CLASSES)
    paths = folder.Paths.of(
        root, [f"{name}/{name}_{i}.JPEG" for name, n in zip(classes, counts, strict=True) for i in range(n)]
    )
    index = folder._Index(classes, counts, paths, dict.fromkeys(["", *classes], LONG_AGO))
    folder._write_cache(folder._cache_file(root, cache_dir), index)


def start(root: str, cache_dir: str) -> None:
    """What a training process does before its first step; prints its figures."""
    from paws.data.datasets import load_dataset
    from paws.data.support import SupportSampler

    before, begin = peak_megabytes(), time.perf_counter()
    files = load_dataset("folder", root, "train", cache_dir=cache_dir)
    sampler = SupportSampler(files.labels, names=files.classes, rank=RANKS - 1, **RECIPE)
    paths = [files.paths[i] for i in sampler.batch(0)[0].tolist()]
    seconds = time.perf_counter() - begin
    assert len(files) == IMAGENET and len(paths) == 105
    figures = {"start_seconds": round(seconds, 3), "start_megabytes": round(peak_megabytes() - before, 1)}
    print(json.dumps({**figures, "torch_megabytes": round(before, 1)}))


def peak_megabytes() -> float:
    """Of this process alone: getrusage would count what its parent held when it started this one."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1000


def started_from_cache(repeats: int) -> dict[str, float]:
    """The slowest and the largest of several fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        root, cache_dir = Path(folder) / "train", Path(folder) / "cache"
        write_index(root, cache_dir)
        command = [sys.executable, "-m", "benchmarks.index", "--start", str(root), str(cache_dir)]
        runs = [json.loads(subprocess.check_output(command).splitlines()[-1]) for _ in range(repeats)]
    return {key: max(run[key] for run in runs) for key in runs[0]}


def growth(rounds: int) -> tuple[float, float]:
    """Cost of the batches of all ranks with 10 x the images over that with 1 x, and the latter per rank in ms."""
    import torch

    from benchmarks.side_by_side import cost_ratio
    from paws.data.support import SupportSampler

    teams = []
    for factor in (10, 1):
        sampler = SupportSampler(torch.arange(factor * IMAGENET) % CLASSES, **RECIPE)
        team = [copy.copy(sampler) for _ in range(RANKS)]
        for rank, member in enumerate(team):
            member.rank = rank
        teams.append(team)
    ten, one = (lambda team=team: [member.batch(step) for step in range(2) for member in team] for team in teams)
    ratio = cost_ratio(ten, one, rounds)
    return ratio.value, ratio.cost_b / (2 * RANKS) * 1e3


def main() -> None:
    from benchmarks.side_by_side import Figure, finish

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--start", nargs=2, metavar=("ROOT", "CACHE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        start(*options.start)
        return
    figures = started_from_cache(1 if options.quick else 5)
    print(f"start from the cached index: {figures['start_seconds']:.2f} s (bar {SECONDS_BAR:g}), ", end="")
    print(f"{figures['start_megabytes']:.0f} MB at its peak (bar {MEGABYTES_BAR:g}) ", end="")
    print(f"on top of the {figures['torch_megabytes']:.0f} MB that importing torch takes")
    value, per_batch = growth(11 if options.quick else 41)
    print(f"support batch of one of {RANKS} ranks: {per_batch:.3f} ms; with 10 x the images {value:.2f} x (bar {BAR:g})")
    finish(
        Figure("support batches with ten times the images, relative cost", round(value, 3), BAR, False, timing=True),
        Figure("start from the cached index, s", figures["start_seconds"], SECONDS_BAR, False, timing=True),
        Figure("start from the cached index, MB", figures["start_megabytes"], MEGABYTES_BAR, False),
        batch_milliseconds=round(per_batch, 3),
        torch_megabytes=figures["torch_megabytes"],
    )


if __name__ == "__main__":
    main()
