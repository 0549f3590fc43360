"""Small digits runs started as a user would, and what two runs must have in common."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from paws.config.schema import Config
from paws.runs.checkpoint import load_latest
from tests.ranks import context, environment, free_port

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


class Started:
    """``paws ARGUMENTS`` in a process of its own that has torch already, with one thread; see `paws`."""

    def __init__(self, arguments: tuple[str | Path, ...], cwd: Path, variables: dict[str, str]) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in environment(0, 1, 1)}
        self.written = Path(tempfile.mkdtemp(dir=cwd, prefix=".output-"))
        self.process = context.Process(
            target=_command_line,
            args=([str(a) for a in arguments], cwd, {**kept, "OMP_NUM_THREADS": "1", **variables}, self.written),
        )
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def wait(self, timeout: float = 600) -> int | None:
        """The exit code (minus the signal's number where one ended it); the process is killed after the timeout."""
        self.process.join(timeout)
        self.process.kill()
        self.process.join()
        return self.process.exitcode

    def output(self) -> tuple[str, str]:
        """What it has written on stdout and stderr."""
        return (self.written / "out").read_text(), (self.written / "err").read_text()


def _command_line(arguments: list[str], cwd: Path, variables: dict[str, str], written: Path) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(written / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    torch.set_num_threads(1)
    from paws.cli import main

    sys.argv = ["paws", *arguments]
    main()


def paws(*arguments: str | Path, cwd: Path, **variables: str) -> Started:
    """Start the command line in a folder as a user would."""
    return Started(arguments, cwd, variables)


def finish(started: Started, *, code: int = 0, timeout: float = 600) -> tuple[str, str]:
    """Wait for a process that must end with ``code``; what it wrote."""
    ended = started.wait(timeout)
    out, err = started.output()
    assert ended == code, f"exit code {ended}, not {code}\n{out}\n{err}"
    return out, err


def paws_on_ranks(world_size: int, *arguments: str | Path, cwd: Path) -> list[Started]:
    """Start the command line as many times as there are ranks, as torchrun would."""
    port = free_port()
    return [paws(*arguments, cwd=cwd, **environment(rank, world_size, port)) for rank in range(world_size)]


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 600, every: float = 0.01) -> Any:
    """The condition's first true value; AssertionError naming ``what`` after that many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds} s")


def rows(run: Path) -> list[dict[str, Any]]:
    """Metrics rows without what a clock measured."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "images_per_second"} for line in lines]


def summary(run: Path) -> dict[str, Any]:
    """The summary of a run without what a clock measured."""
    return {k: v for k, v in json.loads((run / "summary.json").read_text()).items() if k != "wall_seconds"}


def assert_same_run(run: Path, expected: Path) -> None:
    """Weights, optimiser state, metrics rows, best checkpoint and summary are equal bit for bit."""
    ours, theirs = load_latest(run / "checkpoints"), load_latest(expected / "checkpoints")
    assert ours is not None
    assert theirs is not None
    assert_equal(ours, theirs)
    assert rows(run) == rows(expected)
    assert summary(run) == summary(expected)
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


def whole_and_killed(config: Callable[..., Config], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train ``folder``/whole at once and ``folder``/parts as if it had been killed after its second step: both are equal.

    ``config(run folder, *overrides)`` is the card. The result of the second one and its last state.
    """
    from paws.train import train  # here: processes of other tests begin with this module

    train(config(folder / "whole"), quiet=True)
    parts = folder / "parts"
    train(config(parts, "checkpoint.every_steps=1", "checkpoint.keep=9"), quiet=True)
    for path in (parts / "checkpoints").glob("step-*"):
        if int(path.stem[5:13]) > 2:
            path.unlink()
    result = train(config(parts), resume=True, quiet=True)
    assert_same_run(parts, folder / "whole")
    state = load_latest(parts / "checkpoints")
    assert state is not None
    return result, state
