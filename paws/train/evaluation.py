"""Evaluation of a training run: figures of the held-out split at its end, and of labelled images alone while it trains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from paws.classifiers.soft_nearest_neighbours import SoftNearestNeighbours
from paws.config.schema import Config
from paws.data.store import Images
from paws.data.task import Task
from paws.methods import Method, method
from paws.methods.build import plain_view
from paws.metrics import accuracy, figures
from paws.models import embed
from paws.train.run import Run
from paws.voting import soft_vote


def title(config: Config) -> str:
    """What a config trains and how that is evaluated, for tables."""
    kind = method(config.recipe.name)
    return f"{kind.title}, {'trained classifier' if kind.classifies else SoftNearestNeighbours.title}"


def evaluate_network(
    encoder: nn.Module, config: Config, task: Task, device: torch.device, *, classifies: bool | None = None
) -> dict[str, Any]:
    """Figures of the held-out split (see ``paws.metrics.figures``), where there is one, and the number of labelled images.

    By the network's logits, or by soft nearest neighbours over the labelled images; ``classifies`` is the method's when absent.
    """
    labelled = {"labelled_images": len(task.labelled)}
    if task.test is None:
        return labelled
    if classifies is None:
        classifies = method(config.recipe.name).classifies
    if classifies:
        scores = embeddings(encoder, config, task, task.test, device, embedding="z")  # (N, C)
    else:
        support = task.train.select(task.labelled)
        query, keys = (embeddings(encoder, config, task, images, device) for images in (task.test, support))
        scores = soft_vote(query, keys, support.labels, len(task.classes), config.evaluate.temperature)
    return {**figures(scores, task.test.labels, task.classes), **labelled}


def leave_one_out(encoder: nn.Module, config: Config, task: Task, device: torch.device) -> dict[str, float]:
    """``loo_top1``: the share of labelled images, in [0, 1], that soft nearest neighbours of the others name rightly.

    Classes have the same weight, so that an image's own, which lacks its vote, is no smaller than others. Empty where a class
    has a single label, which leaves it none.
    """
    labels = task.train.labels[task.labelled]
    if torch.bincount(labels, minlength=len(task.classes)).min() < 2:
        return {}
    support = embeddings(encoder, config, task, task.train.select(task.labelled), device)
    own = torch.arange(len(support))
    p = soft_vote(support, support, labels, len(task.classes), config.evaluate.temperature, balanced=True, own=own)
    return {"loo_top1": accuracy(p, labels)}


def embeddings(
    encoder: nn.Module, config: Config, task: Task, images: Images, device: torch.device, *, embedding: str | None = None
) -> Tensor:
    """Embeddings (N, D) float32 on the CPU of images in their plain view; z, h or backbone, as the config says when absent."""
    view, size = plain_view(config, task), config.evaluate.batch_size
    batches = images.batches(view, batch_size=size, device=device, workers=config.data.workers)
    return embed(encoder, batches, embedding=embedding or config.evaluate.embedding)


def validate(run: Run, trained: Method, encoder: nn.Module, config: Config, task: Task) -> None:
    """At the end of an epoch, log what labelled images say of the weights and keep the best ones; no test label is seen.

    A classifier is judged by its accuracy on the validation split, where there is one. Other networks by leave-one-out soft
    nearest neighbours, or, where a class has a single label and leave-one-out means nothing, by the epoch's training loss,
    among the epochs after ``loss_settles``.
    """
    every, settles = config.evaluate.every_epochs, trained.loss_settles
    if run.step + 1 != run.total_steps and (every is None or (run.epoch + 1) % every):
        return
    if trained.classifies:
        held_out = task.train.select(task.validation)
        top1 = accuracy(embeddings(encoder, config, task, held_out, run.device, embedding="z"), held_out.labels)
        run.best(top1, evaluation="validation", validation_top1=top1)
    elif judged := leave_one_out(encoder, config, task, run.device):
        run.best(judged["loo_top1"], evaluation="leave-one-out", **judged)
    elif run.epoch >= settles or settles >= config.optim.epochs:
        loss = run.epoch_loss()
        run.best(-loss, evaluation="training loss", epoch_loss=loss)
