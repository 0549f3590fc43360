"""Baselines on the labels of a run: classical methods on pixels, and the same network trained on the labels alone."""

from __future__ import annotations

import torch

from paws.config.schema import Config
from paws.data.store import ImageSet
from paws.data.task import Task
from paws.errors import InputError
from paws.evaluate import frozen_baselines
from paws.methods.build import task_of
from paws.methods.finetune import Finetune, FinetuneSettings
from paws.metrics import accuracy
from paws.train.evaluation import evaluate_network
from paws.train.run import Run

SUPERVISED_STEPS = 300


def check_comparable(config: Config) -> None:
    """Raise InputError for a dataset that ``baselines`` does not take."""
    if config.data.dataset == "folder":
        raise InputError("--compare works on small datasets in memory, not on data.dataset=folder; leave it out")


def baselines(config: Config) -> dict[str, float]:
    """Top-1 in [0, 1] on the held-out split: logistic regression and LabelSpreading on pixels, and a supervised network.

    Raises:
        InputError: the dataset is a folder of image files.
    """
    check_comparable(config)
    task = task_of(config)
    assert isinstance(task.train, ImageSet) and isinstance(task.test, ImageSet)
    pixels, test_pixels = (part.images.flatten(1).float() / 255 for part in (task.train, task.test))
    found = frozen_baselines(
        pixels, task.visible, test_pixels, len(task.classes), which=("logistic regression", "LabelSpreading")
    )
    results = {f"{name} on pixels": accuracy(p, task.test.labels) for name, p in found.items()}
    return {**results, "same network, labels alone": supervised(config, task)}


def supervised(config: Config, task: Task) -> float:
    """Top-1 in [0, 1] of the run's network trained with its augmentations and cross-entropy on the labelled images alone."""
    optim = {"name": "adamw", "lr": 3e-3, "epochs": 1, "steps_per_epoch": SUPERVISED_STEPS, "batch_size": 128}
    changes = {
        "recipe": FinetuneSettings(augmentation="full", zero_init=False),
        "model": config.model.model_copy(update={"init_from": None}),
        "optim": config.optim.model_copy(update=optim),
    }
    config, device = config.model_copy(update=changes), torch.device("cpu")
    method = Finetune.build(config, task, device)
    with Run(device, quiet=True) as run:
        run.start(method, config.optim)
        run.train()
    return evaluate_network(run.model, config, task, device)["top1"]
