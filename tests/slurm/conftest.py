"""A real SLURM of two nodes on this machine, started for the tests and ended after them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cluster"


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    if os.getuid() != 0 or shutil.which("slurmctld") is None or shutil.which("mariadbd") is None:
        pytest.fail("the test cluster needs root and SLURM: run `make test-slurm`, which installs it")
    # not in pytest's folder, which other sessions may clear away; and where the database's own user may go
    folder = Path(tempfile.mkdtemp(prefix="paws-slurm-", dir="/tmp"))
    former = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated"))  # so that the cluster is ended then, too
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([CLUSTER, "start", folder], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True, stdin=subprocess.DEVNULL)
        signal.signal(signal.SIGTERM, former)
        del os.environ["SLURM_CONF"]
        shutil.rmtree(folder)
