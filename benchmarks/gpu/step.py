"""The training step: seconds, images a second, the share of views, loss and optimiser, the ratio to the bare network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.data import pil_images_per_second
from paws.config.schema import Config
from paws.data.source import Batch
from paws.losses import paws_loss
from paws.methods import method
from paws.methods.build import task_of
from paws.methods.paws import Paws
from paws.train.run import Run


def measure_step(bench: Bench, config: Config) -> dict[str, Any]:
    """Seconds of the whole step of a card on its own data, of its parts, and of forward and backward of the network alone."""
    task, machine = task_of(config), config.machine
    paws = method("paws").build(config, task, bench.device)
    assert isinstance(paws, Paws)
    run = Run(
        bench.device, precision=machine.precision, channels_last=machine.channels_last, compile=machine.compile, quiet=True
    )
    with run:
        run.start(paws, config.optim)
        steps = iter(range(10**9))
        source = paws.source

        def make() -> Batch:
            return next(iter(source.batches([next(steps)])))

        def step(batch: Batch) -> None:
            with run.autocast():
                loss, metrics = paws.step(batch)
            run.update(loss, **metrics)

        batch = make()
        views = [*batch.support, *batch.views]
        with torch.no_grad(), run.autocast():
            _, z = paws.encoder(views)
        cotangent = torch.randn_like(z)

        def bare() -> None:
            with run.autocast():
                _, out = paws.encoder(views)
            out.backward(cotangent)
            run.optimizer.zero_grad(set_to_none=True)

        whole = bench.time(lambda: step(make()))
        ready = bench.time(lambda: step(batch))
        alone = bench.time(bare)
        parts = {
            "views": bench.time(make),
            "loss": bench.time(_loss(paws, batch, z.float())),
            "optimiser": bench.time(_optimiser(run, paws.encoder)),
        }
    images = len(batch.indices)
    return {
        "step_ms": round(1000 * whole, 2),
        "images_per_second": round(images / whole),
        "ready_made_step_ms": round(1000 * ready, 2),
        "bare_ms": round(1000 * alone, 2),
        "bare_over_step": round(alone / whole, 3),
        **{f"{name}_ms": round(1000 * seconds, 3) for name, seconds in parts.items()},
        "share_of_views_loss_optimiser": round(sum(parts.values()) / whole, 3),
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if bench.device.type == "cuda" else None,
    }


def _loss(paws: Paws, batch: Batch, z: Tensor) -> Any:
    """Forward and backward of the loss on ready-made embeddings."""
    source, supports, images = paws.source, sum(map(len, batch.support)), len(batch.indices)
    labels = source.labels.to(z.device)

    def work() -> None:
        leaf = z.detach().requires_grad_()
        view1, view2 = z[supports:].split(images)[:2]
        losses = paws_loss(
            leaf[supports:],
            leaf[:supports],
            torch.cat([view2, view1]),
            z[:supports],
            labels,
            num_classes=source.num_classes,
            smoothing=source.smoothing,
        )
        sum(losses).backward()

    return work


def _optimiser(run: Run, encoder: nn.Module) -> Any:
    """A step of the optimiser on gradients that are there."""
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]

    def work() -> None:
        for parameter in parameters:
            parameter.grad = parameter.detach() * 1e-8
        run.optimizer.step()

    return work


def compare_views(bench: Bench, config: Config) -> dict[str, Any]:
    """Images a second of which 2 + 6 views are made: on the device, and by PIL on all cores of the host."""
    paws = method("paws").build(config, task_of(config), bench.device)
    views = paws.source.bank
    rows = paws.source.indices(0)
    empty = torch.empty(0, dtype=torch.int64)
    steps = iter(range(10**9))
    seconds = bench.time(lambda: views.views((rows, empty), (0, next(steps), 0)))
    ours = len(rows) / seconds
    theirs, cores = pil_images_per_second(0.2 if bench.dry else 4.0)
    return {
        "images_per_second": round(ours),
        "pil_images_per_second": round(theirs),
        "pil_cores": cores,
        "ratio": round(ours / theirs, 1),
    }
