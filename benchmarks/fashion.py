"""Fashion-MNIST as a person's folder: features of 10,000 images in six views, and of the test images.

Made by the product's own views and runtime at 64 pixels, under a minute on two cores, once: kept in ``~/.cache/paws``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from paws.data.datasets import ImageSet, load_dataset
from paws.data.stored_views import VERSION, plain_view, random_views
from paws.models.frozen import Frozen
from paws.models.runtime import Runtime, cache_folder
from paws.models.sources import LITE, frozen_backbone
from paws.runs.keys import content_key

SIZE, POOL, VIEWS = 64, 10_000, 5
CHUNK = 250  # images embedded at a time


@dataclass(frozen=True, eq=False)
class Pool:
    """``views`` (N, 1 + K, D) float16 of the pool, read from disk; ``test`` (T, D) float16; labels int64 in [0, C)."""

    views: np.ndarray
    labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]


def fashion_features(
    pool: int = POOL, test: int = POOL, backbones: Sequence[str] = (LITE,), *, root: Path | None = None, tune: bool = False
) -> Pool:
    """The features of the first ``pool`` training images and of the first ``test`` test images, of all backbones.

    With ``tune`` training images that are not in the pool, the second 10,000 of them, stand in for the test images.
    """
    images, held_out = (load_dataset("fashion_mnist", root, split) for split in ("train", "test"))
    assert isinstance(images, ImageSet) and isinstance(held_out, ImageSet)
    if tune:
        held_out = replace(images, images=images.images[POOL : 2 * POOL], labels=images.labels[POOL : 2 * POOL])
    views, plain = [], []
    for frozen in (frozen_backbone(name, image_size=SIZE) for name in backbones):
        views.append(stored(images.images[:POOL], VIEWS, frozen, "fashion-pool", pool)[:pool])
        plain.append(stored(held_out.images, 0, frozen, "fashion-tune" if tune else "fashion-test", test)[:test, 0])
    return Pool(
        views[0] if len(views) == 1 else np.concatenate(views, 2),
        images.labels[:pool],
        torch.from_numpy(np.concatenate(plain, 1)),
        held_out.labels[:test],
        images.classes,
    )


def stored(images: Tensor, count: int, frozen: Frozen, name: str, needed: int, *, mirror: bool = True) -> np.ndarray:
    """Features (N, 1 + count, D) of grey images (N, 1, H, W) uint8, of which at least the first ``needed`` rows are there.

    Chunks that are done are kept under ``name``, whose first word is the key of the views.
    """
    folder = cache_folder() / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{frozen.size}-{VERSION}-{content_key(frozen.config())}.f16"
    shape = (len(images), 1 + count, frozen.feature_dim)
    done_path = path.with_suffix(".json")
    done = json.loads(done_path.read_text()) if done_path.is_file() and path.is_file() else 0
    features = np.memmap(path, np.float16, "r+" if done else "w+", shape=shape)
    if done < needed:
        run = Runtime(frozen)
        for start in range(done, needed, CHUNK):
            part = images[start : start + CHUNK]
            keys = [f"{name.split('-')[0]} {start + i}" for i in range(len(part))]
            pairs = zip(part, keys, strict=True)
            seen = torch.stack([_views(image, count, frozen, key, mirror) for image, key in pairs])  # (B, 1+K, 3, S, S)
            found = run(seen.flatten(0, 1)).view(len(part), *shape[1:])
            features[start : start + CHUNK] = found.half().numpy()
            features.flush()
            temporary = done_path.with_suffix(".tmp")
            temporary.write_text(json.dumps(start + len(part)))
            os.replace(temporary, done_path)
    return np.memmap(path, np.float16, "r", shape=shape)


def _views(image: Tensor, count: int, frozen: Frozen, key: str, mirror: bool) -> Tensor:
    image = image.expand(3, -1, -1)
    plain = plain_view(image, frozen.size, frozen.interpolation)[None]
    if not count:
        return plain
    return torch.cat([plain, random_views(image, count, frozen.size, frozen.interpolation, key, mirror=mirror)])


def draw(labels: Tensor, per_class: int, number: int) -> Tensor:
    """Labels (N,) of ``per_class`` images of each class in draw ``number``, -1 elsewhere."""
    known = torch.full_like(labels, -1)
    for c in range(int(labels.max()) + 1):
        rows = (labels == c).nonzero().flatten()
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1000 * number + c))
        known[rows[order[:per_class]]] = c
    return known
