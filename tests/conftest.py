"""What test files share: a cache that no test leaves behind, and a backbone of 0.1 million weights without the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paws.models.frozen import Frozen, Held
from tests.commands import Command

TINY = "test_efficientnet"  # of timm


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Exported networks go to a folder of this session."""
    former = os.environ.get("PAWS_CACHE")
    os.environ["PAWS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if former is None:
        del os.environ["PAWS_CACHE"]
    else:
        os.environ["PAWS_CACHE"] = former


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of ``TINY`` as a file for ``--weights``: drawn at random, with batch norm statistics of noise."""
    import timm
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        model = timm.create_model(TINY)
        for _ in range(20):  # running statistics, so that eval mode sees sensible activations
            model(torch.rand(16, 3, 32, 32) * 2 - 1)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return path


PATTERNS = ("dots", "rows", "slope")


def scaled(frozen: Frozen, factor: float) -> Frozen:
    """The same network with other weights: ``factor`` times as large."""
    return replace(frozen, weights=Held({name: value * factor for name, value in frozen.weights().items()}))


def draw(pattern: str, number: int, size: int = 24) -> Image.Image:
    """A picture that shows its class: bright dots, rows, or a slope, in a colour of its own and with noise."""
    random = np.random.default_rng([PATTERNS.index(pattern), number])
    y, x = np.mgrid[:size, :size] / size
    shift = random.random()
    shape = {
        "dots": (np.sin(40 * x + 9 * shift) > 0.3) & (np.sin(40 * y + 9 * shift) > 0.3),
        "rows": np.sin(30 * y + 9 * shift) > 0,
        "slope": (x + y) / 2,
    }[pattern]
    picture = shape[..., None] * random.uniform(0.6, 1, 3) + 0.1 * random.random((size, size, 3))
    return Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8))


def write_patterns(folder: Path, per_class: int = 12, labelled: int = 4, classes: Sequence[str] = PATTERNS) -> Path:
    """``folder/images`` with ``per_class`` pictures of each class, and ``folder/labels.csv`` naming some of them."""
    rows = ["file,label"]
    for pattern in classes:
        for number in range(per_class):
            name = f"{'deep er/' if number % 2 else ''}{pattern[0]}ü-{number}.png"
            path = folder / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(pattern, number).save(path)
            if number < labelled:
                rows.append(f"{name},{pattern}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "images"


@pytest.fixture(scope="session")
def fitted_run(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """The run folder of a small fit: 36 images of three patterns, 4 labels each. Read only; its images lie beside it."""
    from paws.config.options import FitOptions
    from paws.fit.pipeline import fit_folder

    folder = tmp_path_factory.mktemp("fitted")
    images = write_patterns(folder)
    options = FitOptions(backbone=TINY, weights=str(tiny_weights), image_size=32, views=2, steps=30)
    return fit_folder(images, folder / "labels.csv", folder / "run", options, workers=0, quiet=True).folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, called in this process."""
    return Command(monkeypatch, capsys)
