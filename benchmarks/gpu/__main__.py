"""Training and embedding on an accelerator, part by part: `python -m benchmarks.gpu [--data FOLDER] [--minutes 8] [--dry]`.

Needs this checkout, torch, torchvision and timm, and the IDX files of Fashion-MNIST in FOLDER (Debian's dataset-fashion-mnist
is found without it). Prints after each part and ends in time: a part that no longer fits is left out. ``--dry`` runs every part
in small on the CPU, to show that the command works; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.accuracy import train_for
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.data import write_as_cifar10
from benchmarks.gpu.embedding import measure_embedding
from benchmarks.gpu.step import compare_views, measure_step
from paws.config.cards import load_config

CARD = Path("configs/cifar10_paws.yaml")
TRAINING = 120.0  # seconds of each training from scratch
SMALL = [  # of a dry run
    "machine.device=cpu",
    "data.labels.per_class=2",
    "optim.batch_size=4",
    "support.images_per_class=1",
    "views.small=1",
    "model={name: small_cnn, output_dim: 16}",
]
RESNET = {False: ((224, 96), (96, 64)), True: ((64, 32),)}  # pixels of large and small views, by whether the run is dry
RESNET_CARD = {
    False: [
        "model={name: resnet50, output_dim: 2048}",
        "views.preset=imagenet",
        "support.views=1",
        "support.images_per_class=7",
        "optim.batch_size=64",
        "machine.precision=bf16",
    ],
    True: ["views.preset=imagenet", "machine.precision=bf16"],
}
EMBEDDED = {
    False: (("tf_efficientnet_lite0", 224), ("vit_small_patch14_dinov2", 224)),
    True: (("test_efficientnet", 32),),
}
WAYS = {  # precision and compilation of the measured steps
    "fp32": ["machine.precision=fp32"],
    "bf16": ["machine.precision=bf16"],
    "bf16, compiled": ["machine.precision=bf16", "machine.compile=true"],
    "fp32, compiled": ["machine.precision=fp32", "machine.compile=true"],
}
BARS = {  # figure: (bar, whether higher is better)
    "share_of_views_loss_optimiser": (0.15, False),
    "bare_over_step": (0.85, True),
    "views_over_pil": (20.0, True),
}


def main() -> None:
    """Measure the parts in turn; the last line holds the figures that have bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--output", type=Path, help="the JSON; docs/results/gpu/CARD.json if absent")
    parser.add_argument("--dry", action="store_true", help="on the CPU, in small")
    given = parser.parse_args()
    if not given.dry and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --dry shows on the CPU that the command works")
    device = torch.device("cpu" if given.dry else "cuda")
    card = "dry run" if given.dry else torch.cuda.get_device_name()
    path = given.output or Path("docs/results/gpu") / f"{card.replace(' ', '-')}.json"
    bench = Bench(device, given.dry, time.monotonic() + 60 * given.minutes, path)
    bench.found |= {"device": card, "torch": str(torch.__version__), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as folder:
        write_as_cifar10(given.data, Path(folder), images=120 if given.dry else None)
        measure(bench, Path(folder))


def measure(bench: Bench, data: Path) -> None:
    """All parts; each training has ``TRAINING`` seconds, and the slow compilations come last."""
    cifar = [f"data.root={data}", *(SMALL if bench.dry else [])]
    if not bench.dry:
        bench.part("tests", lambda: run_tests(bench))
    bench.part("views", lambda: compare_views(bench, load_config(CARD, cifar)))

    def step(way: str, needs: float) -> None:
        config = load_config(CARD, [*cifar, *WAYS[way]])
        bench.part(f"CIFAR-10 card, {way}", lambda: measure_step(bench, config), needs)

    step("fp32", 10)
    step("bf16", 10)
    for labels in (4, 400):
        overrides = [*cifar, f"data.labels.per_class={labels}", "support.images_per_class=16", "support.views=1"]
        overrides += SMALL if bench.dry else ["machine.precision=bf16"]
        work = partial(train_for, bench, CARD, overrides, TRAINING)
        bench.part(f"from scratch, {10 * labels} labels", work, 0 if bench.dry else TRAINING + 20)
    for large, little in RESNET[bench.dry]:
        sizes = [f"views.size={large}", f"views.small_size={little}"]
        config = load_config(CARD, [*cifar, *RESNET_CARD[bench.dry], *sizes])
        bench.part(f"ResNet-50, {large} and {little} pixels, bf16", partial(measure_step, bench, config), 20)
    if not bench.dry:
        step("bf16, compiled", 60)
    for name, size in EMBEDDED[bench.dry]:
        bench.part(f"embedding, {name}", partial(measure_embedding, bench, name, size), 30)
    if not bench.dry:
        step("fp32, compiled", 60)
    report_bars(bench)


def run_tests(bench: Bench) -> dict[str, Any]:
    """The tests marked ``gpu``, in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "filterwarnings=default", "tests/gpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found: dict[str, Any] = {"exit_code": done.returncode, "summary": done.stdout.strip().splitlines()[-1:]}
    return found | ({"output": (done.stdout + done.stderr)[-6000:]} if done.returncode else {})


def report_bars(bench: Bench) -> None:
    """Print each figure that has a bar, and whether it is met."""
    step = bench.found.get("CIFAR-10 card, bf16", {})
    figures = {**step, "views_over_pil": bench.found.get("views", {}).get("ratio")}
    bench.found["bars"] = {}
    for name, (bar, higher) in BARS.items():
        value = figures.get(name)
        met = value is not None and (value >= bar if higher else value <= bar)
        bench.found["bars"][name] = {"value": value, "bar": bar, "higher_is_better": higher, "met": met}
        print(f"{name}: {value}, bar {bar}: {'met' if met else 'missed'}", flush=True)
    bench.save()


if __name__ == "__main__":
    main()
