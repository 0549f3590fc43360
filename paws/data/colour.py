"""Random colour operations of a whole batch at once, each image with its own parameters.

Images are float (B, ch, H, W) in [0, 1], ch 1 or 3. ``f(images, ..., generator)`` draws parameters on the CPU and applies the
kernel beside it (see ``paws.data.geometry``); an operation that applies to some images only works on those. All may work in
place on ``images``: use what they return. Unlike PIL nothing is rounded to 256 levels between operations, except in
``equalize``, which is defined on levels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from paws.seeds import uniform

LUMA = (0.2989, 0.587, 0.114)
BLOCK = 1 << 17  # values of images that a CPU works on at a time: what is made of them stays in its cache
KEEP = 4  # in an order of operations: none


def chosen(count: int, probability: float, generator: Generator) -> Tensor:
    """Indices of the images that an operation of this probability applies to."""
    return (torch.rand(count, generator=generator) < probability).nonzero()[:, 0]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, images.dtype, non_blocking=True).view(-1, 1, 1, 1)


@torch.inference_mode()
def _on_some(images: Tensor, rows: Tensor, kernel: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """``kernel`` on the images ``rows`` and what ``values`` hold for each of them, in place; on a CPU a few at a time.

    Without any note for gradients, which costs small tensors an eighth of the time.
    """
    blocks = min(len(rows), -(-len(rows) * images[:1].numel() // BLOCK) if images.device.type == "cpu" else 1)
    for some, *theirs in zip(*(each.tensor_split(blocks) for each in (rows, *values)), strict=True) if blocks else ():
        places = some.to(images.device, non_blocking=True)
        images.index_copy_(0, places, kernel(images.index_select(0, places), *theirs))
    return images


def to_gray(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of RGB images; grey images as they are."""
    if images.shape[1] == 1:
        return images
    r, g, b = images.unbind(1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2]).unsqueeze(1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor`` (B,) >= 0 and clip."""
    return images.mul_(_per_image(factor, images)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luma and clip."""
    mean, factor = to_gray(images.mean((2, 3), keepdim=True)), _per_image(factor, images)
    return images.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luma and clip; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    return images.lerp_(to_gray(images), 1 - _per_image(factor, images)).clamp_(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` (B,) in [-0.5, 0.5] turns; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    r, g, b = images.unbind(1)
    value, low = torch.maximum(g, b), torch.minimum(g, b)  # (B, H, W)
    torch.maximum(value, r, out=value), torch.minimum(low, r, out=low)
    chroma = torch.sub(value, low).mul_(6).clamp_min_(1e-12)  # six times the chroma, so that hues are in turns
    # in sixths the hue is (g + b - r - value) / chroma + 2 away from red, towards green where g > b, else towards blue
    turns = torch.add(g, b).sub_(r).sub_(value).add_(chroma, alpha=1 / 3).div_(chroma).copysign_(torch.sub(g, b, out=low))
    turns.add_(_per_image(shift + 1, images)[:, 0]).frac_()
    # a channel falls from value to value - chroma between one and two sixths from its hue; red, at 0 and 1, is seen from 1/2
    hues = torch.tensor([1 / 2, 1 / 3, 2 / 3]).to(images.device, images.dtype, non_blocking=True).view(3, 1, 1)
    torch.sub(turns[:, None], hues, out=images).abs_().clamp_(1 / 6, 1 / 3)
    red = torch.sub(value, chroma, alpha=1 / 3, out=low).addcmul_(images[:, 0], chroma)
    torch.addcmul(value.add_(chroma, alpha=1 / 6)[:, None], images, chroma[:, None], value=-1, out=images)
    images[:, 0] = red
    return images


KERNELS = (brightness, contrast, saturation, hue)


def colour_jitter(images: Tensor, strength: float, *, probability: float = 0.8, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation (factors 1 ± 0.8 strength) and hue (± 0.2 strength) in a random order, per image."""
    count = len(images)
    if not strength:
        return images
    spread = 0.8 * strength
    factors = [uniform(count, max(0.0, 1 - spread), 1 + spread, generator) for _ in range(3)]
    factors.append(uniform(count, -0.2 * strength, 0.2 * strength, generator))
    order = torch.rand(count, 4, generator=generator).argsort(1)  # (B, 4) which operation comes when
    order[torch.rand(count, generator=generator) >= probability] = KEEP
    apply = _in_order if images.device.type == "cpu" else _by_operation
    return apply(images, order, torch.stack(factors, 1))


def _in_order(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """The operations ``order`` (B, 4) with ``factors`` (B, 4), images of one order together, which stay in a CPU's cache."""
    code, rows = (order * torch.tensor([125, 25, 5, 1])).sum(1).sort()
    sizes = code.unique_consecutive(return_counts=True)[1].tolist()
    for some, operations, values in zip(*(each.split(sizes) for each in (rows, order[rows], factors[rows])), strict=True):
        if operations[0, 0] != KEEP:
            _on_some(images, some, partial(_chain, operations[0].tolist()), values)
    return images


def _chain(operations: list[int], images: Tensor, factors: Tensor) -> Tensor:
    for operation in operations:
        images = KERNELS[operation](images, factors[:, operation])
    return images


def _by_operation(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """The same, images that are at the same operation together: few kernels to launch on a device."""
    rows = torch.arange(len(images))  # which image stands where
    for operations in order.unbind(1):
        sizes = operations.bincount(minlength=5).tolist()
        arranged = operations[rows].argsort()
        rows, images = rows[arranged], images.index_select(0, arranged.to(images.device, non_blocking=True))
        parts = zip(KERNELS, factors.unbind(1), images.split(sizes), rows.split(sizes), strict=False)
        done = [kernel(part, factor[where]) for kernel, factor, part, where in parts]
        images = torch.cat([*done, images[len(images) - sizes[KEEP] :]])
    return torch.empty_like(images).index_copy_(0, rows.to(images.device, non_blocking=True), images)


def grayscale(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Replace some images by their luma, in as many channels."""
    rows = chosen(len(images), probability, generator)
    return _on_some(images, rows, lambda part: to_gray(part).expand_as(part))


def blur(images: Tensor, sigma: Tensor, radius: int = 6) -> Tensor:
    """Gaussian blur of standard deviation ``sigma`` (B,) pixels with 2 ``radius`` + 1 taps, borders mirrored.

    ``sigma`` is on the CPU; what all taps from some place on add up to less than 1e-6 is left out.
    """
    radius = max(1, min(radius, int(5.3 * sigma.max())))
    side = (-0.5 * (torch.arange(radius + 1) / sigma.to(images.dtype)[:, None]) ** 2).exp()  # (B, radius + 1) to either side
    side /= 2 * side.sum(1, keepdim=True) - 1
    taps = side.to(images.device, non_blocking=True)[..., None, None, None].unbind(1)
    for dim, sides in ((2, [0, 0, radius, radius]), (3, [radius, radius, 0, 0])):
        shifted = partial(F.pad(images, sides, mode="reflect").narrow, dim, length=images.shape[dim])
        images = shifted(radius) * taps[0]
        for i in range(1, radius + 1):
            images.addcmul_(shifted(radius - i) + shifted(radius + i), taps[i])
    return images


def gaussian_blur(
    images: Tensor, probability: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0), *, generator: Generator
) -> Tensor:
    """Blur some images with a standard deviation drawn from ``sigma``."""
    rows = chosen(len(images), probability, generator)
    widths, order = uniform(len(rows), *sigma, generator).sort()
    return _on_some(images, rows[order], blur, widths)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values of at least ``threshold`` (B,) in [0, 1]."""
    inverted = torch.ge(images, _per_image(threshold, images), out=torch.empty_like(images))  # 0 or 1
    return torch.lerp(images, 1 - images, inverted)


def random_solarize(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Solarize some images at a threshold drawn from the 256 levels."""
    rows = chosen(len(images), probability, generator)
    return _on_some(images, rows, solarize, uniform(len(rows), 0, 256, generator) / 255)


def equalize(images: Tensor) -> Tensor:
    """Equalise the histogram of each channel of each image over 256 levels, exactly as PIL does."""
    # whole numbers in floats: exact below 2^24 pixels, and much faster to divide
    dtype = torch.promote_types(images.dtype, torch.float32)
    levels = (images * 255).round_().clamp_(0, 255).flatten(2).long()  # (B, ch, H*W)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=dtype, device=images.device)
    counts.scatter_add_(2, levels, torch.ones((), dtype=dtype, device=images.device).expand_as(levels))
    last = counts.gather(2, levels.amax(2, keepdim=True))  # (B, ch, 1) pixels at the highest level that occurs
    step = ((levels.shape[2] - last) / 255).floor_()
    same = (step == 0).to(dtype)  # then levels stay: one pixel at each level and a step of one
    step, counts = step.add_(same), counts.mul_(1 - same).add_(same)
    table = counts.cumsum(2).sub_(counts).add_((step / 2).floor_()).div_(step).floor_().clamp_(0, 255).div_(255)
    return table.gather(2, levels).to(images.dtype).view(images.shape)  # of tables (B, ch, 256)


def random_equalize(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Equalise some images."""
    return _on_some(images, chosen(len(images), probability, generator), equalize)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std per channel."""
    shift, scale = (torch.tensor(each).to(images.device, images.dtype, non_blocking=True) for each in (mean, std))
    return images.sub_(shift[:, None, None]).div_(scale[:, None, None])  # (B, ch, H, W)
