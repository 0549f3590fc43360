"""One, two and four ranks that share a global batch compute the same losses, gradients and weights, in every recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paws import distributed
from paws.config.schema import Optim
from paws.data.source import Batch
from paws.data.support import support_labels
from paws.methods import Method
from paws.methods.finetune import Finetune, FinetuneSettings
from paws.methods.msn import Msn, MsnSettings
from paws.methods.paws import Paws, PawsSettings
from paws.methods.simclr_ct import SimclrCt, SimclrCtSettings
from paws.methods.snn_finetune import SnnFinetune, SnnFinetuneSettings
from paws.models import Encoder, build_encoder
from paws.models.batch_norm import convert_sync_batchnorm
from paws.train.intervals import Intervals
from paws.train.run import Run
from tests.ranks import run_ranks

STEPS, IMAGES, CLASSES, PER_CLASS, VIEWS, RATE = 5, 8, 4, 4, 2, 0.1


class Shares:
    """The batches of one rank: its share of images and supports that are the same however many ranks there are."""

    smoothing, num_classes, steps_per_epoch, per_step, seed = 0.1, CLASSES, STEPS, {"images": 0, "supports": 0}, 0

    def __init__(self, dtype: torch.dtype, unique: bool) -> None:
        self.dtype, self.unique = dtype, unique
        self.rank, self.ranks = distributed.rank(), distributed.world_size()
        classes = CLASSES // self.ranks if unique else CLASSES
        per_class = PER_CLASS if unique else PER_CLASS // self.ranks
        self.labels = support_labels(classes, per_class, VIEWS, world_size=self.ranks, unique_classes=unique)
        self.num_views = 4

    def batches(self, steps: range) -> Iterator[Batch]:
        for step in steps:
            draws = torch.Generator().manual_seed(step)
            share = slice(self.rank * IMAGES // self.ranks, (self.rank + 1) * IMAGES // self.ranks)
            whole = [torch.randn(IMAGES, 1, s, s, generator=draws, dtype=torch.float64) for s in (8, 8, 6, 6)]
            means = torch.randn(1, CLASSES, 1, 1, 1, generator=draws, dtype=torch.float64)
            noise = torch.randn(VIEWS, PER_CLASS, CLASSES, 1, 8, 8, generator=draws, dtype=torch.float64)
            supports = means + noise  # [view, image, class]
            if self.unique:
                width = CLASSES // self.ranks
                own = supports[:, :, self.rank * width : (self.rank + 1) * width]
            else:
                width = PER_CLASS // self.ranks
                own = supports[:, self.rank * width : (self.rank + 1) * width]
            yield Batch(
                views=[view[share].to(self.dtype) for view in whole[: self.num_views]],
                support=[view.flatten(0, 1).to(self.dtype) for view in own],
                indices=torch.arange(IMAGES)[share],
                classes=torch.arange(CLASSES),
                step=step,
            )


@dataclass
class Watched(Run):
    """Keeps what a run computes: losses averaged over ranks, gradients as the optimiser sees them."""

    losses: list[dict[str, float]] = field(default_factory=list)
    gradients: list[list[Tensor]] = field(default_factory=list)

    def update(self, loss: Tensor, **metrics: Tensor) -> None:
        own = {"loss": loss.item(), **{name: value.item() for name, value in metrics.items()}}
        everyones = distributed.gather_objects(own)
        self.losses.append({name: sum(one[name] for one in everyones) / len(everyones) for name in own})
        super().update(loss, **metrics)


def network(recipe: str, dtype: torch.dtype) -> Encoder:
    if recipe == "finetune":  # no batch norm: fine-tuning keeps that of each rank for itself, as the published code
        draws = torch.random.fork_rng()
        with draws:
            torch.manual_seed(0)
            backbone = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.GELU())
            return Encoder(backbone, nn.Linear(16, CLASSES)).to(dtype)
    encoder = build_encoder("small_cnn", output_dim=8, hidden_dim=16, prediction_head=True, in_channels=1, seed=0)
    smooth(encoder)
    if recipe.startswith("paws") or recipe in ("simclr_ct", "msn"):
        encoder = convert_sync_batchnorm(encoder)
    if recipe == "msn":
        encoder.register_parameter("prototypes", nn.Parameter(torch.randn(6, 8, generator=torch.Generator().manual_seed(2))))
    if recipe == "snn_finetune":  # a pre-trained network has seen images: its batch norms know their statistics
        images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        for _ in range(20):
            encoder(images)
    return encoder.to(dtype)


def smooth(module: nn.Module) -> None:
    """Replace what has kinks: a rounding error that turns a ReLU or a maximum over changes gradients by per cents."""
    for name, child in module.named_children():
        if isinstance(child, nn.ReLU):
            setattr(module, name, nn.GELU())
        elif isinstance(child, nn.MaxPool2d):
            setattr(module, name, nn.AvgPool2d(child.kernel_size))
        else:
            smooth(child)


def train(
    recipe: str, dtype: torch.dtype, unique: bool, *, folder: Path | None = None, steps: int = STEPS, resume: bool = False
) -> dict[str, Any]:
    """Train to ``steps`` in all; with a ``folder`` the state is left there, or taken up from there."""
    run = Watched(torch.device("cpu"), folder, quiet=True, intervals=Intervals(log=1000), resume=resume)
    model = network(recipe, dtype)
    with run:
        run.start(
            method_of(recipe, model, Shares(dtype, unique)),
            Optim(name="lars", lr=RATE, final_lr=RATE, weight_decay=1e-4, epochs=1),
        )
        run.total_steps = steps
        run.optimizer.register_step_pre_hook(
            lambda *_: run.gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        )
        run.train()
    return {"losses": run.losses, "gradients": run.gradients, "weights": list(model.state_dict().values())}


def method_of(recipe: str, model: nn.Module, source: Any) -> Method:
    if recipe == "paws":
        return Paws(model, source, PawsSettings())
    if recipe == "paws with nt_xent":
        ours = PawsSettings(nt_xent=0.5, nt_xent_temperature=0.5, nt_xent_alone=0.4, sharpening_warmup=0.4)  # two steps
        return Paws(model, source, ours)
    if recipe == "simclr_ct":
        source.num_views = 2
        return SimclrCt(model, source, SimclrCtSettings(supervised_epochs=1))
    if recipe == "msn":  # unmasked: every rank draws masks of its own
        return Msn(model, source, MsnSettings(masked=0, momentum=0.5))
    if recipe == "snn_finetune":
        return SnnFinetune(model, source, SnnFinetuneSettings())
    source.num_views = 1
    return Finetune(model, source, FinetuneSettings(), torch.arange(IMAGES) % CLASSES)


TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}


def train_in_all_ways(recipe: str) -> list[tuple[torch.dtype, dict[str, Any]]]:
    ways = [False] if recipe == "finetune" else [False, True]
    return [(dtype, train(recipe, dtype, unique)) for dtype in TOLERANCES for unique in ways]


@pytest.mark.parametrize("recipe", ["paws", "paws with nt_xent", "simclr_ct", "msn", "snn_finetune", "finetune"])
def test_ranks_that_share_a_batch_equal_one_process(recipe: str):
    expected = train_in_all_ways(recipe)
    for ranks in (2, 4):
        for results in run_ranks(train_in_all_ways, ranks, recipe):
            for (dtype, many), (_, one) in zip(results, expected, strict=True):
                assert len(one["losses"]) == STEPS
                assert_close(many, one, TOLERANCES[dtype])


def assert_close(many: dict[str, Any], one: dict[str, Any], tolerance: float) -> None:
    for ours, theirs in zip(many["losses"], one["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    for ours, theirs in zip(many["gradients"], one["gradients"], strict=True):
        scale = max(float(gradient.abs().max()) for gradient in theirs)
        assert scale > 1e-6
        for left, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=tolerance * scale)
    torch.testing.assert_close(many["weights"], one["weights"], rtol=tolerance, atol=tolerance)


def train_two_steps(recipe: str, folder: Path) -> dict[str, Any]:
    return train(recipe, torch.float64, False, folder=folder, steps=2)


def go_on(recipe: str, folder: Path) -> dict[str, Any]:
    return train(recipe, torch.float64, False, folder=folder, resume=True)


@pytest.mark.parametrize("recipe", ["paws", "simclr_ct", "snn_finetune", "finetune"])
def test_a_run_goes_on_with_another_number_of_ranks(recipe: str, tmp_path: Path):
    expected = train(recipe, torch.float64, False)
    later = {key: expected[key][2:] for key in ("losses", "gradients")} | {"weights": expected["weights"]}
    train_two_steps(recipe, tmp_path / "grows")
    for result in run_ranks(go_on, 2, recipe, tmp_path / "grows"):
        assert_close(result, later, 1e-9)
    run_ranks(train_two_steps, 2, recipe, tmp_path / "shrinks")
    assert_close(go_on(recipe, tmp_path / "shrinks"), later, 1e-9)
