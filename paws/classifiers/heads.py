"""Train the small network that PAWS puts on frozen features."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from paws.classifiers.problem import Problem
from paws.config.options import FitOptions
from paws.config.schema import Optim
from paws.data.features import FeatureBank
from paws.data.source import Source
from paws.data.support import SupportSampler
from paws.methods.paws import Paws, PawsSettings
from paws.models.encoder import Encoder
from paws.optim import optimizer_and_rate, set_lr
from paws.runs.running_means import RunningMeans, diverged
from paws.seeds import seed_of
from paws.voting import floor

LOGGED = 50  # steps


def head(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """(N, in_dim) -> (N, out_dim): the network that PAWS trains on frozen features."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


@dataclass(frozen=True)
class HeadSettings:
    """How a head is trained."""

    heads: int = 5  # at least
    steps: int = FitOptions.steps
    batch_size: int = 128  # unlabelled images a step, in two views each
    label_share: float = 0.0  # of the unlabelled batch that are labelled images, in [0, 1)
    images_per_class: int = 16  # support images, at most; fewer where no class has as many
    hidden_dim: int = 256
    out_dim: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-2
    temperature: float = 0.2
    sharpening: float = 0.25
    smoothing: float = 0.1
    me_max: float = 1.0
    dropout: float = 0.0
    noise: float = 0.0

    @property
    def optim(self) -> Optim:
        """AdamW in one epoch of all steps, after a twentieth of warm-up."""
        warmup = (self.steps // 20) / self.steps
        return Optim(name="adamw", lr=self.lr, weight_decay=self.weight_decay, epochs=1, warmup_epochs=warmup)


def settings_for(problem: Problem) -> HeadSettings:
    """How the heads of a problem are trained: many labels are seen more often, single views are told apart by dropout, many
    classes by a lower temperature.

    None of it happens where the problem's own settings ask for something of the kind already.
    """
    settings = problem.heads or HeadSettings()
    if problem.many_labels and not settings.label_share:
        settings = replace(settings, label_share=0.5)
    if problem.projected.shape[1] == 1 and not (settings.dropout or settings.noise):
        settings = replace(settings, dropout=0.3)
    if settings.temperature == HeadSettings.temperature:
        settings = replace(settings, temperature=temperature_for(len(problem.classes)))
    return settings


def temperature_for(num_classes: int) -> float:
    """The temperature of heads: that of the defaults up to ten classes, and lower for more.

    Among many classes the vote on the right one is diluted by what the temperature leaves to each of the others
    (`paws.voting.floor`); all together they get what nine others get at the default.
    """
    most = HeadSettings.temperature
    left = 9 * floor(10, most)
    return min(most, num_classes / (num_classes - 1) / math.log((num_classes - 1) * (1 - left) / left))


class HeadTraining:
    """PAWS on the components of a problem with labels (N,), -1 where unlabelled: its ``method`` in ``settings.steps`` steps.

    The weights of the ``network`` (N, P) -> (N, out_dim), the batches and the views depend on the seed alone.
    """

    def __init__(self, problem: Problem, labels: Tensor, settings: HeadSettings, seed: int = 0) -> None:
        views, device = problem.projected, torch.device(problem.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(seed, "head"))
            self.network = head(views.shape[2], settings.hidden_dim, settings.out_dim).to(device)
        most = int(torch.bincount(labels[labels >= 0]).max())
        sampler = SupportSampler(
            labels,
            classes_per_batch=len(problem.classes),
            images_per_class=min(settings.images_per_class, most),
            seed=seed,
        )
        source = Source(
            FeatureBank(views, device, dropout=settings.dropout, noise=settings.noise),
            pool=_pool(labels, settings.label_share),
            batch_size=settings.batch_size,
            sampler=sampler,
            smoothing=settings.smoothing,
            seed=seed,
            steps_per_epoch=settings.steps,
        )
        recipe = PawsSettings(temperature=settings.temperature, sharpening=settings.sharpening, me_max=settings.me_max)
        encoder = Encoder(nn.Identity(), self.network)
        self.method, self.steps = Paws(encoder, source, recipe, prior=problem.class_prior), settings.steps
        self.optimizer, self.rate = optimizer_and_rate(encoder, settings.optim, settings.steps)
        self.curve: list[dict[str, Any]] = []  # rows as in metrics.jsonl
        self._means = RunningMeans()

    def update(self, step: int, loss: Tensor, metrics: dict[str, Tensor]) -> None:
        """Step the optimiser; the ``curve`` gets a row now and then. Raises Diverged where a loss is not finite by then."""
        set_lr(self.optimizer, self.rate(step))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._means.add(loss=loss, **metrics)
        if (step + 1) % LOGGED and step + 1 < self.steps:
            return
        (means, broken), lr = self._means.read(), self.rate(step)
        if broken:
            raise diverged(broken, self._means.count, step + 1, lr, None)
        row = {name: round(value, 8) for name, value in means.items()}
        self.curve.append({"step": step + 1, "epoch": 1, "lr": lr, **row})
        self._means = RunningMeans()

    def trained(self) -> nn.Module:
        """The network in eval mode, on the CPU."""
        return self.network.eval().requires_grad_(False).cpu()


def _pool(labels: Tensor, share: float) -> Tensor:
    """All images, the labelled ones repeated until they make up about ``share`` of the pool."""
    labelled, everything = (labels >= 0).nonzero().flatten(), torch.arange(len(labels))
    further = share / (1 - share) * len(labels) - len(labelled) / (1 - share)  # rows to add, so that they make up the share
    return torch.cat([everything, labelled.repeat(max(0, round(further / len(labelled))))])
