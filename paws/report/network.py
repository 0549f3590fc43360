"""What the network of a training run says of images: probabilities, embeddings and votes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from paws.config.schema import Config
from paws.data.datasets import ImageSet
from paws.data.folder import FileSet
from paws.data.task import Task
from paws.train.results import embeddings

Images = ImageSet | FileSet


class Judge:
    """A trained network with its labelled images: soft nearest neighbours, or the classifier of a fine-tuned run.

    ``support`` (S, P) are the L2-normalised embeddings of the labelled images, ``labels`` (S,) their class ids.
    """

    def __init__(self, config: Config, task: Task, model: nn.Module, device: torch.device) -> None:
        self.config, self.task, self.model, self.device = config, task, model, device
        self.classifies = config.recipe.name == "finetune"
        self.labels = task.train.labels[task.labelled]
        self.support = self.embed(select(task.train, task.labelled))

    def embed(self, images: Images) -> Tensor:
        """(N, P) L2-normalised: what the vote compares; of a classifier the backbone's features."""
        return normalize(self._run(images, "backbone" if self.classifies else self.config.evaluate.embedding), dim=1)

    def weights(self, embedded: Tensor, *, leave_out: bool = False) -> Tensor:
        """Share (N, S) of each labelled image in the vote on (N, P); ``leave_out``: N are the labelled images themselves."""
        logits = embedded @ self.support.T / self.config.evaluate.temperature  # (N, S)
        if leave_out:
            logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -torch.inf)
        return logits.softmax(1)

    def probabilities(self, images: Images, embedded: Tensor, *, leave_out: bool = False) -> Tensor:
        """(N, C) for images with their embeddings (N, P)."""
        if self.classifies:
            return self._run(images, "z").softmax(1)
        rows = one_hot(self.labels, len(self.task.classes)).float()  # (S, C)
        size = len(embedded) if leave_out else 4096
        return torch.cat([self.weights(part, leave_out=leave_out) @ rows for part in embedded.split(size)])

    def _run(self, images: Images, embedding: str) -> Tensor:
        evaluate = self.config.evaluate.model_copy(update={"embedding": embedding})
        config = self.config.model_copy(update={"evaluate": evaluate})
        return embeddings(self.model, config, replace(self.task, test=images), "test", self.device)[0]  # type: ignore[arg-type]


def select(images: Images, rows: Tensor) -> Images:
    """The images ``rows`` (M,) int64 alone."""
    if isinstance(images, FileSet):
        return images.select(rows)
    return ImageSet(images.images[rows], images.labels[rows], images.classes)
