"""What test files share: a cache that no test leaves behind, and a backbone of 0.1 million weights without the hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
