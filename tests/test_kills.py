"""A run killed at any moment and resumed ends with the weights, metrics rows and best checkpoint of one left in peace."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from paws.config.cards import from_mapping
from paws.config.schema import Config
from paws.seeds import python_random
from tests.digits_runs import assert_same_run
from tests.ranks import context

MOMENTS = ("during a write", "during evaluation", "anywhere", "anywhere", "anywhere")


def config(recipe: str, folder: Path, run: str) -> Config:
    """Some 40 steps with a checkpoint at every third; leave-one-out, or validation when fine-tuning, chooses the best."""
    values = {
        "seed": 1,
        "run_dir": str(folder / run),
        "recipe": {"name": recipe},
        "data": {"labels": {"per_class": 4}},
        "support": {"images_per_class": 2},
        "model": {"output_dim": 8},
        "optim": {"name": "adamw", "lr": 1e-3, "epochs": 4, "steps_per_epoch": 10, "batch_size": 16},
        "checkpoint": {"every_steps": 3},
        "log": {"every_steps": 4},
    }
    if recipe == "finetune":
        for name, rows in (("labelled.txt", range(60)), ("validation.txt", range(1000, 1100))):
            (folder / name).write_text("".join(f"{row}\n" for row in rows))
        values["data"] = {"labels": {"file": str(folder / "labelled.txt")}, "validation": str(folder / "validation.txt")}
        values["recipe"]["classifier"] = "backbone"
    return from_mapping(values)


def train(config: Config) -> None:
    import torch

    from paws.train import train

    torch.set_num_threads(1)
    train(config, resume=True, quiet=True)


def start(config: Config) -> BaseProcess:
    process = context.Process(target=train, args=(config,), daemon=True)
    process.start()
    return process


@pytest.fixture(scope="module", params=["paws", "finetune"])
def peaceful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, float]:
    """The recipe, the folder of its uninterrupted run, and how long that took."""
    folder = tmp_path_factory.mktemp(request.param)
    start(config(request.param, folder, "first")).join()  # imports
    begin = time.monotonic()
    process = start(config(request.param, folder, "peaceful"))
    process.join()
    assert process.exitcode == 0
    assert_same_run(folder / "peaceful", folder / "first")
    assert (folder / "peaceful" / "checkpoints" / "best.pt").exists()
    return request.param, folder, time.monotonic() - begin


def await_moment(moment: str, process: BaseProcess, run: Path, delay: float) -> None:
    """Return at the moment to kill, or when the run has ended before it."""
    checkpoints = run / "checkpoints"
    if moment == "anywhere":
        process.join(delay)
    elif moment == "during evaluation":
        last = checkpoints / "step-00000040.pt"
        while process.is_alive() and not last.exists():
            time.sleep(0.001)
    else:
        writes = 1 + int(1e6 * delay) % 14
        while process.is_alive() and len(list(checkpoints.glob("step-*.pt"))) == 0 and writes > 2:
            time.sleep(0.001)
        while process.is_alive() and not list(checkpoints.glob(".*.tmp")):
            time.sleep(0.001)


def killed_and_resumed(recipe: str, folder: Path, name: str, moment: str, delay: float) -> str:
    """Where the kill struck."""
    settings = config(recipe, folder, name)
    run = settings.run_dir
    process = start(settings)
    await_moment(moment, process, run, delay)
    alive = process.is_alive()
    process.kill()
    process.join()
    struck = "after the end"
    if alive:
        writing = list((run / "checkpoints").glob(".*.tmp")) if run.exists() else []
        trained = (run / "checkpoints" / "step-00000040.pt").exists()
        struck = "a write" if writing else "evaluation" if trained else "training" if run.exists() else "start-up"
    process = start(settings)
    process.join()
    assert process.exitcode == 0
    assert_same_run(run, folder / "peaceful")
    return struck


def kills(peaceful: tuple[str, Path, float], count: int) -> Counter[str]:
    """Where ``count`` kills struck; one that came after the end of its run is made up for by another."""
    recipe, folder, duration = peaceful
    random = python_random(count, "kills", recipe)
    struck: Counter[str] = Counter()
    attempts = itertools.count()
    while struck.total() - struck["after the end"] < count:
        i, delay = next(attempts), random.uniform(0, duration)
        struck[killed_and_resumed(recipe, folder, f"run{count}-{i}", MOMENTS[i % len(MOMENTS)], delay)] += 1
    return struck


def test_five_kills(peaceful: tuple[str, Path, float]):
    count = 3 if peaceful[0] == "finetune" else 2
    assert kills(peaceful, count).total() >= count


@pytest.mark.slow
def test_a_hundred_kills(peaceful: tuple[str, Path, float]):
    struck = kills(peaceful, 50)  # of each recipe
    print(dict(struck))
    assert struck["a write"] >= 1
    assert struck["evaluation"] >= 1
    assert struck["training"] >= 10
