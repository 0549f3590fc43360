"""What a run is judged by: figures of the held-out split at its end, and of labelled images alone while it trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from paws.config.schema import Config
from paws.data.datasets import ImageSet
from paws.data.task import Task
from paws.evaluate import embed
from paws.metrics import accuracy, figures
from paws.models import Encoder
from paws.train.run import Run
from paws.train.setup import plain_view
from paws.voting import soft_vote


def embeddings(encoder: Encoder, config: Config, task: Task, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) and labels (N,) of a part of the task: labelled, validation, test, or train (all)."""
    chosen = {"labelled": task.labelled, "validation": task.validation}.get(part)
    images = task.test if part == "test" else task.train
    assert images is not None
    rows = torch.arange(len(images)) if chosen is None else chosen
    view, size = plain_view(config, task), config.evaluate.batch_size
    if isinstance(images, ImageSet):
        pixels = images.images
        batches: Iterable[Tensor] = (view(pixels[part].to(device)) for part in rows.split(size))
    else:
        from paws.data.files import plain_batches

        workers = config.data.workers
        batches = plain_batches(images.paths, rows.tolist(), view, batch_size=size, device=device, workers=workers)
    return embed(encoder, batches, embedding=config.evaluate.embedding), images.labels[rows]


def soft_nn_result(encoder: Encoder, config: Config, task: Task, device: torch.device) -> dict[str, Any]:
    """Figures of the held-out split by soft nearest neighbours over the labelled images (see ``paws.metrics.figures``)."""
    labelled = {"labelled_images": len(task.labelled)}
    if task.test is None:
        return labelled
    support, labels = embeddings(encoder, config, task, "labelled", device)
    query, truth = embeddings(encoder, config, task, "test", device)
    p = soft_vote(query, support, labels, len(task.classes), config.evaluate.temperature)
    return {**figures(p, truth, task.classes), **labelled}


def classifier_result(classifier: Encoder, config: Config, task: Task, device: torch.device) -> dict[str, Any]:
    """Figures of the held-out split by a classifier's logits (see ``paws.metrics.figures``)."""
    labelled = {"labelled_images": len(task.labelled)}
    if task.test is None:
        return labelled
    return {**figures(*logits_of(classifier, config, task, "test", device), task.classes), **labelled}


def logits_of(classifier: Encoder, config: Config, task: Task, part: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """A classifier's logits (N, C) and the labels (N,) of a part of the task."""
    on_logits = config.evaluate.model_copy(update={"embedding": "z"})
    return embeddings(classifier, config.model_copy(update={"evaluate": on_logits}), task, part, device)


def is_due(run: Run, config: Config) -> bool:
    """Whether the epoch that ends now is one of ``evaluate.every_epochs``, or the last."""
    every = config.evaluate.every_epochs
    return run.step + 1 == run.total_steps or (every is not None and (run.epoch + 1) % every == 0)


def judge_pretraining(run: Run, encoder: Encoder, config: Config, task: Task, *, changing_epochs: float = 0.0) -> None:
    """At the end of an epoch, log what labelled images say of the weights and keep the best ones; no test label is seen.

    Judged by leave-one-out soft nearest neighbours, or, where a class has a single label and leave-one-out means nothing, by
    the epoch's training loss: among the epochs after the first ``changing_epochs``, in which the loss itself changes.
    """
    if not is_due(run, config):
        return
    if torch.bincount(task.train.labels[task.labelled], minlength=len(task.classes)).min() > 1:
        support, labels = embeddings(encoder, config, task, "labelled", run.device)
        own = torch.arange(len(support))
        p = soft_vote(support, support, labels, len(task.classes), config.evaluate.temperature, own=own)
        top1 = accuracy(p, labels)
        run.best(top1, evaluation="leave-one-out", loo_top1=top1)
    elif run.epoch >= changing_epochs or changing_epochs >= config.optim.epochs:
        loss = run.epoch_loss()
        run.best(-loss, evaluation="training loss", epoch_loss=loss)
