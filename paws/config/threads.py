"""How many threads and processes work, and how they wait for each other: chosen here for every verb. Without torch.

OpenMP's threads, which torch computes with, spin while they wait. Beside other busy processes a thread that spins takes the
core from the one it waits for. They sleep here instead (``OMP_WAIT_POLICY=PASSIVE``), which must be said before torch is
loaded; what the user has set is left alone. onnxruntime's threads do not spin either (`paws.models.runtime.session`), and torch
gives a process that loads data one thread.
"""

from __future__ import annotations

import os

MOST_WORKERS = 8


def wait_passively() -> None:
    """Let OpenMP's threads sleep while they wait; without effect once torch is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE":
        os.environ.setdefault("GOMP_SPINCOUNT", "0")  # GNU's OpenMP


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Processes to decode images with: none on two cores, where they would only take turns with the network."""
    return 0 if cores() <= 2 else min(MOST_WORKERS, cores() // 2)
