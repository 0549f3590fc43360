"""Weights from anywhere but by chance: files, installed packages, the hub, Python; and several backbones as one."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from paws.bundle.bundle import load_bundle, save_bundle
from paws.bundle.export import Deployed
from paws.classifiers.heads import HeadSettings
from paws.errors import InputError
from paws.fit.fit import fit_features
from paws.models import build_backbone, runtime, sources
from paws.models.embedding import Embedder
from paws.models.frozen import Frozen
from paws.models.hub import PACKAGES
from paws.models.joined import blocks, frozen_from, join
from paws.models.runtime import Runtime
from paws.models.sources import LITE, backbone_from, frozen_backbone, frozen_backbones
from tests.conftest import PATTERNS, TINY, draw

SIZE = 32
PICTURES = [draw("dots", 1), draw("rows", 2), draw("slope", 3, 40)]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packaged_weights_are_those_of_timms_model(name: str) -> None:
    module, file = PACKAGES[name]
    package = pytest.importorskip(module)
    stored = torch.load(getattr(package, file).get_model_file_path(), weights_only=True)
    frozen = frozen_backbone(name, image_size=64)
    state = frozen.weights()
    # counterparts by name: stem, a depthwise filter of the first block, the statistics before pooling
    for ours, theirs in (
        ("conv_stem.weight", "_conv_stem.weight"),
        ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
        ("bn2.running_var", "_bn1.running_var"),
    ):
        assert torch.equal(state[ours], stored[theirs])
    assert (frozen.feature_dim, frozen.size, frozen.interpolation) == (sum(stage_widths(frozen)), 64, "bicubic")
    # features of a picture are those of a trained network: the classifier of the package names it with confidence
    y, x = np.mgrid[:64, :64]
    stripes = torch.from_numpy(np.broadcast_to(((x + y) // 8 % 2 * 255).astype(np.uint8), (1, 3, 64, 64)).copy())
    logits = frozen.model.backbone(stripes / 127.5 - 1) @ stored["_fc.weight"].T + stored["_fc.bias"]
    assert logits.softmax(1).max() > 0.05


def stage_widths(frozen: Frozen) -> list[int]:
    """Channels of the stages from stride 16 on, as timm describes the network."""
    return [stage[-1].conv_pwl.out_channels for stage in frozen.model.backbone.blocks[3:]]  # type: ignore[index, union-attr]


def test_features_of_the_lite_models_are_the_means_of_their_late_stages() -> None:
    frozen = frozen_backbone(LITE, image_size=64)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network: Any = frozen.model.backbone
    with torch.inference_mode():
        x, means = nn.functional.relu6(network.bn1(network.conv_stem(images / 127.5 - 1))), []
        for block in network.blocks:
            x = block(x)
            means.append(x.flatten(2).mean(2))
        assert torch.allclose(frozen.model(images), torch.cat(means[3:], 1), atol=1e-4)
        assert torch.allclose(Runtime(frozen)(images), frozen.model(images), atol=1e-4)
        compiled = runtime._compiled(frozen, torch.device("cpu"), backend="eager")
        assert torch.nn.functional.cosine_similarity(compiled(images), frozen.model(images)).min() > 0.999
    assert [len(part) for part in frozen.model(images)[0].split(stage_widths(frozen))] == [80, 112, 192, 320]


def test_layers_go_into_the_bundle_and_unknown_ones_are_named(tmp_path: Path) -> None:
    frozen = frozen_backbone(LITE, image_size=64)
    again = frozen_from(frozen.config(), frozen.weights)
    assert again.parts[0].layers == frozen.layers
    former = frozen_from({k: v for k, v in frozen.config().items() if k != "layers"} | {"feature_dim": 1280}, frozen.weights)
    assert former.parts[0].model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 1280)  # of bundles without layers
    with pytest.raises(InputError, match=r"no layers 'blocks\.9'"):
        _ = frozen_from(frozen.config() | {"layers": ["blocks.9"]}, frozen.weights).parts[0].model


@pytest.mark.parametrize("name", ["levit_128s", "repvit_m0_9", "test_vit", "test_resnet"])
def test_a_file_with_any_kind_of_classifier_is_taken(name: str, tmp_path: Path) -> None:
    whole = timm.create_model(name)
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / "w.safetensors")
    frozen = frozen_backbone(name, tmp_path / "w.safetensors")
    assert frozen.feature_dim > 0
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in frozen.weights().items())


def test_a_model_of_one_size_is_used_at_that_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LARGEST", 100)
    save_file(timm.create_model("test_maxvit").state_dict(), tmp_path / "w.safetensors")
    assert frozen_backbone("test_maxvit", tmp_path / "w.safetensors").size == 160


class Mean(nn.Module):
    """Mean and spread of each channel, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)) * self.weight, images.std((2, 3))], dim=1)  # (B, 6)


def corners(images: Tensor) -> Tensor:
    return images[:, :, ::7, ::7].flatten(1)  # (B, 3 * 3 * 3)


def test_a_module_and_a_function_are_backbones() -> None:
    network = Mean().train()
    module = backbone_from(network, name="mean", size=SIZE, width=6)
    assert network.training and network.weight.requires_grad, "the caller's network stays as it is"
    features = Embedder(module).features(PICTURES)
    assert features.shape == (3, 1, 6)
    assert 0 < float(features[..., 0].min()) < float(features[..., 0].max()) < 1
    function = backbone_from(corners, name="corners", size=21, width=27, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert Embedder(function).features(PICTURES, views=2).shape == (3, 3, 27)
    with pytest.raises(InputError, match="corners: 27 features, not the 30 that were declared"):
        backbone_from(corners, name="corners", size=21, width=30)
    with pytest.raises(InputError, match=r"flat: two images must give features of shape \(2, width\), not \(54,\)"):
        backbone_from(lambda images: corners(images).flatten(), name="flat", size=21, width=54)


def test_several_backbones_are_one_of_named_blocks(tiny_weights: Path) -> None:
    tiny, mean = frozen_backbone(TINY, tiny_weights, SIZE), backbone_from(Mean(), name="mean", size=48, width=6)
    both = join([tiny, mean])
    assert both.feature_dim == tiny.feature_dim + 6
    assert blocks(both) == {TINY: slice(0, tiny.feature_dim), "mean": slice(tiny.feature_dim, tiny.feature_dim + 6)}
    features = Embedder(both).features(PICTURES, views=1)
    for part in (tiny, mean):
        torch.testing.assert_close(features[..., blocks(both)[part.name]], Embedder(part).features(PICTURES, views=1))
    again = frozen_from(both.config(), both.weights, {"mean": Mean()})
    assert (again.name, again.digest) == (f"{TINY}+mean", both.digest)
    assert torch.equal(Embedder(again).features(PICTURES), Embedder(both).features(PICTURES))
    with pytest.raises(InputError, match="the same backbone twice"):
        join([both, tiny])
    with pytest.raises(InputError, match="1 files of weights for 2 backbones"):
        frozen_backbones([TINY, TINY], [tiny_weights])


def test_a_bundle_holds_several_and_asks_for_those_of_python(tiny_weights: Path, tmp_path: Path) -> None:
    both = join([frozen_backbone(TINY, tiny_weights, SIZE), backbone_from(Mean(), name="mean", size=48, width=6)])
    pictures = [draw(pattern, number) for pattern in PATTERNS[:2] for number in range(6)]
    labels = torch.tensor([0, 0, 0, -1, -1, -1, 1, 1, 1, -1, -1, -1])
    fitted = fit_features(Embedder(both).features(pictures, views=1), labels, PATTERNS[:2], settings=HeadSettings(steps=5))
    save_bundle(tmp_path / "bundle", fitted.classifier, both, [f"{i}.png" for i in range(6)])
    with pytest.raises(InputError, match="'mean' is a network from Python: give it again"):
        load_bundle(tmp_path / "bundle").features(pictures)
    loaded = load_bundle(tmp_path / "bundle", networks={"mean": Mean()})
    assert torch.equal(loaded.features(pictures), Embedder(both).features(pictures)[:, 0])
    deployed = Deployed(loaded)(torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures]))[0]
    predicted = torch.tensor([p.probability for p in loaded.predict(pictures)])
    assert (deployed.amax(1) - predicted).abs().max() < 1e-3


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
        with pytest.raises(InputError, match=r"cannot be reached.*model\.pretrained=false"):
            build_backbone(f"timm:{TINY}", pretrained=True)


def test_a_network_that_is_trained_begins_with_the_weights_of_an_installed_package() -> None:
    stored = torch.load(
        getattr(pytest.importorskip(PACKAGES[LITE][0]), PACKAGES[LITE][1]).get_model_file_path(), weights_only=True
    )
    network = build_backbone(f"timm:{LITE}", pretrained=True).state_dict()
    assert torch.equal(network["conv_stem.weight"], stored["_conv_stem.weight"])
    assert torch.equal(network["bn2.running_var"], stored["_bn1.running_var"])
