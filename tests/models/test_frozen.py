"""Frozen backbones: weights from anywhere but by chance, and the same features from every way to compute them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity

from paws.errors import InputError
from paws.models import runtime
from paws.models.frozen import Frozen
from paws.models.joined import frozen_from
from paws.models.runtime import Runtime
from paws.models.sources import frozen_backbone
from tests.conftest import TINY, scaled

SIZE = 32


@pytest.fixture(scope="module")
def tiny(tiny_weights: Path) -> Frozen:
    return frozen_backbone(TINY, tiny_weights, SIZE)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (37, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_hand(name: str, weights: dict, images: torch.Tensor) -> torch.Tensor:
    """timm's own model on normalised images, in float64."""
    model = timm.create_model(name, num_classes=0)
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("classifier")})
    mean, std = (torch.tensor(model.pretrained_cfg[key], dtype=torch.float64).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        return model.eval().double()((images.double() / 255 - mean) / std)


def test_the_network_is_timms_on_normalised_pixels(tiny: Frozen, tiny_weights: Path, images: torch.Tensor) -> None:
    expected = by_hand(TINY, load_file(tiny_weights), images)
    torch.testing.assert_close(tiny.model(images), expected.float(), rtol=1e-3, atol=1e-5)
    assert tiny.feature_dim == expected.shape[1]
    assert not any(p.requires_grad for p in tiny.model.parameters())


def test_onnxruntime_agrees_for_any_number_of_images(tiny: Frozen, images: torch.Tensor) -> None:
    run = Runtime(tiny)
    for count in (0, 1, 32, 37):
        features = run(images[:count])
        assert features.shape == (count, tiny.feature_dim)
        if count:
            assert cosine_similarity(features, tiny.model(images[:count])).min() > 1 - 1e-3


def test_the_way_of_gpus_agrees(tiny_weights: Path, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtime.BATCH, "cuda", 40)
    frozen = frozen_backbone(TINY, tiny_weights, SIZE)
    features = runtime._compiled(frozen, torch.device("cpu"), backend="eager")(images)
    assert features.shape == (37, frozen.feature_dim)
    assert cosine_similarity(features, frozen.model(images)).min() > 1 - 1e-3


def cached() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (runtime.cache_folder() / "onnx").iterdir()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWS_CACHE", str(tmp_path))


@pytest.mark.usefixtures("cache")
def test_the_export_is_made_once_and_again_for_other_weights(tiny: Frozen) -> None:
    first = runtime.exported(tiny)
    stamps = cached()
    assert len(stamps) == 1
    assert runtime.exported(tiny) == first
    assert cached() == stamps
    other = scaled(tiny, 2)
    assert other.digest != tiny.digest
    assert runtime.exported(other) != first
    assert len(cached()) == 2


@pytest.mark.usefixtures("cache")
def test_a_damaged_export_is_made_anew(tiny: Frozen) -> None:
    first = runtime.exported(tiny)
    (path,) = cached()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert runtime.exported(tiny) == first
    assert [path.read_bytes() for path in cached()] == [first]


@pytest.mark.usefixtures("cache")
def test_the_export_goes_by_the_weights_that_are_read_and_not_by_a_claim(tiny: Frozen, images: torch.Tensor) -> None:
    Runtime(tiny)
    other = scaled(tiny, 1.5)
    claimed = frozen_from({**other.config(), "digest": tiny.digest}, other.weights)
    assert cosine_similarity(Runtime(claimed)(images), other.model(images)).min() > 1 - 1e-3


def test_an_unwritable_cache_is_named(tiny: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAWS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="PAWS_CACHE"):
        runtime.exported(tiny)


def test_config_and_weights_make_it_again(tiny: Frozen, images: torch.Tensor) -> None:
    again = frozen_from(tiny.config(), tiny.weights)
    assert torch.equal(again.model(images), tiny.model(images))
