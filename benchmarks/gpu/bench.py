"""What the parts share: the device, the time that is left, timing, and the results as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch


@dataclass
class Bench:
    """A run of the benchmark on ``device``; ``dry`` makes everything small, ``ends`` is the ``time.monotonic()`` of its end."""

    device: torch.device
    dry: bool
    ends: float
    path: Path  # of the JSON
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Until the promised end."""
        return self.ends - time.monotonic()

    def part(self, name: str, measure: Callable[[], dict[str, Any]], needs: float = 10) -> None:
        """Measure, print and write a part; it is left out where fewer than ``needs`` seconds are left.

        An error is a result, and ends this part alone.
        """
        begun, left = time.monotonic(), self.seconds_left
        if left < needs:
            results: dict[str, Any] = {"left_out": f"{left:.0f} s were left"}
        else:
            try:
                results = measure()
            except Exception as error:
                results = {"error": f"{type(error).__name__}: {error}"[:2000]}
        results["seconds"] = round(time.monotonic() - begun, 1)
        self.found[name] = results
        self.save()
        print(f"{name}: {json.dumps(results)}", flush=True)

    def save(self) -> None:
        """Write what is there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.found, indent=1) + "\n")

    def time(self, work: Callable[[], object], rounds: int = 20, warmup: int = 3) -> float:
        """Median seconds of ``work``; the device is waited for before and after each round."""
        rounds, warmup = (2, 1) if self.dry else (rounds, warmup)
        for _ in range(warmup):
            work()
        seconds = []
        for _ in range(rounds):
            self.wait()
            start = time.perf_counter()
            work()
            self.wait()
            seconds.append(time.perf_counter() - start)
        return median(seconds)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
