"""Two ways to do the same work, timed in turn in one process, so that a busy machine slows both alike.

Costs are CPU-seconds of this process (all its threads), which other processes on the same cores hardly move.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import NamedTuple


class Ratio(NamedTuple):
    """cost(a) / cost(b): the median over rounds and its quartiles, and the median cost of each in CPU-seconds."""

    value: float
    spread: tuple[float, float]
    cost_a: float
    cost_b: float


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def cost_ratio(a: Callable[[], object], b: Callable[[], object], rounds: int, warmup: int = 1) -> Ratio:
    """Runs a and b in turn (the order alternates) and compares their CPU-seconds round by round."""
    for _ in range(warmup):
        a(), b()
    costs = []
    for i in range(rounds):
        if i % 2:
            cost_b, cost_a = cpu_seconds(b), cpu_seconds(a)
        else:
            cost_a, cost_b = cpu_seconds(a), cpu_seconds(b)
        costs.append((cost_a, cost_b))
    ratios = [cost_a / cost_b for cost_a, cost_b in costs]
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return Ratio(median(ratios), (low, high), *(median(side) for side in zip(*costs, strict=True)))


def print_result(name: str, value: float, bar: float | None, *, higher_is_better: bool, **more: object) -> None:
    """The last line of every benchmark: one JSON object with at least name, value, bar, higher_is_better.

    ``bar`` is None where a figure is only told.
    """
    print(json.dumps({"name": name, "value": value, "bar": bar, "higher_is_better": higher_is_better, **more}))
