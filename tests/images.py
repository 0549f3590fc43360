"""Small sets of real files in the published layouts, made by the tests."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = tuple(f"n{1440764 + 13 * c:08d}" for c in range(20))


def imagenet_folder(root: Path, *, train: int = 10, val: int = 5, size: tuple[int, int] = (40, 32), classes: int = 4) -> Path:
    """``root/{train,val}/<wnid>/*.JPEG`` (60 images by default): each class has a colour of its own, under noise."""
    draw = np.random.default_rng(0)
    for c, wnid in enumerate(WNIDS[:classes]):
        colour = np.array([c % 3, c // 3 % 3, c // 9]) * 70 + 40
        names = [f"train/{wnid}/{wnid}_{i}.JPEG" for i in range(train)]
        names += [f"val/{wnid}/ILSVRC2012_val_{5 * c + i:08d}.JPEG" for i in range(val)]
        for name in names:
            pixels = np.clip(colour + draw.normal(0, 40, (*size, 3)), 0, 255).astype(np.uint8)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / name, format="JPEG")
    return root


def cifar10_folder(root: Path, *, per_batch: int = 20) -> Path:
    """``root/cifar-10-batches-py`` as published: five batch files, a test batch and the names; noise around a colour."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    colours = draw.integers(40, 216, (10, 3, 1))
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        labels = [(per_batch * number + i) % 10 for i in range(per_batch)]
        pixels = np.clip(colours[labels] + draw.normal(0, 30, (per_batch, 3, 1024)), 0, 255).astype(np.uint8)
        content = {
            b"batch_label": b"a batch",
            b"labels": labels,
            b"data": pixels.reshape(per_batch, 3072),
            b"filenames": [b"image.png"] * per_batch,
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = {b"num_cases_per_batch": per_batch, b"label_names": [f"c{i}".encode() for i in range(10)], b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return root
