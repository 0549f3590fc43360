"""The step of a fit that trains encoders: where they begin, all of them one after the other, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from paws.classifiers.heads import settings_for
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.classifiers.problem import Encoded, Problem
from paws.data.stored_views import view_batches
from paws.errors import InputError
from paws.fit.encoders import Begin, as_backbone, begins, encoder_count, teacher_share, train_encoder
from paws.fit.progress import StepProgress
from paws.metrics import accuracy
from paws.models.encoder import Encoder
from paws.models.frozen import Frozen
from paws.models.joined import Backbone
from paws.runs.files import reason_of, reserve, write_text
from paws.runs.temporary import remove
from paws.voting import soft_vote

FOLDER, KEY = "training", "key"
LARGER = 1.25  # sides of the pictures that views are cut from, relative to the views
AGREED = 0.8  # share of images that two views name alike, from which on features are not doubted where no label tells
SLACK = 1.0  # standard errors by which a small network may tell less: it errs elsewhere than the features, and so adds to them
BATCH = 64  # pictures decoded at a time, and embedded


@dataclass(frozen=True)
class Folder:
    """The images to train on, and how."""

    paths: Sequence[str]  # (N) files of the images of the problem
    train: str  # light or full
    epochs: int | None
    mirror: bool
    workers: int = 0


def train_encoders(
    folder: Path, key: str, problem: Problem, images: Folder, frozen: Backbone, progress: StepProgress
) -> tuple[Frozen, Encoded]:
    """Encoders as one more part of the backbone, and what is known of them, their embeddings yet to be made.

    ``folder`` holds checkpoints: called again with the same ``key`` it goes on from the last one.

    Raises:
        InputError: no room for the pixels.
        paws.runs.signals.Interrupted: a signal came; the state is saved.
    """
    _prepare(folder, key)
    found = begins(frozen.parts[0], images.train)
    trial = _Trainer(folder / "scratch", problem, images, found["scratch"], progress)
    scratch, why = _from_scratch(problem, trial)
    progress.log("train", why)
    chosen = trial if scratch else _Trainer(folder / images.train, problem, images, found[images.train], progress)
    networks, curves = chosen.all()
    begin, steps = chosen.begin, curves[-1]["step"] if curves else 0
    progress.log(
        "train",
        f"{len(networks)} encoders of {begin.frozen.name} at {begin.frozen.size} pixels, {steps} steps each; "
        f"{progress.seconds['train']:.0f} s",
    )
    about = asdict(begin.recipe) | {"backbone": begin.frozen.name, "scratch": scratch, "count": len(networks)}
    about |= {"steps": steps, "why": why, "teacher": teacher_share(problem, begin.recipe)}
    nothing = torch.empty(0)
    return as_backbone(networks, begin), Encoded(nothing, len(networks), settings_for(problem).temperature, about, curves)


class _Trainer:
    """Encoders of one beginning; each is trained when it is first asked for."""

    def __init__(self, folder: Path, problem: Problem, images: Folder, begin: Begin, progress: StepProgress) -> None:
        self.folder, self.problem, self.images, self.begin, self.progress = folder, problem, images, begin, progress
        self.trained: dict[int, tuple[Encoder, list[dict[str, Any]]]] = {}

    def encoder(self, number: int) -> tuple[Encoder, list[dict[str, Any]]]:
        """Encoder ``number``, and the rows of its metrics."""
        if number not in self.trained:
            with self.progress.timed("train"):
                self.trained[number] = train_encoder(
                    self.folder / f"encoder-{number}",
                    self.problem,
                    self.pixels,
                    self.begin,
                    number,
                    epochs=self.images.epochs,
                    mirror=self.images.mirror,
                    quiet=self.progress.quiet,
                )
        return self.trained[number]

    def all(self) -> tuple[list[Encoder], list[dict[str, Any]]]:
        """All encoders, and the mean over them of the rows of their metrics."""
        found = [self.encoder(number) for number in range(encoder_count(self.problem))]
        remove(self.folder / "pixels.u8")
        return [network for network, _ in found], mean_rows([rows for _, rows in found])

    @property
    def pixels(self) -> Tensor:
        """uint8 (N, 3, s, s) of the largest central square of each image, on disk."""
        frozen = self.begin.frozen
        side, path = round(LARGER * frozen.size), self.folder / "pixels.u8"
        shape = (len(self.images.paths), 3, side, side)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                part = path.with_suffix(".part")
                with open(part, "wb") as file:
                    reserve(file.fileno(), int(np.prod(shape)))
                    for views in view_batches(
                        self.images.paths,
                        0,
                        [(side, frozen.interpolation)],
                        batch_size=BATCH,
                        workers=self.images.workers,
                        values=frozen.values,
                    ):
                        if faults := [fault for fault in views.faults if fault]:
                            raise InputError("\n".join(faults))
                        file.write(views.views[0].numpy().tobytes())
                part.rename(path)
            return torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=shape))
        except OSError as error:
            raise InputError(f"{path}: {reason_of(error)}") from None


def mean_rows(rows: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The mean over several trainings of equal length of their rows of metrics, one row for each step."""
    return [
        {name: value if name in ("step", "epoch") else sum(row[name] for row in at) / len(at) for name, value in at[0].items()}
        for at in zip(*rows, strict=False)
    ]


def _from_scratch(problem: Problem, trial: _Trainer) -> tuple[bool, str]:
    """Whether encoders begin with random weights, and why: by held-out labels, or without any by how far views agree."""
    heads = problem.cross_fitted(PawsEnsemble)
    if problem.fold_count:
        scratch, found = _on_trial(problem, trial, heads.held_out)
    else:
        scratch = heads.agreement < AGREED
        found = f"from the features two views of an image get the same class in {heads.agreement:.0%}, no label can be held out"
    return scratch, f"{found}: encoders {'from random weights' if scratch else 'go on from the pretrained network'}"


def _on_trial(problem: Problem, trial: _Trainer, held_out: Tensor) -> tuple[bool, str]:
    """Whether a small network without the first fold tells about as much of its labels as the heads do, (S, C)."""
    rows, known, others = (problem.fold == 0).nonzero().flatten(), problem.support_labels, problem.shown(0)
    points = _embedded(trial.encoder(0)[0], trial, problem.labelled)
    votes = soft_vote(points[rows], points[others], known[others], len(problem.classes), balanced=True)
    before, after = (accuracy(found, known[rows]) for found in (held_out[rows], votes))
    likely = (before * len(rows) + 1) / (len(rows) + 2)  # not 0 nor 1, which few labels do not tell
    error = (likely * (1 - likely) / len(rows)) ** 0.5
    told = f"of {len(rows)} labels held out the features tell {before:.0%}, a small network from random weights {after:.0%}"
    return after >= before - SLACK * error, told


@torch.inference_mode()
def _embedded(network: Encoder, trial: _Trainer, chosen: Tensor) -> Tensor:
    """(n, W) embeddings of the plain views of the images ``chosen`` (n,)."""
    frozen = trial.begin.frozen
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (frozen.mean, frozen.std))
    found = []
    for rows in chosen.split(BATCH):
        pixels = torch.nn.functional.interpolate(trial.pixels[rows].float(), frozen.size, mode="bilinear", antialias=True)
        found.append(normalize(network((pixels / 255 - mean) / std)[0], dim=1))
    return torch.cat(found)


def _prepare(folder: Path, key: str) -> None:
    """An empty folder, unless what is in it is of the same key."""
    marker = folder / KEY
    if folder.is_dir() and (not marker.is_file() or marker.read_text(encoding="utf-8") != key):
        remove(folder)  # of another fit
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marker, key)
