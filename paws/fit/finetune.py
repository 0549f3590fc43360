"""From heads on frozen features on to the whole network: PAWS on the pixels of the same images with the same labels.

The result is a fit of its own in ``RUN/finetuned``: a bundle with the new backbone, features, predictions.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paws.bundle.table import DIGITS
from paws.classifiers.calibration import inverse_temperature_for
from paws.classifiers.classifier import Classifier
from paws.classifiers.heads import HeadSettings
from paws.classifiers.paws_ensemble import PawsEnsemble
from paws.config.schema import Optim
from paws.data.files import FileBank
from paws.data.folder import FileSet
from paws.data.source import Source
from paws.data.stored_views import SCALE
from paws.data.support import SupportSampler
from paws.data.views import MultiCrop, View
from paws.errors import InputError
from paws.fit.choice import score
from paws.fit.fit import Fitted
from paws.fit.run import CHUNK
from paws.methods.paws import Paws, PawsSettings
from paws.models.encoder import Encoder
from paws.models.frozen import Frozen
from paws.runs.files import write_text
from paws.runs.log import read_metrics
from paws.runs.temporary import remove
from paws.train.intervals import Intervals
from paws.train.run import Run

BATCH = 32  # unlabelled images a step, in two views each
SUPPORT = 64  # labelled images a step, at most, unless there are more classes
LR = 3e-5
JITTER = 0.3  # of colours

FOLDER = "finetuned"
VERSION = 3  # of the recipe above: what another one made is made again


class VoteEmbedding(nn.Module):
    """Raw features (N, D) -> what the classifier's vote compares, (N, P) L2-normalised, with gradients."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        if not isinstance(classifier.predictor, PawsEnsemble):
            raise InputError(f"fine-tuning goes on from PAWS's heads, not from {classifier.predictor.title}; add --model paws")
        self.predictor = copy.deepcopy(classifier.predictor)
        self.classifier = copy.deepcopy(classifier)
        self.classifier.predictor = self.predictor
        self.predictor.heads.requires_grad_(True)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, P)."""
        return self.predictor.embed(self.classifier.points(features))


def finetune(
    folder: Path,
    files: FileSet,
    pool: Tensor,
    frozen: Frozen,
    classifier: Classifier,
    *,
    epochs: int,
    key: str,
    mirror: bool = True,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    quiet: bool = False,
) -> tuple[Frozen, PawsEnsemble, list[dict[str, Any]]]:
    """Train backbone and heads on the images ``pool`` (M,) of ``files``.

    Returns the new backbone, the new vote and the rows of metrics.

    ``folder`` holds checkpoints: called again with the same ``key`` it goes on from the last one, or is done.

    Raises:
        InputError: the classifier is not PAWS.
        paws.train.signals.Interrupted: a signal came; the state is saved.
    """
    marker = folder / "key"
    if folder.is_dir() and (not marker.is_file() or marker.read_text(encoding="utf-8") != key):
        remove(folder)  # of another fit
    head = VoteEmbedding(classifier)
    # batch norms stay in eval mode: a step has too few images to take their statistics from
    backbone = copy.deepcopy(frozen.model.backbone).requires_grad_(True)
    encoder = Encoder(backbone, head).to(device)
    source = _source(files, pool, frozen, mirror, seed, device, workers)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marker, key)
    settings = PawsSettings(temperature=head.predictor.temperature, sharpening=HeadSettings.sharpening)
    warmup = epochs * source.steps_per_epoch // 10 / source.steps_per_epoch
    optim = Optim(name="adamw", lr=LR, weight_decay=HeadSettings.weight_decay, epochs=epochs, warmup_epochs=warmup)
    with Run(torch.device(device), folder=folder / "run", intervals=Intervals(log=5), quiet=quiet, resume=True) as run:
        run.start(Paws(encoder, source, settings), optim)
        run.train()
    encoder.eval().requires_grad_(False).cpu()
    return frozen.with_weights(backbone.state_dict()), head.predictor, read_metrics(folder / "run")


def judged(
    predictor: PawsEnsemble,
    before: Classifier,
    former: np.ndarray,
    features: np.ndarray,
    labels: Tensor,
    test: Tensor,
    *,
    curves: list[dict[str, Any]],
) -> Fitted:
    """The classifier of the new vote on new features (N, 1, D), as sure on average as ``before`` is on the ``former`` ones,
    and abstaining as often.

    No label is left that training has not seen, so nothing shows what was gained, and nothing more is believed. Accuracy
    without test labels is that of the labelled images' votes on each other, which flatters; the record says so.
    """
    known = (labels >= 0).nonzero().flatten()
    plain = torch.from_numpy(np.array(features[:, 0])).float()
    classifier = Classifier(
        before.classes, predictor, before.mean, before.scale, plain[known], labels[known], before.components
    )
    parts = (torch.from_numpy(np.array(former[start : start + CHUNK])).float() for start in range(0, len(former), CHUNK))
    sure = torch.cat([before.votes(part).probabilities.amax(1) for part in parts])  # (N,)
    found = classifier.votes(plain).probabilities
    classifier.calibration.fill_(inverse_temperature_for(found, float(sure.mean())))
    probabilities = classifier.votes(plain).probabilities
    kept = int((sure.round(decimals=DIGITS) >= before.threshold.round(decimals=DIGITS)).sum())  # as they are written
    least = probabilities.amax(1).topk(kept).values[-1] - 10**-DIGITS if kept else 1.0
    classifier.threshold.fill_(least)
    votes, truth = classifier.leave_one_out(), labels[known]
    several = bool((torch.bincount(truth) > 1).all())
    seen, held = slice(None) if several else slice(0), test >= 0
    row = score(predictor.name, votes[seen], truth[seen])
    if bool(held.any()):
        right = float((probabilities[held].argmax(1) == test[held]).double().mean())
        row = replace(row, test=right)
    settings = {"finetuned": True, "lr": LR, "batch_size": BATCH}
    return Fitted(classifier, (row,), predictor.name, votes, 1.0, settings, curves, torch.full_like(truth, -1))


def _source(files: FileSet, pool: Tensor, frozen: Frozen, mirror: bool, seed: int, device: str, workers: int) -> Source:
    view = View(frozen.size, frozen.mean, frozen.std, scale=SCALE, flip=0.5 if mirror else 0.0, jitter=JITTER)
    classes = len(files.classes)
    most = int(torch.bincount(files.labels[files.labels >= 0]).max())
    sampler = SupportSampler(
        files.labels,
        classes_per_batch=classes,
        images_per_class=max(1, min(most, SUPPORT // classes)),
        seed=seed,
        names=files.classes,
    )
    return Source(
        FileBank(files.paths, MultiCrop(view), view, device=device, values=frozen.values),
        pool=pool,
        batch_size=min(BATCH, len(pool)),
        sampler=sampler,
        smoothing=HeadSettings.smoothing,
        seed=seed,
        workers=workers,
    )
