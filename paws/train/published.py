"""Evaluation of checkpoints in the format of the published code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from paws.config.schema import Config
from paws.errors import InputError
from paws.methods.build import task_of
from paws.models import build_classifier, build_encoder
from paws.models.weights import assign
from paws.runs.device import device_type
from paws.suncet import PUBLISHED, fetch, read_checkpoint
from paws.train.evaluation import evaluate_network


def evaluate_checkpoint(source: str, config: Config, *, allow_partial: bool = False) -> dict[str, Any]:
    """Figures of a published checkpoint, a file or a name of ``PUBLISHED``, on the held-out images of ``config``.

    A fine-tuned one is measured by its classifier, others by soft nearest neighbours over the labelled images. With
    ``allow_partial`` tensors that do not fit keep their random start, and are counted.

    Raises:
        InputError: a file that cannot be read or does not fit ``config.model``, or data without held-out images.
    """
    path = Path(source).expanduser()
    weights = read_checkpoint(path if path.is_file() else fetch(source))
    task, device, model = task_of(config), torch.device(device_type(config.machine.device)), config.model
    if task.test is None:
        raise InputError(f"data.root={config.data.root}: has no held-out images (val/ or test/) to evaluate on")
    fine_tuned = "head.fc2.weight" in weights and "head.fc3.weight" not in weights
    shared: dict[str, Any] = {"hidden_dim": model.hidden_dim, "in_channels": task.info.channels, "seed": config.seed}
    encoder = (
        build_classifier(model.name, len(task.classes), **shared)
        if fine_tuned
        else build_encoder(model.name, output_dim=model.output_dim, prediction_head=model.prediction_head, **shared)
    )
    left = assign(encoder, weights, path, allow_partial=allow_partial)
    figures = evaluate_network(encoder.to(device), config, task, device, classifies=fine_tuned)
    if known := PUBLISHED.get(path.name.removesuffix(".pth.tar")):
        figures["published_top1"] = known.top1 / 100
    if left:
        figures["left_random"] = len(left)
    return figures
