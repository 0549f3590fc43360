"""What many ranks cost: `python -m benchmarks.ranks [--quick]`, gloo on this machine.

First the exchange of the support set of the ImageNet card (105 rows of 2048 numbers on each rank), forward and backward, on
2, 4 and 8 ranks: bytes over the loopback beside what docs/scaling.md has on paper. Then a training step of the digits card
on two ranks beside one, in CPU-seconds of one rank: what DDP and the exchange add to the work.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.multiprocessing

from benchmarks.side_by_side import Figure, cpu_seconds, finish
from paws import distributed
from paws.data.source import Batch
from paws.data.support import support_labels
from paws.models import build_encoder
from paws.models.batch_norm import convert_sync_batchnorm
from paws.train.run import Run

ROWS, DIMENSIONS = 105, 2048


def on_ranks(call: Callable[..., Any], world_size: int, *args: Any) -> Any:
    """What ``call(*args)`` returns on rank 0 of ``world_size`` processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    results = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_rank, (world_size, port, results, call, args), nprocs=world_size)
    return results.get()


def _rank(rank: int, world_size: int, port: int, results: Any, call: Callable[..., Any], args: Any) -> None:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    torch.set_num_threads(1)
    with distributed.init("cpu"):
        value = call(*args)
        if rank == 0:
            results.put(value)


def loopback_bytes() -> int:
    """Bytes that the loopback has received since the machine started."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def _settled_bytes() -> int:
    """The loopback's count while no rank sends."""
    distributed.barrier()
    count = loopback_bytes()
    distributed.barrier()
    return count


def exchange(rounds: int) -> tuple[float, float, float]:
    """Megabytes that each rank receives for a gather and its backward pass, and seconds for both."""
    support = torch.randn(ROWS, DIMENSIONS, requires_grad=True)
    distributed.gather(support).sum().backward()
    received, begin = [0, 0], time.perf_counter()
    for _ in range(rounds):
        start = _settled_bytes()
        gathered = distributed.gather(support)
        between = _settled_bytes()
        gathered.sum().backward()
        received[0] += between - start
        received[1] += _settled_bytes() - between
    scale = 1e6 * rounds * distributed.world_size()
    return received[0] / scale, received[1] / scale, (time.perf_counter() - begin) / rounds


class _Ready:
    """A source of the same digits-sized batch again and again."""

    steps_per_epoch, smoothing, num_classes = 10**9, 0.1, 10
    per_step = {"images_per_step": 256, "supports_per_step": 40}  # noqa: RUF012

    def __init__(self) -> None:
        ranks = distributed.world_size()
        self.labels = support_labels(10, 4, 1, world_size=ranks)
        views = [torch.randn(256, 1, 8, 8) for _ in range(2)]
        self.batch = Batch(views, [torch.randn(40, 1, 8, 8)], torch.arange(256), torch.arange(10))

    def batches(self, steps: range) -> Any:
        for _ in steps:
            yield self.batch


def step_seconds(steps: int) -> tuple[float, float]:
    """Median CPU-seconds (of one rank, all its threads) and seconds of a PAWS step on 256 images per rank, digits card."""
    from paws.config.schema import Optim
    from paws.methods.paws import Paws, PawsSettings

    encoder = convert_sync_batchnorm(build_encoder("small_cnn", output_dim=128, in_channels=1))
    run, source, costs, seconds = Run(torch.device("cpu"), quiet=True), _Ready(), [], []
    run.start(Paws(encoder, source, PawsSettings()), Optim(name="adamw", lr=1e-3, weight_decay=0.0))  # type: ignore[arg-type]
    for _ in range(steps):
        run.total_steps = run.step + 2
        begin = time.perf_counter()
        costs.append(cpu_seconds(run.train) / 2)
        seconds.append((time.perf_counter() - begin) / 2)
    return median(costs), median(seconds)


def main() -> None:
    """Print the table and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    quick = parser.parse_args().quick
    paper = ROWS * DIMENSIONS * 4 / 1e6
    print("ranks   gather: MB received by each, paper   backward: MB received by each, paper   ms for both")
    for ranks in (2, 4, 8):
        forward, backward, seconds = on_ranks(exchange, ranks, 5 if quick else 30)
        share = (ranks - 1) * paper
        print(f"{ranks:5}   {forward:27.2f}, {share:5.2f}   {backward:29.2f}, {2 * share:5.2f}   {1000 * seconds:11.1f}")
    (one, wall_one), (two, wall_two) = (on_ranks(step_seconds, ranks, 6 if quick else 40) for ranks in (1, 2))
    print(f"a step of 256 digits per rank, CPU-ms of each rank: {1000 * one:.1f} on one rank, {1000 * two:.1f} on two")
    print(f"the same by the clock, ms: {1000 * wall_one:.1f} on one rank, {1000 * wall_two:.1f} on two")
    finish(Figure("CPU-seconds of a step on each of two ranks over one", round(two / one, 3), None, False, timing=True))


if __name__ == "__main__":
    main()
