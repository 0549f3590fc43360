"""PAWS from scratch within a given time: test top-1 against steps."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.bench import Bench
from paws.config.cards import load_config
from paws.methods import method
from paws.methods.build import task_of
from paws.train.evaluation import evaluate_network
from paws.train.run import Run

CURVE = 8  # evaluations of a run


def train_for(bench: Bench, card: str, overrides: list[str], seconds: float) -> dict[str, Any]:
    """Train for about ``seconds`` and report test top-1 along the way; nothing is selected by it.

    The schedule must end with the time, so the number of steps comes from a few timed ones.
    """
    trial = load_config(card, [*overrides, "optim.epochs=1", "optim.steps_per_epoch=1", "optim.warmup_epochs=0"])
    task = task_of(trial)
    rate = _seconds_per_step(bench, trial, task)
    per_epoch = 2 if bench.dry else max(1, int(0.92 * seconds / rate / CURVE))
    epochs = 2 if bench.dry else CURVE
    config = load_config(
        card, [*overrides, f"optim.epochs={epochs}", f"optim.steps_per_epoch={per_epoch}", "optim.warmup_epochs=0.5"]
    )
    machine, curve, begun = config.machine, [], time.monotonic()
    paws = method("paws").build(config, task, bench.device)
    run = Run(
        bench.device, precision=machine.precision, channels_last=machine.channels_last, compile=machine.compile, quiet=True
    )
    encoder = paws.encoder

    def evaluate() -> None:
        top1 = evaluate_network(encoder, config, task, bench.device)["top1"]
        curve.append({"step": run.step + 1, "seconds": round(time.monotonic() - begun, 1), "top1": round(top1, 4)})

    with run:
        run.validate = evaluate
        run.start(paws, config.optim)
        run.train()
    return {"labels": len(task.labelled), "steps": run.total_steps, "seconds_per_step": round(rate, 4), "curve": curve}


def _seconds_per_step(bench: Bench, config: Any, task: Any) -> float:
    paws = method("paws").build(config, task, bench.device)
    machine = config.machine
    with Run(bench.device, precision=machine.precision, channels_last=machine.channels_last, quiet=True) as run:
        run.start(paws, config.optim)
        steps = iter(range(10**9))

        def step() -> None:
            batch = next(iter(paws.source.batches([next(steps)])))
            with run.autocast():
                loss, metrics = paws.step(batch)
            run.update(loss, **metrics)

        return bench.time(step, rounds=10)
