"""Random crops, flips and affine jitter of a whole batch at once, each image with its own parameters.

``f(images, ..., generator)`` draws parameters and applies the kernel beside it, which takes them explicitly, one per image, and
leaves its input as it is. Parameters are drawn on the CPU (``generator`` is a CPU generator), so that results do not depend on
the device and nothing waits for it.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from paws.seeds import uniform

Outside = Literal["zeros", "border"]
RATIO = (3 / 4, 4 / 3)  # width / height of a random crop
BLOCK = 1 << 18  # values of images that a CPU crops at a time: what is made of them stays in its cache


def crop_boxes(
    count: int, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], generator: Generator
) -> Tensor:
    """Random boxes (count, 4) int64 of (top, left, height, width), drawn as torchvision's RandomResizedCrop does.

    Area in ``scale`` of the image and width / height in ``ratio`` (log-uniform), at most ten tries, then the largest
    central box of an allowed ratio.
    """
    return boxes_from(*crop_draws(count, generator), height, width, scale, ratio)


def crop_draws(count: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """What chance says of ``count`` boxes, all in [0, 1): area and aspect of ten tries each (count, 10), place (2, count)."""
    return (
        torch.rand(count * 10, generator=generator).view(count, 10),
        torch.rand(count * 10, generator=generator).view(count, 10),
        torch.rand(2, count, generator=generator),
    )


def boxes_from(
    area: Tensor, aspect: Tensor, place: Tensor, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """The boxes (count, 4) of `crop_boxes` by its draws."""
    area = (area * (scale[1] - scale[0]) + scale[0]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (aspect * (high - low) + low).exp()
    w, h = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()  # (count, 10)
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)  # (count, 1) the first try that fits
    whole = min(max(width / height, ratio[0]), ratio[1])  # aspect of the central box when none does
    found = fits.any(1)
    w = torch.where(found, w.gather(1, first)[:, 0], float(min(width, round(height * whole))))
    h = torch.where(found, h.gather(1, first)[:, 0], float(min(height, round(width / whole))))
    top, left = (place * torch.stack([height - h + 1, width - w + 1])).floor()
    top, left = torch.where(found, top, ((height - h) / 2).floor()), torch.where(found, left, ((width - w) / 2).floor())
    return torch.stack([top, left, h, w], 1).long()


def _resize_weights(start: Tensor, length: Tensor, flip: Tensor | None, size: int, out: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of antialiased linear interpolation from [start, start + length) of ``size`` pixels to those of ``out``, W wide.

    Boxes that agree share theirs: weights (K, W, size) of the dtype and on the device of ``out``, and which are a box's (B,).
    """
    key = (start * (size + 1) + length) * 2
    kinds, which = (key if flip is None else key + flip).unique(return_inverse=True)
    kinds, which = (each.to(out.device, non_blocking=True) for each in (kinds[:, None], which))
    width = out.shape[3]
    begin, length = (kinds // (2 * size + 2)).to(out.dtype), (kinds // 2 % (size + 1)).to(out.dtype)  # (K, 1)
    reach = (length / width).clamp_min(1)  # of the filter in pixels, to either side
    places = torch.arange(width, device=out.device, dtype=out.dtype) + 0.5
    places = torch.where(kinds % 2 == 1, width - places, places) * (length / width) / reach  # (K, W)
    pixels = torch.arange(size, device=out.device, dtype=out.dtype) - begin  # (K, size) relative to the box
    # a pixel outside of the box is infinitely far from every place
    pixels = torch.where((pixels >= 0) & (pixels < length), (pixels + 0.5) / reach, math.inf)
    weights = (pixels[:, None, :] - places[:, :, None]).abs_().clamp_(max=1).neg_().add_(1)  # (K, W, size)
    return weights.div_(weights.sum(2, keepdim=True)), which


def resized_crop(images: Tensor, boxes: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Crop boxes (n*B, 4), resize to ``size`` with antialiasing and mirror where ``flip`` (n*B,) bool: two batched products.

    ``images`` (B, ch, H, W), of which box i is cut from number i modulo B, may be uint8 (values are scaled to [0, 1]) or float.
    Returns float (n*B, ch, size, size).
    """
    (batch, channels, height, width), count, whole = images.shape, len(boxes), images.is_floating_point()
    found = images.new_empty(count, channels, size, size, dtype=images.dtype if whole else torch.float32)
    down, rows = _resize_weights(boxes[:, 0], boxes[:, 2], None, height, found)  # (K, size, H), (n*B,)
    across, columns = _resize_weights(boxes[:, 1], boxes[:, 3], flip, width, found)
    down, across = down if whole else down / 255, across.transpose(1, 2).contiguous()  # (K, width, size)
    numbers = torch.arange(count, device=images.device) % max(1, batch)
    few = BLOCK // (channels * height * width) if images.device.type == "cpu" else count
    parts = (each.split(max(1, few)) for each in (found, numbers, rows, columns))
    for part, number, row, column in zip(*parts, strict=True):
        pixels = images.index_select(0, number).to(found.dtype).flatten(1, 2)  # (b, ch*H, W)
        narrow = _product(pixels, across.index_select(0, column)).unflatten(1, (channels, height))
        _product(down.index_select(0, row)[:, None], narrow, out=part)
    return found


def _product(left: Tensor, right: Tensor, out: Tensor | None = None) -> Tensor:
    """``left @ right`` of many matrices; numpy makes up to twice as many small ones, each the work of one thread, as torch."""
    if left.device.type == "cpu" and left.shape[-2] * right.shape[-2] * right.shape[-1] <= 1 << 18:
        return torch.from_numpy(np.matmul(left.numpy(), right.numpy(), out=None if out is None else out.numpy()))
    return torch.matmul(left, right, out=out)


def center_crop_boxes(count: int, height: int, width: int, size: int, resize: int) -> Tensor:
    """Boxes (count, 4) that resizing the short side to ``resize`` and cutting the central ``size`` amounts to."""
    side = round(min(height, width) * size / resize)
    return torch.tensor([(height - side) // 2, (width - side) // 2, side, side]).expand(count, 4)


def affine(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor, *, outside: Outside = "zeros") -> Tensor:
    """Rotate clockwise by ``degrees`` (B,), enlarge by ``scale`` (B,), move by ``shift`` (B, 2) pixels x, y.

    ``outside`` of the image is zero, or what is at its border.
    """
    angle = degrees.to(torch.float64).deg2rad()
    cos, sin = angle.cos() / scale, angle.sin() / scale
    height, width = images.shape[2:]
    x, y = 2 * shift[:, 0] / width, 2 * shift[:, 1] / height
    aspect = height / width
    theta = torch.stack(
        [cos, sin * aspect, -(cos * x + sin * aspect * y), -sin / aspect, cos, sin / aspect * x - cos * y], 1
    ).view(-1, 2, 3)
    grid = F.affine_grid(theta.to(images.device, images.dtype, non_blocking=True), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def affine_jitter(
    images: Tensor,
    degrees: float,
    shift: float,
    scale: tuple[float, float],
    *,
    outside: Outside = "zeros",
    generator: Generator,
) -> Tensor:
    """Rotation in ±``degrees``, shift in ±``shift`` of the size, enlargement in ``scale``; no mirroring: digits stay digits."""
    count, (height, width) = len(images), images.shape[2:]
    moves = (torch.rand(count, 2, generator=generator) * 2 - 1) * shift * torch.tensor([width, height])
    turns = uniform(count, -degrees, degrees, generator)
    return affine(images, turns, moves, uniform(count, *scale, generator), outside=outside)
