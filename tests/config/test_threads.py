"""How threads wait for each other beside other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from paws.config.threads import SPINS_BUSY, SPINS_QUIET

READ = "import paws, os; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"


def waiting(**said: str) -> list[str]:
    """What a fresh process says about waiting, where the user has ``said`` so much."""
    unsaid = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    return subprocess.check_output([sys.executable, "-c", READ], env={**unsaid, **said}, text=True).split()


def _counted(others: int) -> bool:
    """Whether the system counts that many threads that run."""
    told = Path("/proc/loadavg")
    return told.exists() and int(told.read_text(encoding="ascii").split()[3].split("/")[0]) >= others


def test_threads_spin_shortly_where_others_keep_the_cores_busy() -> None:
    command = [sys.executable, "-c", "print('runs', flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)]
    try:
        assert all(other.stdout is not None and other.stdout.readline() == "runs\n" for other in others)
        if not _counted(len(others)):
            pytest.skip("this system does not tell how many threads run")
        assert waiting() == ["PASSIVE", str(SPINS_BUSY)]
    finally:
        for other in others:
            other.kill()
            other.communicate()
    assert waiting()[1] in {str(SPINS_BUSY), str(SPINS_QUIET)}


def test_what_the_user_has_said_is_left_alone() -> None:
    assert waiting(OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "None"]
    assert waiting(GOMP_SPINCOUNT="7") == ["PASSIVE", "7"]
