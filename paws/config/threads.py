"""How many threads and processes work, and how they wait for each other: chosen here for every verb. Without torch.

OpenMP's threads, which torch computes with, spin while they wait. Beside other busy processes a thread that spins takes the
core from the one it waits for. Here they sleep instead (``OMP_WAIT_POLICY=PASSIVE``), with GNU's OpenMP after a spin, short
where other processes run and long enough for the gaps within a training step where none does. That must be said before torch
is loaded; what the user has set is left alone. What is computed does not depend on it. onnxruntime's threads do not spin
either (`paws.models.runtime.session`), and torch gives a process that loads data one thread.
"""

from __future__ import annotations

import os

MOST_WORKERS = 8
SPINS_QUIET, SPINS_BUSY = 30_000, 1_000  # of a thread before it sleeps, about 1 ms and 40 us: `python -m benchmarks.crowded`


def wait_passively() -> None:
    """Let OpenMP's threads soon sleep while they wait; without effect once torch is loaded."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ["OMP_WAIT_POLICY"].upper() == "PASSIVE":
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS_BUSY if crowded() else SPINS_QUIET))  # GNU's OpenMP


def crowded() -> bool:
    """Whether other processes run now on cores that this one may use; yes where the system (any but Linux) does not tell."""
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            running = int(file.read().split()[3].split("/")[0])  # threads that run or wait for a core, this one too
    except (OSError, ValueError, IndexError):
        return True
    return running < 1 or running - 1 + cores() > (os.cpu_count() or 1)  # some sandboxes count nothing


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers() -> int:
    """Processes to decode images with: none on two cores, where they would only take turns with the network."""
    return 0 if cores() <= 2 else min(MOST_WORKERS, cores() // 2)
