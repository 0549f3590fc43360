"""fp16: the schedule waits where the gradient scaler skips an update, resume knows it, and a CPU is refused."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from paws.config.schema import Optim
from paws.data.source import Batch
from paws.methods import Method
from paws.optim import warmup_cosine
from paws.runs.checkpoint import load_latest
from paws.runs.device import precision_on
from paws.runs.log import read_metrics
from paws.train.intervals import Intervals
from paws.train.run import Run
from tests.digits_runs import finish, paws

STEPS, OVERFLOW = 12, {3, 4, 8}


class Numbers:
    """Batches that hold nothing but their step."""

    steps_per_epoch, per_step = STEPS, {"images": 0, "supports": 1}

    def batches(self, steps):
        for step in steps:
            yield Batch([], [torch.zeros(1)], torch.tensor([], dtype=torch.int64), torch.empty(0), step)


class Linear(Method):
    """A sum of weights, whose gradient is infinite at ``OVERFLOW``; an interruption comes before step ``until``."""

    def __init__(self, until):
        self.encoder, self.source, self.until = torch.nn.Linear(3, 1, bias=False), Numbers(), until
        self.weights = []

    def step(self, batch):
        if batch.step == self.until:
            raise KeyboardInterrupt
        loss = (self.encoder.weight * torch.tensor([[1.0, 2.0, 1.0 + batch.step]])).sum()  # fp32, also under autocast
        return loss * (1e36 if batch.step in OVERFLOW else 1), {}  # finite; the gradient is not, times the scale of 65,536

    def after_update(self):
        self.weights.append(self.encoder.weight.detach().clone())


def rate(update: int) -> float:
    return warmup_cosine(update, start_lr=0.0, lr=0.01, final_lr=0.0, warmup_steps=0, total_steps=STEPS)


def train(folder: Path, until: int = STEPS, *, resume: bool = False) -> tuple[list[float], list[torch.Tensor]]:
    """Learning rate and weight of every step, with a scaler that really meets infinite gradients at ``OVERFLOW``."""
    torch.manual_seed(0)
    method, rates = Linear(until), []
    with Run(torch.device("cpu"), folder, "fp16", intervals=Intervals(log=1, save=1), quiet=True, resume=resume) as run:
        run.start(method, Optim(name="sgd", lr=0.01, momentum=0, weight_decay=0, epochs=1))
        run.listener = lambda row: rates.append(row["lr"])
        with suppress(KeyboardInterrupt):
            run.train()
    return rates, method.weights


def test_the_schedule_waits_for_skipped_updates(tmp_path):
    rates, weights = train(tmp_path)
    updates = 0
    for step in range(STEPS):
        assert rates[step] == rate(updates)
        skipped = step in OVERFLOW
        assert step == 0 or torch.equal(weights[step], weights[step - 1]) == skipped
        updates += not skipped
    assert [row["lr"] for row in read_metrics(tmp_path)] == rates
    state = load_latest(tmp_path / "checkpoints")
    assert state["skipped"] == len(OVERFLOW) and state["scaler"]["scale"] == 65536 / 2 ** len(OVERFLOW)


@pytest.mark.parametrize("stop", [3, 4, 6, 9])
def test_a_resumed_run_keeps_the_waiting_schedule(stop, tmp_path):
    rates, weights = train(tmp_path / "whole")
    train(tmp_path / "parts", until=stop)
    more, others = train(tmp_path / "parts", resume=True)
    start = STEPS - len(more)
    assert 0 < start <= stop and more == rates[start:]
    assert all(torch.equal(a, b) for a, b in zip(others, weights[start:], strict=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_fp16_on_a_cpu_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "card.yaml").write_text("run_dir: run\nmachine: {precision: fp16}\n")
    _, err = finish(paws("train", "card.yaml", cwd=tmp_path), code=2)
    assert err == "error: machine.precision=fp16 needs a GPU; on a CPU use machine.precision=fp32, or bf16 where it is fast\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("processor", "fast"), [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({}, "fp32")])
def test_half_is_fp16_on_a_gpu_and_on_a_cpu_what_is_fast_there(processor, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert precision_on("cuda", "half") == "fp16" and precision_on("cpu", "half") == fast
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert precision_on("cpu", "half") == "fp32"
    assert all(precision_on(device, given) == given for device in ("cpu", "cuda") for given in ("fp32", "bf16"))


def test_bf16_on_a_cpu_trains(tmp_path):
    card = {"run_dir": "run", "data": {"labels": {"per_class": 2}}, "support": {"images_per_class": 2}}
    card |= {"optim": {"epochs": 1, "steps_per_epoch": 2, "batch_size": 8}, "machine": {"precision": "bf16"}}
    (tmp_path / "card.yaml").write_text(json.dumps(card))
    finish(paws("train", "card.yaml", cwd=tmp_path))
