"""The contents of the page of a training run: its last checkpoint, tried on the held-out split."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paws.data.store import Images
from paws.data.task import Task
from paws.methods import method
from paws.metrics import calibration_error, reliability, wilson_interval
from paws.report.contents import Contents, Evaluated, Gallery, Headline, MethodBar, written
from paws.report.network import TrainedNetwork
from paws.report.thumbnails import SIDES
from paws.runs.log import read_metrics
from paws.seeds import generator
from paws.train import load_run

MOST_TESTED = 10_000  # held-out images; more say little more
SHOWN, SHOWN_LABELLED = 900, 600  # images in the gallery
NEIGHBOURS = 3


def training_contents(folder: Path) -> Contents:
    """Read a run folder of ``paws train``. Raises InputError for a folder without a run, or without a checkpoint."""
    config, task, model, state = load_run(folder)
    network, title = TrainedNetwork(config, task, model, next(model.parameters()).device), method(config.recipe.name).title
    if task.test is None:  # then only the labelled images can be judged, each by the others
        images, on, shown_from = (
            task.train.select(task.labelled),
            "labelled images, each by the vote of the others",
            _unlabelled(task),
        )
    else:
        images = _some(task.test, MOST_TESTED)
        on, shown_from = "images of the held-out split", images
    embedded = network.embed(images)
    probabilities = network.probabilities(images, embedded, leave_out=task.test is None)
    confidence, predicted = probabilities.max(1)[0], probabilities.argmax(1).numpy()
    correct = torch.from_numpy(images.labels.numpy() == predicted)
    right, count = int(correct.sum()), len(images)
    evaluated = Evaluated(
        images.labels.numpy(),
        predicted,
        confidence.numpy(),
        f"{count:,} {on}",
        calibration_error(confidence, correct),
        reliability(confidence, correct),
    )
    classes = len(task.classes)
    return Contents(
        title=folder.resolve().name,
        summary=f"{title} on {config.data.dataset}: {len(task.train):,} training images, "
        f"{len(task.labelled):,} of them labelled, {classes} classes; {config.model.name} after {state['step']:,} steps.",
        classes=task.classes,
        headline=Headline(right / count, wilson_interval(right, count), f"right on {evaluated.on}."),
        bars=_bars(folder, right, count, title) if task.test is not None else (),
        measured_on=evaluated.on,
        curves=tuple(read_metrics(folder)),
        evaluated=evaluated,
        labelled=np.bincount(network.labels.numpy(), minlength=classes),
        shares=np.bincount(predicted, minlength=classes) / count,
        gallery=_gallery(network, _some(shown_from, SHOWN), len(shown_from)),
        about=_about(config.model_dump(mode="json"), state, folder),
    )


def _some(images: Images, most: int) -> Images:
    """All images, or ``most`` of them drawn at random, always the same."""
    if len(images) <= most:
        return images
    return images.select(torch.randperm(len(images), generator=generator(0, "report"))[:most].sort().values)


def _unlabelled(task: Task) -> Images:
    rows = torch.ones(len(task.train), dtype=torch.bool)
    rows[task.labelled] = False
    return task.train.select(rows.nonzero()[:, 0]) if bool(rows.any()) else task.train


def _bars(folder: Path, right: int, count: int, name: str) -> tuple[MethodBar, ...]:
    """The run beside the baselines that ``paws train --compare`` measured on the same images, the best first."""
    path = folder / "baselines.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = MethodBar(f"{name}, this run", right / count, wilson_interval(right, count), chosen=True)
    others = [MethodBar(other, top1, wilson_interval(round(top1 * count), count)) for other, top1 in found.items()]
    return tuple(sorted([own, *others], key=lambda bar: -bar.accuracy)) if others else ()


def _gallery(network: TrainedNetwork, shown: Images, of: int) -> Gallery:
    """The shown images, then labelled ones: those nearest to the shown, and further ones up to a bound."""
    embedded = network.embed(shown)
    probability, predicted = network.probabilities(shown, embedded).max(1)
    support = torch.randperm(len(network.labels), generator=generator(0, "report"))[:SHOWN_LABELLED]
    votes = None
    if not network.classifies:
        votes = network.weights(embedded).topk(min(NEIGHBOURS, len(network.labels)), dim=1)
        support = torch.cat([votes.indices.flatten().unique(), support])[: max(SHOWN_LABELLED, len(votes.indices.unique()))]
    support = support.unique()
    labelled = network.task.train.select(network.task.labelled[support])
    position = torch.full((len(network.labels),), -1).scatter(0, support, torch.arange(len(support)) + len(shown))

    def open_picture(i: int) -> Image.Image:
        images, row = (shown, i) if i < len(shown) else (labelled, i - len(shown))
        return images.open(row, SIDES[0])

    def beside(values: Tensor, of_labelled: float) -> np.ndarray:
        """Values of the shown images, then the same one for every labelled image."""
        return torch.cat([values, values.new_full((len(support), *values.shape[1:]), of_labelled)]).numpy()

    known = labelled.labels.numpy()
    has_truth = network.task.test is not None
    return Gallery(
        names=[*_names(shown, "held-out image" if has_truth else "image"), *_names(labelled, "labelled image")],
        given=np.concatenate([np.full(len(shown), -1), known]),
        truth=np.concatenate([shown.labels.numpy() if has_truth else np.full(len(shown), -1), known]),
        predicted=np.concatenate([predicted.numpy(), known]),
        probability=beside(probability, 1.0),
        embedding=torch.cat([embedded, network.support[support]]).numpy(),
        open=open_picture,
        unfamiliar=beside(1 - (embedded @ network.support.T).amax(1), 0.0),
        neighbours=None if votes is None else beside(position[votes.indices], -1),
        weights=None if votes is None else beside(votes.values, 0.0),
        of=of + len(network.labels),
    )


def _names(images: Images, kind: str) -> list[str]:
    return [f"{kind} {i}" for i in range(len(images))] if images.names is None else list(images.names)


def _about(config: dict[str, Any], state: dict[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    """Every setting of the run by section, and the versions."""
    groups: dict[str, dict[str, str]] = {"run": {"folder": str(folder), "step": str(state["step"])}}
    for key, value in config.items():
        if isinstance(value, dict):
            groups[key] = {name: written(setting) for name, setting in value.items() if setting is not None}
        else:
            groups["run"][key] = written(value)
    groups["versions"] = {"torch": str(state["torch"]), "paws": version("paws-ssl")}
    return groups
