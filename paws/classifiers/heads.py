"""Train the small networks that PAWS puts on frozen features, all at once.

Letters: E heads, N images in V views, P components, H hidden, B unlabelled images and S supports a step, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import batch_norm, pad

from paws.classifiers.problem import Problem
from paws.config.options import FitOptions
from paws.losses import consistency, smoothed_one_hot, soft_nn
from paws.optim import set_lr, uncompiled, warmup_cosine
from paws.runs.running_means import RunningMeans, diverged
from paws.seeds import generator, seed_of
from paws.voting import floor

LOGGED = 50  # steps
STEPS, MOST_STEPS, IMAGES_A_STEP = 150, 200, 20  # at least, at most, and images of the pool for which one more is made
LARGE, FASTEST = 3000, 4.0  # images of a pool from which on the learning rate grows with their number, and how far at most
DOUBT = 1e-4  # least probability that the teacher gives to a class
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class HeadSettings:
    """How heads are trained."""

    heads: int = 4  # about: as many for every fold
    steps: int | None = FitOptions.steps  # as many as suit the pool if absent
    batch_size: int = 128  # unlabelled images a step, in two views each
    images_per_class: int = 16  # support images, at most; fewer where no class has as many
    width: int = 256  # of the components, the largest
    hidden_dim: int = 256
    out_dim: int = 64
    lr: float = 1e-3
    weight_decay: float = 1e-2
    temperature: float = 0.2
    sharpening: float = 0.25
    smoothing: float = 0.1
    teacher: float = 0.25  # weight of the other methods' log-probabilities in the targets
    dropout: float = 0.0
    noise: float = 0.0


def head(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """(N, in_dim) -> (N, out_dim): the network that PAWS trains on frozen features."""
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


def settings_for(problem: Problem) -> HeadSettings:
    """How the heads of a problem are trained: large pools for more steps and at a higher rate, single views are told apart by
    dropout, many classes by a lower temperature.

    None of it happens where the problem's own settings ask for something of the kind already.
    """
    settings = problem.heads or HeadSettings()
    if settings.steps is None:
        faster = min(FASTEST, max(1.0, len(problem.labels) / LARGE))
        steps = min(MOST_STEPS, max(STEPS, len(problem.labels) // IMAGES_A_STEP))
        settings = replace(settings, steps=steps, lr=faster * settings.lr)
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


class Heads(nn.Module):
    """E heads as one network: (E, R, P) -> (E, R, out_dim), each step of it a batched product."""

    mean: Tensor
    var: Tensor

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        states = [head.state_dict() for head in heads]

        def stacked(name: str) -> Tensor:
            return torch.stack([state[name] for state in states])

        self.first = nn.Parameter(stacked("0.weight").mT.contiguous())  # (E, P, H)
        self.gain, self.shift = nn.Parameter(stacked("1.weight")), nn.Parameter(stacked("1.bias"))  # (E, H)
        self.last = nn.Parameter(stacked("3.weight").mT.contiguous())  # (E, H, out_dim)
        self.bias = nn.Parameter(stacked("3.bias")[:, None])  # (E, 1, out_dim)
        self.register_buffer("mean", stacked("1.running_mean").flatten())  # (E * H,)
        self.register_buffer("var", stacked("1.running_var").flatten())

    def forward(self, x: Tensor) -> Tensor:
        h = torch.bmm(x, self.first)  # (E, R, H)
        heads, rows, _ = h.shape
        h = h.transpose(0, 1).reshape(rows, -1)  # (R, E * H): statistics of each head alone
        h = batch_norm(h, self.mean, self.var, self.gain.flatten(), self.shift.flatten(), self.training)
        return torch.baddbmm(self.bias, h.view(rows, heads, -1).transpose(0, 1).relu(), self.last)

    def split(self) -> list[nn.Module]:
        """The heads one by one, in eval mode and without gradients, on the CPU."""
        found: list[nn.Module] = []
        (count, in_dim, hidden), out_dim = self.first.shape, self.last.shape[2]
        for i in range(count):
            network = head(in_dim, hidden, out_dim)
            for layer, weight in ((0, self.first), (3, self.last)):  # laid out as they are after saving and loading
                network[layer].weight.data = weight[i].data.mT.contiguous().cpu()
            network[1].weight.data, network[1].bias.data = self.gain[i].data.cpu(), self.shift[i].data.cpu()
            network[1].running_mean, network[1].running_var = (
                part.view(count, -1)[i].cpu().clone() for part in (self.mean, self.var)
            )
            network[3].bias.data = self.bias[i, 0].data.cpu()
            found.append(network.eval().requires_grad_(False))
        return found

    def optimizer(self, settings: HeadSettings) -> torch.optim.Optimizer:
        """AdamW, without weight decay of what is no matrix."""
        matrices, vectors = [self.first, self.last], [self.gain, self.shift, self.bias]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        return uncompiled(torch.optim.AdamW)(groups, lr=settings.lr, fused=True)


class Supports:
    """Class-balanced support images of E heads, each of which is shown ``labels`` (E, N) of its own, -1 elsewhere."""

    def __init__(self, labels: Sequence[Tensor], num_classes: int, most: int, draws: Generator) -> None:
        shown = [[(known == c).nonzero().flatten() for c in range(num_classes)] for known in labels]
        self.counts = torch.tensor([[len(rows) for rows in classes] for classes in shown])  # (E, C)
        width = int(self.counts.max())
        shuffled = [[rows[torch.randperm(len(rows), generator=draws)] for rows in classes] for classes in shown]
        self.table = torch.stack([torch.stack([pad(rows, (0, width - len(rows))) for rows in classes]) for classes in shuffled])
        self.each = min(most, width)  # of a class and step; those of a class with fewer come again

    def draw(self, draws: Generator) -> Tensor:
        """(E, C * each) images of a step: a stretch of each class's images, from a random one on."""
        counts = self.counts[..., None]  # (E, C, 1)
        first = (torch.rand(counts.shape, generator=draws) * counts).long()
        return self.table.gather(2, (first + torch.arange(self.each)) % counts).flatten(1)


def train_heads(
    problem: Problem,
    labels: Sequence[Tensor],
    teachers: Tensor,
    prior: Tensor,
    settings: HeadSettings,
    tell: Callable[[float], None] = lambda share: None,
    weights: Tensor | None = None,
) -> tuple[list[nn.Module], list[dict[str, Any]]]:
    """Heads (N, width) -> (N, out_dim) trained by PAWS on the half-whitened components of a problem.

    Args:
        labels: for each head the labels (N,) that it is shown, -1 elsewhere; at least one of each class.
        teachers: (E, N, C) log-probabilities of all images, for each head; those it may know of.
        prior: (C,) class frequencies for me-max.
        settings: of the training.
        tell: is told the share that is done.
        weights: (N,) how often each image is drawn, against the others; all alike if absent.

    Returns:
        the heads in eval mode, and rows as in metrics.jsonl.
    """
    device, count, num_classes = torch.device(problem.device), len(labels), len(problem.classes)
    draws = generator(problem.seed, "heads")
    supports, batches = (
        Supports(labels, num_classes, settings.images_per_class, draws),
        Batches(problem, settings, draws, weights),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(problem.seed, "head"))
        network = Heads([head(batches.width, settings.hidden_dim, settings.out_dim) for _ in labels]).to(device)
    ids = torch.arange(num_classes, device=device).repeat_interleave(supports.each)
    rows = smoothed_one_hot(ids, num_classes, settings.smoothing)  # (S, C)
    teachers, prior = teachers.clamp_min(math.log(DOUBT)), prior.to(device)
    optimizer, curve, means = network.optimizer(settings), [], RunningMeans()
    steps = settings.steps or STEPS
    for step in range(steps):
        lr = warmup_cosine(
            step,
            start_lr=settings.lr / 10,
            lr=settings.lr,
            final_lr=0,
            warmup_steps=steps // 20,
            total_steps=steps,
        )
        set_lr(optimizer, lr)
        images, x = batches.draw(supports.draw(draws))
        z, support = network(x).split([2 * settings.batch_size, len(rows)], dim=1)
        vote = soft_nn(z, support, rows, settings.temperature).clamp_min(TINY).log()  # (E, 2B, C)
        guide = teachers[torch.arange(count)[:, None], images].to(device)  # (E, B, C)
        cross_entropy, me_max = consistency(vote, taught(vote.detach(), guide, settings.teacher), settings.sharpening, prior)
        loss = cross_entropy + me_max  # (E,)
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimizer.step()
        means.add(loss=loss.mean(), cross_entropy=cross_entropy.mean(), me_max=me_max.mean())
        if not (step + 1) % LOGGED or step + 1 == steps:
            curve.append(_row(means, step + 1, lr))
            means = RunningMeans()
        tell((step + 1) / steps)
    return network.split(), curve


def taught(vote: Tensor, teacher: Tensor, weight: float) -> Tensor:
    """Log-probabilities (E, 2B, C) that two views of images are to predict, from their votes (E, 2B, C) and what a teacher says
    of the images (E, B, C), as logarithms: the vote of the other view and the teacher's, mixed log-linearly.
    """
    return (1 - weight) * vote.roll(teacher.shape[1], 1) + weight * teacher.repeat(1, 2, 1)


class Batches:
    """What heads are shown in a step: two views of each unlabelled image and one of each support, half whitened."""

    def __init__(self, problem: Problem, settings: HeadSettings, draws: Generator, weights: Tensor | None) -> None:
        self.count, self.each, _ = problem.projected.shape  # N, V
        self.views = problem.projected.flatten(0, 1)[:, : settings.width].to(problem.device)  # (N * V, width)
        self.width = self.views.shape[1]
        self.scale = problem.space.half_whitened(self.width).weight.diagonal().to(problem.device)
        self.settings, self.draws, self.weights = settings, draws, weights

    def draw(self, supports: Tensor) -> tuple[Tensor, Tensor]:
        """Unlabelled images (E, B), and the views (E, 2B + S, width) of these, of these again and of the supports (E, S)."""
        count, views, shape, draws = self.count, self.each, (len(supports), self.settings.batch_size), self.draws
        images, first = (torch.randint(most, shape, generator=draws) for most in (count, views))
        if self.weights is not None:
            images = torch.multinomial(self.weights, images.numel(), replacement=True, generator=draws).view(shape)
        second = (first + torch.randint(1, max(2, views), shape, generator=draws)) % views
        own = torch.randint(views, supports.shape, generator=draws)
        rows = views * torch.cat([images, images, supports], 1) + torch.cat([first, second, own], 1)  # (E, 2B + S)
        chosen = self.views.index_select(0, rows.flatten().to(self.views.device))
        return images, self._disturbed((chosen.float() * self.scale).view(*rows.shape, -1))

    def _disturbed(self, x: Tensor) -> Tensor:
        if self.settings.dropout:
            kept = torch.rand(x.shape, generator=self.draws) >= self.settings.dropout
            x = x * kept.to(x.device) / (1 - self.settings.dropout)
        if self.settings.noise:
            x = x + self.settings.noise * torch.randn(x.shape, generator=self.draws).to(x.device)
        return x


def _row(means: RunningMeans, step: int, lr: float) -> dict[str, Any]:
    values, broken = means.read()
    if broken:
        raise diverged(broken, means.count, step, lr, None)
    return {"step": step, "epoch": 1, "lr": lr, **{name: round(value, 8) for name, value in values.items()}}
