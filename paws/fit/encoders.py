"""From frozen features on to the encoder: PAWS on the pixels of the folder, taught by what the features tell.

One encoder for each fold of the labels, which is not shown to it nor to its teacher, so that one training gives a predictor and
its cross-validation (`paws.classifiers.trained_encoders`). It begins as the backbone with one of the heads of the fit, or as a
small network, where the features hold less than this learns from random weights.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from paws.classifiers.combination import Combination
from paws.classifiers.frequencies import frequencies
from paws.classifiers.heads import settings_for
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.problem import Problem
from paws.config.schema import Optim
from paws.data.source import Source, TensorBank
from paws.data.stored_views import SCALE
from paws.data.support import SupportSampler
from paws.data.views import MultiCrop, View
from paws.fit.taught import TaughtPaws
from paws.methods.paws import PawsSettings
from paws.metrics import accuracy
from paws.models.encoder import Encoder
from paws.models.encoders import HIDDEN, Encoders, Stages, encoder_of
from paws.models.frozen import TRAINED, Frozen, Held
from paws.runs.log import read_metrics
from paws.train.intervals import Intervals
from paws.train.run import Run

VERSION = 3  # of the recipes below: what another one made is made again
SINGLE = 2  # encoders where no label can be held out


@dataclass(frozen=True)
class Recipe:
    """How an encoder is trained."""

    trained: str  # what of it: "light", the norms and biases; "full", all of it
    lr: float
    first_rate: float = 1.0  # of the first layer, as a share of the last one's
    weight_decay: float = 1e-2
    batch_size: int = 64  # unlabelled images a step, in two views each
    support: int = 128  # labelled images a step, about
    steps: tuple[int, int] = (250, 1000)  # at least, and at most
    passes: int = 3  # over the images, in between
    teacher: float = 0.25  # weight of the teacher's log-probabilities in the targets, where no label can be held out
    suncet: float = 1.0
    scale: tuple[float, float] = SCALE  # area of a crop
    degrees: float = 15.0
    shift: float = 0.1
    enlarged: tuple[float, float] = (0.85, 1.15)
    jitter: float = 0.4  # of colours

    def epochs(self, images: int) -> int:
        """Passes over the images."""
        a_pass = max(1, images // self.batch_size)
        return -(-min(self.steps[1], max(self.steps[0], self.passes * a_pass)) // a_pass)


SMALL, SMALL_SIZE = "plain_cnn", 32  # the network from random weights, and the pixels it is shown
RECIPES = {
    "scratch": Recipe("full", lr=3e-3, scale=(0.7, 1.0), degrees=10.0, jitter=0.2),
    "light": Recipe("light", lr=1e-3, batch_size=32, support=40, steps=(100, 1000), jitter=0.3),
    "full": Recipe("full", lr=2e-4, first_rate=0.1, batch_size=32, support=40, steps=(100, 1000), jitter=0.3),
}


@dataclass(frozen=True)
class Begin:
    """What encoders begin as."""

    frozen: Frozen  # whose size, normalisation and interpolation they take; for "scratch" that of the small network
    recipe: Recipe
    scratch: bool


def begins(frozen: Frozen, train: str) -> dict[str, Begin]:
    """The network from random weights, and the backbone ``frozen`` trained on as ``train`` says."""
    grey = (0.5,) * 3
    small = replace(
        frozen, name=SMALL, size=SMALL_SIZE, mean=grey, std=(0.25,) * 3, source=TRAINED, interpolation="bilinear", layers=()
    )
    return {"scratch": Begin(small, RECIPES["scratch"], True), train: Begin(frozen, RECIPES[train], False)}


def teacher_share(problem: Problem, recipe: Recipe) -> float:
    """Weight of the teacher's log-probabilities in the targets: the share of held-out labels that it tells."""
    if not problem.fold_count:
        return recipe.teacher
    return accuracy(problem.cross_fitted(Combination).held_out[problem.held], problem.support_labels[problem.held])


def encoder_count(problem: Problem) -> int:
    """Encoders to train: one for each fold."""
    return problem.fold_count or SINGLE


def train_encoder(
    folder: Path, problem: Problem, pixels: Tensor, begin: Begin, number: int, *, epochs: int | None, mirror: bool, quiet: bool
) -> tuple[Encoder, list[dict[str, Any]]]:
    """Encoder ``number`` of a problem, trained on its images ``pixels`` uint8 (N, 3, H, W), and the rows of its metrics.

    ``folder`` holds its checkpoints: called again, it goes on from the last one, or is done.

    Raises:
        paws.runs.signals.Interrupted: a signal came; the state is saved.
    """
    fold = number % problem.fold_count if problem.fold_count else None
    recipe, device = begin.recipe, torch.device(problem.device)
    encoder = _beginning(problem, begin, number).to(device)
    for parameter in encoder.backbone.parameters():
        parameter.requires_grad_(recipe.trained == "full" or parameter.ndim < 2)
    if not begin.scratch:
        encoder.backbone.eval()  # batch norms keep their statistics, which are of more images than a step has
    source = _source(problem, pixels, begin, fold, number, mirror)
    teacher, share = problem.on_pool(Combination, fold), teacher_share(problem, recipe)
    settings = PawsSettings(temperature=settings_for(problem).temperature, sharpening=0.25, suncet=recipe.suncet)
    count = recipe.epochs(len(pixels)) if epochs is None else epochs
    optim = Optim(
        name="adamw",
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        epochs=count,
        warmup_epochs=count * 0.05,
        first_rate=recipe.first_rate,
    )
    how: dict[str, Any] = {"precision": precision(device), "channels_last": True} if begin.scratch else {}
    with Run(device, folder=folder, intervals=Intervals(log=10), quiet=quiet, resume=True, **how) as run:
        method = TaughtPaws(encoder, source, settings, teacher.to(device), share, frequencies(problem).to(device))
        run.start(method, optim)
        run.train()
    rows = [{"encoder": number, **row} for row in read_metrics(folder)]
    return encoder.eval().requires_grad_(False).cpu(), rows


def precision(device: torch.device) -> str:
    """bf16 where the processor has it, which halves the time of convolutions."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    has = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and has() else "fp32"


def as_backbone(networks: list[Encoder], begin: Begin) -> Frozen:
    """Trained encoders side by side, to be embedded with."""
    state = {name: value.detach().clone().contiguous() for name, value in Encoders(networks).state_dict().items()}
    width = sum(network.output_dim for network in networks)
    return replace(begin.frozen, feature_dim=width, weights=Held(state), network=None, source=TRAINED, count=len(networks))


def _beginning(problem: Problem, begin: Begin, number: int) -> Encoder:
    """Random weights, or the backbone with a head of the fit, which was not shown the encoder's fold either."""
    frozen = begin.frozen
    encoder = encoder_of(frozen.name, frozen.layers, seed=problem.seed * 1000 + number)
    if begin.scratch:
        return encoder
    network = copy.deepcopy(frozen.model.backbone).requires_grad_(True)
    encoder.backbone = Stages(network, frozen.layers) if frozen.layers else network
    ensemble, space = problem.fitted(PawsEnsemble), problem.space
    directions = space.components / space.scale
    if isinstance(ensemble.project, nn.Linear):
        directions = ensemble.project.weight @ directions
    more = HIDDEN - len(directions)  # where the features have few components
    trained = ensemble.heads[number % len(ensemble.heads)].state_dict()
    state = {f"{int(name[0]) + 1}{name[1:]}": value for name, value in trained.items()}  # behind the map to components
    state["0.weight"], state["0.bias"] = pad(directions, (0, 0, 0, more)), pad(-directions @ space.mean, (0, more))
    state["1.weight"] = pad(state["1.weight"], (0, more))
    encoder.head.load_state_dict(state)
    return encoder


def _source(problem: Problem, pixels: Tensor, begin: Begin, fold: int | None, number: int, mirror: bool) -> Source:
    recipe, frozen = begin.recipe, begin.frozen
    view = View(
        frozen.size,
        frozen.mean,
        frozen.std,
        scale=recipe.scale,
        flip=0.5 if mirror else 0.0,
        affine=(recipe.degrees, recipe.shift, recipe.enlarged),
        outside="border",
        jitter=recipe.jitter,
    )
    labels = problem.visible_labels(fold)
    most, classes = int(torch.bincount(labels[labels >= 0]).max()), len(problem.classes)
    each = max(2, min(most, recipe.support // classes))
    sampler = SupportSampler(
        labels, classes_per_batch=classes, images_per_class=each, seed=problem.seed + number, names=problem.classes
    )
    return Source(
        TensorBank(pixels, MultiCrop(view), view),
        pool=torch.arange(len(pixels)),
        batch_size=min(recipe.batch_size, len(pixels)),
        sampler=sampler,
        smoothing=0.1,
        seed=problem.seed + number,
    )
