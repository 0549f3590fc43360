"""Fashion-MNIST in the format of CIFAR-10, and the published view pipeline on PIL images over all cores."""

from __future__ import annotations

import os
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.views import pil_pipeline
from paws.data.datasets import DATASETS, load_dataset


def write_as_cifar10(source: Path | None, target: Path, *, images: int | None = None) -> None:
    """Fashion-MNIST's IDX files in ``source`` as python batches: 28 pixels padded to 32, grey in three channels.

    ``images``: only the first ones of each split.
    """
    folder = target / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for split, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        loaded = load_dataset("fashion_mnist", source, split)
        pixels = torch.nn.functional.pad(loaded.images[:images], (2, 2, 2, 2)).expand(-1, 3, -1, -1).flatten(1).numpy()
        labels = loaded.labels[:images].tolist()
        for name, rows in zip(names, np.array_split(np.arange(len(pixels)), len(names)), strict=True):
            batch = {"data": np.ascontiguousarray(pixels[rows]), "labels": labels[rows[0] : rows[-1] + 1]}
            (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(loaded.classes)}))


def _views_one_by_one(seconds: float) -> tuple[int, float]:
    """How many images' 2 + 6 views this process made in about ``seconds``, and the seconds it took."""
    torch.set_num_threads(1)
    info = DATASETS["cifar10"]
    large, small = ((32, (0.75, 1.0)), (18, (0.3, 0.75)))
    transforms = [pil_pipeline(*kind, info.mean, info.std) for kind in (large, large, *[small] * 6)]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    pictures = [Image.fromarray(image) for image in pixels]
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for transform in transforms:
            transform(pictures[count % len(pictures)])
        count += 1
    return count, time.perf_counter() - start


def pil_images_per_second(seconds: float) -> tuple[float, int]:
    """Images a second of which PIL and torchvision make 2 + 6 views on all cores together, and the number of cores."""
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_views_one_by_one, [0.01] * cores))  # imports
        return sum(count / taken for count, taken in pool.map(_views_one_by_one, [seconds] * cores)), cores
