"""Baselines on the labels of a run: classical methods on pixels, and the same network trained on the labels alone."""

from __future__ import annotations

import torch

from paws.config.schema import Config, FinetuneRecipe
from paws.data.datasets import ImageSet
from paws.errors import InputError
from paws.evaluate import frozen_baselines
from paws.methods import finetune
from paws.metrics import accuracy
from paws.train.run import Run
from paws.train.setup import task_of

SUPERVISED_STEPS = 300


def check_comparable(config: Config) -> None:
    """Raise InputError for a dataset that ``baselines`` does not take."""
    if config.data.dataset == "folder":
        raise InputError("--compare works on small datasets in memory, not on data.dataset=folder; leave it out")


def baselines(config: Config) -> dict[str, float]:
    """Top-1 in [0, 1] on the held-out split: logistic regression and LabelSpreading on pixels, and a supervised network.

    The network is the run's, trained with its augmentations and cross-entropy on the labelled images alone.

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
    supervised = config.model_copy(
        update={
            "recipe": FinetuneRecipe(name="finetune", augmentation="full", zero_init=False),
            "model": config.model.model_copy(update={"init_from": None}),
            "optim": config.optim.model_copy(
                update={"name": "adamw", "lr": 3e-3, "epochs": 1, "steps_per_epoch": SUPERVISED_STEPS, "batch_size": 128}
            ),
        }
    )
    with Run(torch.device("cpu"), quiet=True) as run:
        results["same network, labels alone"] = finetune.recipe(run, supervised, task)["top1"]
    return results
