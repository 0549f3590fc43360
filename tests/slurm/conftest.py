"""A real SLURM of two nodes on this machine, started for the tests and ended after them."""

from __future__ import annotations

import os
import shutil
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
    folder = Path(tempfile.mkdtemp(prefix="paws-slurm-"))  # not pytest's, which other sessions may clear away
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([CLUSTER, "start", folder], check=True, stdout=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)
        del os.environ["SLURM_CONF"]
        shutil.rmtree(folder)
