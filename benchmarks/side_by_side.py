"""Two ways to do the same work, timed in turn in one process, so that a busy machine slows both alike.

Costs are CPU-seconds of this process (all its threads), which other processes on the same cores hardly move.
"""

from __future__ import annotations

import json
import sys
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


class Figure(NamedTuple):
    """What a benchmark found. ``bar`` is the value to reach, None where a figure is only told.

    ``timing``: the value depends on how busy and how fast the machine is, so that tests do not hold it to its bar.
    """

    name: str
    value: float
    bar: float | None = None
    higher_is_better: bool = True
    timing: bool = False

    @property
    def missed(self) -> bool:
        if self.bar is None:
            return False
        return self.value < self.bar if self.higher_is_better else self.value > self.bar


def finish(figure: Figure, *others: Figure, **more: object) -> None:
    """The end of every benchmark: a line for each bar and, last, one JSON object; exit code 1 where a bar is missed.

    The object has name, value, bar, higher_is_better of ``figure``, ``more``, ``others`` by name, and ``missed``: the names of
    figures that missed their bars, with those of timings apart in ``missed_timings``.
    """
    figures = (figure, *others)
    for name, value, bar, higher, _ in figures:
        if bar is not None:
            print(f"{name}: {value:g}, bar: at {'least' if higher else 'most'} {bar:g}")
    missed = [found for found in figures if found.missed]
    about = {
        **{key: getattr(figure, key) for key in ("name", "value", "bar", "higher_is_better")},
        **more,
        **{found.name: {"value": found.value, "bar": found.bar} for found in others},
        "missed": [found.name for found in missed if not found.timing],
        "missed_timings": [found.name for found in missed if found.timing],
    }
    print(json.dumps(about), flush=True)
    if missed:
        print(f"missed: {', '.join(found.name for found in missed)}", file=sys.stderr)
        raise SystemExit(1)
