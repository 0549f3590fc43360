"""How sure a share is."""

from __future__ import annotations


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share that was measured as ``right`` out of ``of`` (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(right, of).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
