"""Running means of the metrics of steps, kept on the device until they are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class Diverged(RuntimeError):
    """A loss became NaN or infinite."""


def diverged(broken: list[str], count: int, step: int, rate: float, last: Path | None) -> Diverged:
    """The error that names what is not finite, where, the ``last`` good checkpoint, and what may help."""
    return Diverged(
        f"{', '.join(broken) or 'a loss on another rank'} is not finite within the {count} steps "
        f"before step {step} (learning rate {rate:.4g}); "
        + (f"the last good checkpoint is {last}; " if last else "there is no checkpoint yet; ")
        + "try a lower optim.lr, a longer optim.warmup_epochs, or machine.precision=fp32"
    )


class RunningMeans:
    """Sums of named scalars over ``count`` steps since the last metrics row."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, **metrics: Tensor) -> None:
        """Count a step that found these scalars; nothing waits for the device."""
        for name, value in metrics.items():
            value = value.detach() if value.device.type == "mps" else value.detach().double()  # no double on mps
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def read(self) -> tuple[dict[str, float], list[str]]:
        """The means, and the names of those that are not finite; waits for the device."""
        means = {name: float(total) / max(1, self.count) for name, total in self.sums.items()}
        return means, [name for name, value in means.items() if not math.isfinite(value)]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"sums": dict(self.sums), "count": self.count}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint's state."""
        self.sums, self.count = {name: value.to(device) for name, value in state["sums"].items()}, state["count"]
