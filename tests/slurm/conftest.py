"""A real SLURM of two nodes on this machine, started for the tests and ended after them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cluster"


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if os.getuid() != 0 or shutil.which("slurmctld") is None or shutil.which("mariadbd") is None:
        pytest.fail("the test cluster needs root and SLURM: run `make test-slurm`, which installs it")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o711)  # the database runs as a user of its own
    former = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        subprocess.run([CLUSTER, "start", folder], check=True, stdout=subprocess.DEVNULL)
        yield
    finally:
        subprocess.run([CLUSTER, "stop", folder], check=True)
        if former is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = former
