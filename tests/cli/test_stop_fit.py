"""Ctrl-C during a fit: it ends with one line that says how to go on, and what is finished is kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import TINY, write_patterns
from tests.digits_runs import finish, paws, wait_until


@pytest.mark.parametrize("moment", ["checked.json", "features/views.json"])
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, tiny_weights: Path, moment: str) -> None:
    images = write_patterns(tmp_path)
    labels = ["--labels", tmp_path / "labels.csv", "-o", tmp_path / "run"]
    backbone = ["--backbone", TINY, "--weights", tiny_weights, "--image-size", "32", "--views", "1", "--workers", "0"]
    started = paws("fit", images, *labels, *backbone, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "run" / moment).exists(), moment)
    os.kill(started.pid, signal.SIGINT)
    _, err = finish(started, code=130)
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert (tmp_path / "run" / "checked.json").exists()
    assert not (tmp_path / "run" / "predictions.csv").exists()
