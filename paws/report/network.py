"""What the network of a training run says of images: probabilities, embeddings and votes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from paws.config.schema import Config
from paws.data.store import Images
from paws.data.task import Task
from paws.methods import method
from paws.train.evaluation import embeddings
from paws.voting import soft_vote, vote_weights


class TrainedNetwork:
    """A trained network with its labelled images: soft nearest neighbours, or the classifier of a fine-tuned run.

    ``support`` (S, P) are the L2-normalised embeddings of the labelled images, ``labels`` (S,) their class ids.
    """

    def __init__(self, config: Config, task: Task, model: nn.Module, device: torch.device) -> None:
        self.config, self.task, self.model, self.device = config, task, model, device
        self.classifies = method(config.recipe.name).classifies
        self.labels = task.train.labels[task.labelled]
        self.support = self.embed(task.train.select(task.labelled))

    def embed(self, images: Images) -> Tensor:
        """(N, P) L2-normalised: what the vote compares; of a classifier the backbone's features."""
        return normalize(self._embeddings(images, "backbone" if self.classifies else None), dim=1)

    def weights(self, embedded: Tensor) -> Tensor:
        """Share (N, S) of each labelled image in the vote on embeddings (N, P)."""
        return vote_weights(embedded, self.support, self.labels, len(self.task.classes), self.config.evaluate.temperature)

    def probabilities(self, images: Images, embedded: Tensor, *, leave_out: bool = False) -> Tensor:
        """(N, C) for images with their embeddings (N, P); ``leave_out``: they are the labelled images, each without its own."""
        if self.classifies:
            return self._embeddings(images, "z").softmax(1)
        own = torch.arange(len(embedded)) if leave_out else None
        classes, temperature = len(self.task.classes), self.config.evaluate.temperature
        return soft_vote(embedded, self.support, self.labels, classes, temperature, own=own)

    def _embeddings(self, images: Images, embedding: str | None) -> Tensor:
        return embeddings(self.model, self.config, self.task, images, self.device, embedding=embedding)
