"""Small digits runs started as a user would, and what two runs must have in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from paws.checkpoint import load_latest

ROOT = Path(__file__).parent.parent
CARD = """
seed: 3
run_dir: run
data: {labels: {per_class: 4}}
support: {images_per_class: 4}
model: {output_dim: 16}
optim: {name: adamw, lr: 1.0e-3, epochs: 2, steps_per_epoch: 20, batch_size: 16}
checkpoint: {every_steps: 5}
log: {every_steps: 5}
"""


def paws(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """Start ``paws ARGUMENTS`` in a folder, one thread for each process."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.Popen(
        [sys.executable, "-m", "paws", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, code: int = 0, timeout: float = 300) -> tuple[str, str]:
    """Wait for a process that must end with ``code``; what it wrote."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == code, f"exit code {process.returncode}, not {code}\n{out}\n{err}"
    return out, err


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 120) -> Any:
    """The condition's first true value; AssertionError naming ``what`` after that many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


def rows(run: Path) -> list[dict[str, Any]]:
    """Metrics rows without what a clock measured."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_second"} for line in lines]


def assert_same_run(run: Path, expected: Path) -> None:
    """Weights, optimiser state, metrics rows, best checkpoint and result are equal bit for bit."""
    ours, theirs = load_latest(run / "checkpoints"), load_latest(expected / "checkpoints")
    assert ours is not None
    assert theirs is not None
    assert_equal(ours, theirs)
    assert rows(run) == rows(expected)
    assert json.loads((run / "result.json").read_text()) == json.loads((expected / "result.json").read_text())
    best = [folder / "checkpoints" / "best.pt" for folder in (run, expected)]
    assert best[0].exists() == best[1].exists()
    if best[0].exists():
        assert_equal(*(torch.load(path, weights_only=True) for path in best))


def assert_equal(ours: Any, theirs: Any, where: str = "state") -> None:
    """Nested states are equal; the config's text may differ in the run folder."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for key in ours.keys() - {"config"}:
            assert_equal(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for i, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(left, right, f"{where}[{i}]")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where
