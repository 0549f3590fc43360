"""What the network of a training run says of images: probabilities, embeddings and votes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.config.schema import Config
from paws.data.datasets import ImageSet
from paws.data.folder import FileSet
from paws.data.task import Task
from paws.train.results import embeddings
from paws.voting import soft_vote, vote_weights

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
        own = torch.arange(len(embedded)) if leave_out else None
        return vote_weights(embedded, self.support, self.labels, *self._vote, own=own)

    def probabilities(self, images: Images, embedded: Tensor, *, leave_out: bool = False) -> Tensor:
        """(N, C) for images with their embeddings (N, P)."""
        if self.classifies:
            return self._run(images, "z").softmax(1)
        own = torch.arange(len(embedded)) if leave_out else None
        return soft_vote(embedded, self.support, self.labels, *self._vote, own=own)

    @property
    def _vote(self) -> tuple[int, float]:
        """Number of classes and temperature."""
        return len(self.task.classes), self.config.evaluate.temperature

    def _run(self, images: Images, embedding: str) -> Tensor:
        evaluate = self.config.evaluate.model_copy(update={"embedding": embedding})
        config = self.config.model_copy(update={"evaluate": evaluate})
        return embeddings(self.model, config, replace(self.task, test=images), "test", self.device)[0]  # type: ignore[arg-type]


def select(images: Images, rows: Tensor) -> Images:
    """The images ``rows`` (M,) int64 alone."""
    if isinstance(images, FileSet):
        return images.select(rows)
    return ImageSet(images.images[rows], images.labels[rows], images.classes)
