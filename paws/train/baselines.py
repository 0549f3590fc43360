"""Baselines on the labels of a run: classical methods on pixels, and the same network trained on the labels alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from paws.classifiers.label_spreading import LabelSpreading
from paws.classifiers.logistic_regression import LogisticRegression
from paws.config.schema import Config
from paws.data.store import ImageSet
from paws.data.task import Task
from paws.errors import InputError
from paws.methods.build import task_of
from paws.methods.finetune import Finetune, FinetuneSettings
from paws.metrics import accuracy
from paws.train.evaluation import evaluate_network
from paws.train.run import Run

SUPERVISED_STEPS = 300
NEIGHBOURS, ALPHA = 10, 0.9  # of the graph of pixels, and the share of what an image takes from its neighbours


def check_comparable(config: Config) -> None:
    """Raise InputError for a dataset that ``baselines`` does not take."""
    if config.data.dataset == "folder":
        raise InputError("--compare works on small datasets in memory, not on data.dataset=folder; leave it out")


def baselines(config: Config) -> dict[str, float]:
    """Top-1 in [0, 1] on the held-out split: classical methods on pixels, and a supervised network.

    Logistic regression sees standardised pixels. Labels are spread over the symmetric graph of pixels as they are, which on the
    digits is stronger than on standardised ones and than scikit-learn's one-sided graph.

    Raises:
        InputError: the dataset is a folder of image files.
    """
    check_comparable(config)
    task = task_of(config)
    assert isinstance(task.train, ImageSet) and isinstance(task.test, ImageSet)
    pixels, test_pixels = (part.images.flatten(1).float() / 255 for part in (task.train, task.test))  # (N, P)
    mean, std, classes = pixels.mean(0), pixels.std(0).clamp_min(1e-6), len(task.classes)
    labels = task.train.labels[task.labelled]
    linear = LogisticRegression.of((pixels[task.labelled] - mean) / std, labels, classes)
    spread = spread_over_pixels(pixels, task.visible, classes)
    with torch.inference_mode():
        found = {
            f"{linear.title} on pixels": linear((test_pixels - mean) / std, pixels, labels)[0],
            f"{spread.title} on pixels, symmetric graph": spread(test_pixels, pixels, labels)[0],
        }
    results = {name: accuracy(p, task.test.labels) for name, p in found.items()}
    return {**results, "same network, labels alone": supervised(config, task)}


def spread_over_pixels(points: Tensor, labels: Tensor, num_classes: int) -> LabelSpreading:
    """Labels (M,), -1 where unknown, spread by scikit-learn over the Euclidean graph of images (M, P).

    Two images are joined when either is among the nearest of the other, which carries labels further than scikit-learn's own
    one-sided graph.
    """
    from sklearn.neighbors import NearestNeighbors
    from sklearn.semi_supervised import LabelSpreading as Spreading

    count = min(NEIGHBOURS, len(points) - 1)
    nearest = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points.numpy()).kneighbors_graph()
    model = Spreading(kernel=lambda a, b: nearest.maximum(nearest.T), alpha=ALPHA, max_iter=200, tol=1e-4)
    with np.errstate(invalid="ignore", divide="ignore"):  # an image that no label reaches: zero over zero
        model.fit(points.numpy(), labels.numpy())
    found = torch.zeros(len(points), num_classes)
    found[:, model.classes_] = torch.from_numpy(np.nan_to_num(model.label_distributions_)).float()
    return LabelSpreading(num_classes, points, found, count, cosine=False)


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
