"""Fine-tuning of a classifier with cross-entropy on the labelled images (arXiv 2104.13963, section 5)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from paws.config.schema import Config, FinetuneRecipe
from paws.data.source import Source
from paws.data.task import Task
from paws.data.views import MultiCrop
from paws.metrics import accuracy
from paws.models import Encoder, classifier_from
from paws.train.results import classifier_result, is_due, logits_of
from paws.train.run import Run
from paws.train.setup import encoder_of, large_view, light_view, source_of, start


def train(run: Run, classifier: nn.Module, source: Source, labels: torch.Tensor) -> None:
    """All steps; ``labels`` (N,) of the training images."""
    labels = labels.to(run.device)
    for batch in run.batches(source):
        with run.autocast():
            _, logits = classifier(batch.views)  # (B, C)
        loss = cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels[batch.indices.to(run.device)])
        run.update(
            loss, cross_entropy=loss, batch_top1=(logits.argmax(1) == labels[batch.indices.to(run.device)]).float().mean()
        )


def recipe(run: Run, config: Config, task: Task) -> dict[str, Any]:
    """Fine-tune the whole network, or a probe alone, then evaluate on the held-out split.

    With a validation split the weights of the best validation epoch are the ones measured and saved as best; without one,
    the last ones. Test labels select nothing.
    """
    settings = config.recipe
    assert isinstance(settings, FinetuneRecipe)
    classifier = classifier_of(config, task, run.device)
    view = large_view(config, task) if settings.augmentation == "full" else light_view(config, task)
    source = source_of(config, task, run.device, views=MultiCrop(view, n_large=1), pool=task.labelled)
    model = start(run, classifier, source, config.optim)
    if settings.probe:
        classifier.backbone.eval()  # a frozen network keeps its statistics

    if len(task.validation):
        run.judge = partial(judge, run, classifier, config, task)
    train(run, model, source, task.train.labels)
    if len(task.validation):
        run.load_best()
    validated = {} if run.best_value is None else {"validation_top1": run.best_value}
    return {**classifier_result(classifier, config, task, run.device), **validated}


def judge(run: Run, classifier: Encoder, config: Config, task: Task) -> None:
    """At the end of an epoch, log the accuracy on the validation split and keep the best weights."""
    if is_due(run, config):
        top1 = accuracy(*logits_of(classifier, config, task, "validation", run.device))
        run.best(top1, evaluation="validation", validation_top1=top1)


def classifier_of(config: Config, task: Task, device: torch.device) -> Encoder:
    """The encoder of the config, its projection head replaced by a classifier; with ``probe`` all else is frozen."""
    settings = config.recipe
    assert isinstance(settings, FinetuneRecipe)
    encoder = encoder_of(config, task, device, synchronise=False)
    classifier = classifier_from(
        encoder,
        len(task.classes),
        classifier=settings.classifier,
        zero_init=settings.zero_init,
        seed=config.seed,
    ).to(device)
    if settings.probe:
        last = [layer for layer in classifier.head.modules() if isinstance(layer, nn.Linear)][-1]
        for parameter in classifier.parameters():
            parameter.requires_grad_(False)
        for parameter in last.parameters():
            parameter.requires_grad_(True)
    return classifier
