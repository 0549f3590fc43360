"""What a training step costs beyond the bare network, and next to the published code's: `python -m benchmarks.step [--quick]`.

A step of configs/cifar10_paws.yaml (WRN-28-2; 256 images in two 32-pixel and six 18-pixel views, 640 supports in two views)
over forward and backward of the network on tensors of the same sizes; full precision, one thread, CPU-seconds, in turn.

The whole step: what is not the network (source, views, loss on 2,048 + 1,280 embeddings, update, log) is measured at its full
size by the recipe's own loop around a network that costs next to nothing; the network on a 32nd of the rows, times 32. Beside
it the step alone: the recipe's loop with the network on a few ready-made tensors, over the network on the same.

The published step: views by torchvision on PIL images, one by one, and tensors in contiguous format, through the same network,
loss and LARS, in full precision, since its mixed precision is of GPUs alone; written anew from its description. Its cost on a
sixteenth of the card's batch, over that of our loop with the network in channels_last: as the card comes, in bf16 where the
processor computes in it, and in full precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.side_by_side import Figure, Ratio, cost_ratio, finish
from benchmarks.views import pil_pipeline
from paws.config.cards import load_config
from paws.config.schema import Config
from paws.data.datasets import DATASETS
from paws.data.source import Batch, Source
from paws.data.store import ImageSet
from paws.data.task import Task
from paws.losses import paws_loss
from paws.methods.build import large_view, multi_crop, source_of
from paws.methods.paws import Paws, PawsSettings
from paws.models import build_encoder
from paws.optim import optimizer_and_rate
from paws.runs.device import precision_on
from paws.train.run import Run

CARD = Path(__file__).parents[1] / "configs/cifar10_paws.yaml"
FEW = ("optim.batch_size=4", "support.images_per_class=1")  # of the step alone
SIXTEENTH = ("optim.batch_size=16", "support.images_per_class=4")  # next to the published step
IMAGES, PART = 2000, 32
WHOLE_BAR, ALONE_BAR, PUBLISHED_BAR = 1.05, 1.08, 1.3


class MeanColour(nn.Module):
    """An encoder of next to no cost: a linear layer on the mean of the pixels, [(N, 3, H, W)] -> two (N, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 128)

    def forward(self, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        z = self.head(torch.cat([view.mean((2, 3)) for view in views]))
        return z, z


class Repeated:
    """A source that gives the first batch of another again and again."""

    def __init__(self, source: Source) -> None:
        self.batch = next(source.batches(range(1)))
        self.labels, self.num_classes, self.smoothing = source.labels, source.num_classes, source.smoothing
        self.per_step, self.steps_per_epoch = source.per_step, source.steps_per_epoch

    def batches(self, steps: range):
        for _ in steps:
            yield self.batch


def made_up_task() -> Task:
    """Smooth random images in CIFAR-10's format, all of them labelled."""
    draws = torch.Generator().manual_seed(0)
    smooth = torch.rand(IMAGES, 3, 8, 8, generator=draws)
    images = (nn.functional.interpolate(smooth, size=(32, 32), mode="bicubic").clamp(0, 1) * 255).byte()
    labels = torch.arange(IMAGES) % 10
    train = ImageSet(images, labels, tuple(map(str, range(10))))
    return Task(DATASETS["cifar10"], train, torch.arange(IMAGES), torch.empty(0, dtype=torch.int64), None)


def source_for(config: Config, task: Task) -> Source:
    views = multi_crop(config, task)
    return source_of(config, task, torch.device("cpu"), views=views, support_view=large_view(config, task))


def over_network(config: Config, encoder: nn.Module, source: Source | Repeated, views: list[Tensor], rounds: int) -> Ratio:
    """A step of the recipe's loop with ``encoder``, over forward and backward of the card's network on ``views``."""
    network = build_encoder(config.model.name, output_dim=config.model.output_dim)
    cotangent = torch.randn(sum(map(len, views)), config.model.output_dim)
    assert isinstance(config.recipe, PawsSettings)
    with Run(torch.device("cpu"), quiet=True) as run:
        run.start(Paws(encoder, source, config.recipe, epochs=config.optim.epochs), config.optim)  # type: ignore[arg-type]

        def step() -> None:
            run.total_steps = run.step + 1
            run.train()

        def bare() -> None:
            network(views)[1].backward(cotangent)
            network.zero_grad(set_to_none=True)

        return cost_ratio(step, bare, rounds)


def whole(rounds: int) -> Ratio:
    """Cost of all that is not the network, over the network on a ``PART`` of the rows."""
    config = load_config(CARD, ["machine={precision: fp32}"])
    source = source_for(config, made_up_task())
    batch: Batch = next(source.batches(range(1)))
    views = [view[: len(view) // PART] for view in (*batch.support, *batch.views)]
    return over_network(config, MeanColour(), source, views, rounds)


def alone(rounds: int) -> Ratio:
    """Cost of a step on few ready-made images, over the network on the same."""
    config = load_config(CARD, ["machine={precision: fp32}", *FEW])
    source = Repeated(source_for(config, made_up_task()))
    encoder = build_encoder(config.model.name, output_dim=config.model.output_dim)
    return over_network(config, encoder, source, [*source.batch.support, *source.batch.views], rounds)


class Published:
    """A step of the published loop with the card's sizes: labels, pixels and pictures of a ``made_up_task``."""

    def __init__(self, config: Config, source: Source, task: Task) -> None:
        assert isinstance(task.train, ImageSet) and isinstance(config.recipe, PawsSettings)
        views, info, self.recipe, self.source = config.views, task.info, config.recipe, source
        self.pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in task.train.images]
        large = pil_pipeline(views.size, views.scale, info.mean, info.std)
        small = pil_pipeline(views.small_size, views.small_scale, info.mean, info.std)
        self.transforms, self.support_transforms = [large] * 2 + [small] * views.small, [large] * config.support.views
        self.network = build_encoder(config.model.name, output_dim=config.model.output_dim)
        self.optimizer, _ = optimizer_and_rate(self.network, config.optim, source.steps_per_epoch)
        self.step = 0

    def __call__(self) -> None:
        """Views, both passes, loss, gradients, update."""
        assert self.source.sampler is not None
        images, (supports, _) = self.source.indices(self.step), self.source.sampler.batch(self.step)
        support = [self._view(transform, supports) for transform in self.support_transforms]
        h, z = self.network([*support, *(self._view(transform, images) for transform in self.transforms)])
        voters, h = len(support) * len(supports), h.detach()
        view1, view2 = h[voters:].split(len(images))[:2]
        cross_entropy, me_max = paws_loss(
            z[voters:],
            z[:voters],
            torch.cat([view2, view1]),
            h[:voters],
            self.source.labels,
            self.source.num_classes,
            smoothing=self.source.smoothing,
            temperature=self.recipe.temperature,
            sharpening=self.recipe.sharpening,
        )
        (cross_entropy + me_max).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def _view(self, transform: Callable[[Image.Image], Tensor], rows: Tensor) -> Tensor:
        return torch.stack([transform(self.pictures[i]) for i in rows.tolist()])


def next_to_published(rounds: int, sizes: tuple[str, ...], precision: str) -> Ratio:
    """Cost of the published step over that of a step of the recipe's loop, view making included in both."""
    config, task = load_config(CARD, [*sizes]), made_up_task()
    encoder = build_encoder(config.model.name, output_dim=config.model.output_dim)
    assert isinstance(config.recipe, PawsSettings)
    published = Published(config, source_for(config, task), task)
    with Run(torch.device("cpu"), precision=precision, channels_last=config.machine.channels_last, quiet=True) as run:
        run.start(Paws(encoder, source_for(config, task), config.recipe, epochs=config.optim.epochs), config.optim)

        def ours() -> None:
            run.total_steps = run.step + 1
            run.train()

        return cost_ratio(published, ours, rounds)


def main() -> None:
    """Print both ratios and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rest, step = whole(4 if quick else 12), alone(5 if quick else 25)
    rounds, sizes, fast = (
        3 if quick else 9,
        FEW if quick else SIXTEENTH,
        precision_on("cpu", load_config(CARD).machine.precision),
    )
    published, full = next_to_published(rounds, sizes, fast), next_to_published(rounds, sizes, "fp32")
    value, (low, high) = 1 + rest.value / PART, (1 + side / PART for side in rest.spread)
    print(f"all but the network {rest.cost_a:.2f} s a step, the network {PART * rest.cost_b:.1f} s")
    print(f"the whole step: {value:.3f} x ({low:.3f} to {high:.3f})")
    low_alone, high_alone = step.spread
    print(f"on a few ready-made tensors: {step.value:.3f} x ({low_alone:.3f} to {high_alone:.3f})")
    for name, ratio in ((fast, published), ("fp32", full)):
        low_published, high_published = ratio.spread
        print(f"the published step over ours in {name}: {ratio.value:.2f} x ({low_published:.2f} to {high_published:.2f})")
    finish(
        Figure("a CIFAR-10 step over bare forward and backward", round(value, 3), WHOLE_BAR, False, timing=True),
        Figure("the same without views, on few ready-made images", round(step.value, 3), ALONE_BAR, False, timing=True),
        Figure("the published CIFAR-10 step over ours", round(published.value, 3), PUBLISHED_BAR, timing=True),
        Figure("the published CIFAR-10 step over ours in full precision", round(full.value, 3), timing=True),
        spread=(round(low, 3), round(high, 3)),
        spread_alone=step.spread,
    )


if __name__ == "__main__":
    main()
