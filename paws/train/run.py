"""One training run: device, precision, the loop over steps, log and checkpoints. It knows no method."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paws import distributed
from paws.config.schema import Optim
from paws.data.source import Batch, Source
from paws.errors import InputError
from paws.methods.base import Method
from paws.optim import optimizer_and_rate, restore_optimizer, set_lr
from paws.runs.checkpoint import CheckpointFolder
from paws.runs.console import console, numbers, progress_bar
from paws.runs.device import precision_on
from paws.runs.files import write_text
from paws.runs.folder import check_run_folder, claim, clear_run, holds_run
from paws.runs.lock import run_lock
from paws.runs.log import HELD_OUT, Metrics
from paws.runs.running_means import RunningMeans, diverged
from paws.runs.signals import Interrupted, caught_signals
from paws.train.intervals import Intervals

WIDE = 140  # columns of a terminal that shows every loss beside the bar
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Run:
    """The state of a run: ``start`` it with a method, ``train`` to its end; ``best`` keeps weights on the way.

    A context manager that holds the run folder from ``start`` to its end. Nothing is written before ``start``, so that
    bad input leaves no trace. Without a ``folder`` nothing is written at all (a head trained in memory).
    """

    device: torch.device
    folder: Path | None = None
    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    intervals: Intervals = field(default_factory=Intervals)
    tensorboard: bool = False
    keep: int = 2
    quiet: bool = False
    stored: dict[str, Any] = field(default_factory=dict)  # written into every checkpoint besides the state: config, versions
    files: dict[str, str] = field(default_factory=dict)  # written into the folder before training, by name
    resume: bool = False
    overwrite: bool = False
    listener: Callable[[dict[str, Any]], None] | None = None  # is given every metrics row
    step: int = 0  # finished steps
    skipped: int = 0  # those of them whose update the fp16 scaler left out
    best_value: float | None = None
    per_step: dict[str, int] = field(default_factory=dict)  # images and supports of all ranks in a step
    validate: Callable[[], None] | None = None  # called when an epoch ends, on every rank; may keep the weights by ``best``
    _held: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        if self.precision == "half":
            self.precision = precision_on(self.device.type, self.precision)

    def start(self, method: Method, optim: Optim) -> None:
        """Take the method, its network already on the device, and make its optimiser; restores the state when resuming.

        On many ranks ``method.encoder`` is wrapped; ``model`` is the plain network.
        """
        self.method, self.model, self.steps_per_epoch = method, method.encoder, method.source.steps_per_epoch
        self.total_steps, self.per_step = optim.epochs * self.steps_per_epoch, method.source.per_step
        self.optimizer, self.rate = optimizer_and_rate(self.model, optim, self.steps_per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")
        self.means, self.epoch_means = RunningMeans(), RunningMeans()
        if self.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.checkpoints: CheckpointFolder | None = None
        self.metrics: Metrics | None = None
        if self.folder is not None:
            self._open(self.folder)
        if self.compile:
            self.model.compile()
        if distributed.world_size() > 1 and any(parameter.requires_grad for parameter in self.model.parameters()):
            method.encoder = distributed.over_ranks(self.model, self.device)
            self._held.callback(setattr, method, "encoder", self.model)  # what is wrapped holds the process group

    def train(self) -> None:
        """All steps from where the run stands to its end."""
        for batch in self.batches(self.method.source):
            with self.autocast():
                loss, metrics = self.method.step(batch)
            self.update(loss, **metrics)
            self.method.after_update()

    @property
    def epoch(self) -> int:
        """The epoch (from 0) of the step under way."""
        return self.step // self.steps_per_epoch

    @property
    def ends_epoch(self) -> bool:
        """Whether the step under way is the last of its epoch."""
        return (self.step + 1) % self.steps_per_epoch == 0 or self.step + 1 == self.total_steps

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for the network; the losses leave it by themselves."""
        return torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def batches(self, source: Source) -> Iterator[Batch]:
        """The batches from the run's step to its end; log, checkpoints and signals are seen to between them."""
        self._last_save = self._last_log = time.monotonic()
        with ExitStack() as stack:
            caught = stack.enter_context(caught_signals())
            bar = stack.enter_context(progress_bar(quiet=self.quiet or not distributed.is_main()))
            task = bar.add_task("training", total=self.total_steps, completed=self.step, numbers="")
            steps = range(self.step, self.total_steps)
            for batch in source.batches(steps):
                if self.intervals.agrees_at(self.step) and (number := distributed.largest(max(caught, default=0))):
                    self._stop(number)
                set_lr(self.optimizer, self.rate(self.step - self.skipped))  # the schedule counts updates
                yield batch
                ends_epoch = self.ends_epoch
                if ends_epoch:
                    if self.validate is not None:
                        self._means()  # no weights of a loss that is not finite are kept
                        self.validate()
                    self.epoch_means = RunningMeans()
                self.step += 1
                row = self._log(batch)
                bar.update(task, completed=self.step)
                if row:
                    bar.update(task, numbers=numbers(row, short=console.width < WIDE))
                since = time.monotonic() - self._last_save
                if self.step == self.total_steps or self.intervals.save_is_due(self.step, ends_epoch=ends_epoch, since=since):
                    self.save()
            if (number := distributed.largest(max(caught, default=0))) and self.step < self.total_steps:
                self._stop(number)

    def update(self, loss: Tensor, **metrics: Tensor) -> None:
        """Backward pass and optimiser step; ``metrics`` stay on the device until they are logged."""
        self.scaler.scale(loss).backward()
        scale = self.scaler.get_scale()  # waits for the device if fp16; so does the scaler's step
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped += self.scaler.get_scale() < scale  # it lowers the scale when it meets an infinite gradient
        self.optimizer.zero_grad(set_to_none=True)
        self.means.add(loss=loss, **metrics)
        self.epoch_means.add(loss=loss)

    def epoch_loss(self) -> float:
        """The mean loss of the epoch under way, over all ranks."""
        return distributed.mean(self.epoch_means.sums["loss"]).item() / self.epoch_means.count

    def best(self, value: float, **about: Any) -> bool:
        """Keep the present weights as ``best.pt`` if no ``value`` (higher is better) before was higher; log it anyway."""
        if self.metrics is not None:
            self.metrics.write({"step": self.step + 1, "epoch": self.epoch + 1, **about})
        better = self.best_value is None or value >= self.best_value
        if better:
            self.best_value = value
            if self.checkpoints is not None:
                self.checkpoints.save_best({**self.state(), "step": self.step + 1})
        return better

    def load_best(self) -> None:
        """Put the best weights back into the model, on every rank."""
        distributed.barrier()
        if self.folder is not None:
            self.model.load_state_dict(CheckpointFolder(self.folder / "checkpoints").load_best()["model"])

    def state(self) -> dict[str, Any]:
        """Everything needed to go on bit for bit: the random draws need only the step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "best_value": self.best_value,
            "means": self.means.state(),
            "epoch_means": self.epoch_means.state(),
            "method": self.method.state_dict(),
            "world_size": distributed.world_size(),
            **self.stored,
        }

    def save(self) -> None:
        """Write a checkpoint of the present step, after making sure that the losses up to here are finite."""
        self._means()
        if self.checkpoints is not None:
            epoch, within = divmod(self.step, self.steps_per_epoch)
            self.checkpoints.save(self.step, self.state(), keep=within == 0 and epoch in self.intervals.keep_epochs)
        self._last_save = time.monotonic()

    def finish(self, result: dict[str, Any]) -> None:
        """Write the last metrics row: the shares in ``result``, of the evaluation on the held-out split."""
        if self.metrics is not None:
            shares = {name: value for name, value in result.items() if isinstance(value, float)}
            self.metrics.write({"step": self.step, "epoch": self._epochs(), "evaluation": HELD_OUT, **shares})

    def _open(self, folder: Path) -> None:
        """Take hold of the folder, go on from its newest checkpoint when resuming, and get ready to write on rank 0."""
        checkpoints = CheckpointFolder(folder / "checkpoints", keep=self.keep)
        if distributed.is_main():
            check_run_folder(folder, resume=self.resume, overwrite=self.overwrite)
            self._held.enter_context(run_lock(folder))
            claim(folder, "training")
            if self.overwrite and not self.resume:
                clear_run(folder)
        distributed.barrier()
        state = checkpoints.load_latest() if self.resume and holds_run(folder) else None
        if state is not None:
            self._restore(state)
        distributed.barrier()  # every rank has read before rank 0 writes
        if distributed.is_main():
            for name, text in self.files.items():
                write_text(folder / name, text)
            self.checkpoints = checkpoints
            self.metrics = Metrics(folder, step=self.step, tensorboard=self.tensorboard)
            self._held.callback(self.metrics.close)

    def __enter__(self) -> Run:
        self._held = ExitStack()
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self.model.load_state_dict(state["model"])
            restore_optimizer(self.optimizer, state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{self.folder}: the checkpoint does not fit this config's network: {error}") from error
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.skipped, self.best_value = state["step"], state["skipped"], state["best_value"]
        self.means.restore(state["means"], self.device)
        self.epoch_means.restore(state["epoch_means"], self.device)
        self.method.load_state_dict(state.get("method", {}))  # checkpoints of before 0.2 have none

    def _stop(self, signal_number: int) -> None:
        self.save()
        raise Interrupted(self.step, signal_number)

    def _means(self) -> dict[str, float]:
        """The means since the last row; the one place where the device is waited for."""
        means, broken = self.means.read()
        if distributed.any_rank(bool(broken)):
            last = self.checkpoints.latest_path() if self.checkpoints is not None else None
            raise diverged(broken, self.means.count, self.step, self.optimizer.param_groups[-1]["lr"], last)
        return means

    def _epochs(self) -> int:
        """The epoch (from 1) of the last finished step."""
        return -(-self.step // self.steps_per_epoch)

    def _log(self, batch: Batch) -> dict[str, Any] | None:
        if self.step % self.intervals.log and self.step != self.total_steps:
            return None
        means = self._means()
        now = time.monotonic()
        images = self.means.count * (len(batch.indices) or (len(batch.support[0]) if batch.support else 0))
        row = {
            "step": self.step,
            "epoch": self._epochs(),
            "lr": self.optimizer.param_groups[-1]["lr"],
            **{name: round(value, 8) for name, value in means.items()},
            "images_per_second": round(images * distributed.world_size() / max(1e-9, now - self._last_log), 1),
        }
        self.means, self._last_log = RunningMeans(), now
        if self.metrics is not None:
            self.metrics.write(row)
        if self.listener is not None:
            self.listener(row)
        if distributed.is_main() and not self.quiet and not console.is_terminal and row["step"] % self.steps_per_epoch == 0:
            console.print(f"step {self.step}/{self.total_steps}  {numbers(row)}")
        return row
