"""What a run was made with: versions and machine, kept beside its results."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = {"paws": "paws-ssl", "torch": "torch", "torchvision": "torchvision", "timm": "timm", "numpy": "numpy"}


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that results depend on."""
    return {"python": platform.python_version(), **{name: _version(package) for name, package in PACKAGES.items()}}


def environment(device: Any, ranks: int) -> dict[str, Any]:
    """``versions``, and the platform, device and number of ranks of a run."""
    import torch

    kind = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else str(device)
    return {**versions(), "platform": platform.platform(), "device": kind, "ranks": ranks}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # run from a source tree
