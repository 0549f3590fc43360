"""Antialiased resizing of pixels as torchvision does it, without torchvision, which takes almost two seconds to import."""

from __future__ import annotations

import platform

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(images: Tensor, height: int, width: int, mode: str = "bilinear") -> Tensor:
    """uint8 or float (..., H, W) -> (..., height, width), ``mode`` "bilinear" or "bicubic"; float values may overshoot.

    As `torchvision.transforms.v2.functional.resize` to the bit. uint8 on a CPU is worked on as it is where torch has kernels
    for it, and is rounded from float elsewhere.
    """
    if images.shape[-2:] == (height, width):
        return images
    batch = images.reshape(-1, *images.shape[-3:])
    if len(batch) == 1:  # where only the strides of a single image say that it lies channels last, they must say so fully
        batch = batch.as_strided(batch.shape, (batch.numel(), *batch.stride()[1:]))
    whole = batch.is_floating_point() or (batch.device.type == "cpu" and (mode == "bicubic" or _fast_bytes()))
    found = F.interpolate(batch if whole else batch.float(), (height, width), mode=mode, align_corners=False, antialias=True)
    found = found if whole else found.clamp_(0, 255).round_().to(images.dtype)
    return found.reshape(*images.shape[:-2], height, width)


def resized_crop(image: Tensor, box: list[int], size: int, mode: str = "bilinear") -> Tensor:
    """The ``box`` (top, left, height, width) inside of images (..., H, W), as (..., size, size)."""
    top, left, height, width = box
    return resize(image[..., top : top + height, left : left + width], size, size, mode)


def resized_centre(images: Tensor, short: int, size: int) -> Tensor:
    """The shorter side of images (..., H, W) to ``short`` pixels, of which the central ``size`` <= ``short`` are kept."""
    height, width = images.shape[-2:]
    if height <= width:
        images = resize(images, short, int(short * width / height))
    else:
        images = resize(images, int(short * height / width), short)
    top, left = (round((side - size) / 2) for side in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def _fast_bytes() -> bool:
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")
