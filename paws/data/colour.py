"""Random colour operations of a whole batch at once, each image with its own parameters.

Images are float (B, ch, H, W) in [0, 1], ch 1 or 3. ``f(images, ..., generator)`` draws parameters on the CPU and applies the
kernel beside it (see ``paws.data.geometry``); an operation that applies to some images only works on those. Random operations
may work in place on ``images``: use what they return. Kernels leave their input as it is. Unlike PIL nothing is rounded to 256
levels between operations, except in ``equalize``, which is defined on levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from paws.seeds import uniform

LUMA = (0.2989, 0.587, 0.114)


def chosen(count: int, probability: float, generator: Generator) -> Tensor:
    """Indices of the images that an operation of this probability applies to."""
    return (torch.rand(count, generator=generator) < probability).nonzero()[:, 0]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, images.dtype, non_blocking=True).view(-1, 1, 1, 1)


def _on_some(images: Tensor, rows: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """``kernel`` on the images ``rows``, in place."""
    if len(rows):
        rows = rows.to(images.device, non_blocking=True)
        images.index_copy_(0, rows, kernel(images.index_select(0, rows)))
    return images


def to_gray(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W) of RGB images; grey images as they are."""
    if images.shape[1] == 1:
        return images
    r, g, b = images.unbind(1)
    return (r * LUMA[0]).add_(g, alpha=LUMA[1]).add_(b, alpha=LUMA[2]).unsqueeze(1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by ``factor`` (B,) >= 0 and clip."""
    return (images * _per_image(factor, images)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's mean luma and clip."""
    mean, factor = to_gray(images).mean((1, 2, 3), keepdim=True), _per_image(factor, images)
    return torch.lerp(mean, images, factor).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luma and clip; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    return torch.lerp(to_gray(images), images, _per_image(factor, images)).clamp_(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` (B,) in [-0.5, 0.5] turns; grey images stay as they are."""
    if images.shape[1] == 1:
        return images
    r, g, b = images.unbind(1)
    value = torch.maximum(torch.maximum(r, g), b)  # (B, H, W)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = value - low
    # hue in sixths of a turn from red: the lowest channel names the third of the circle, the other two the place in it
    # (masks as floats and lerp: a choice by random booleans costs twenty times as much)
    r_low, b_low = torch.eq(r, low, out=torch.empty_like(low)), torch.eq(b, low, out=torch.empty_like(low))
    away = torch.lerp((r - b).add_(chroma, alpha=4), (b - g).add_(chroma, alpha=2), r_low).lerp_(g - r, b_low)
    sixths = away.div_(low.copy_(chroma).clamp_min_(1e-12)).add_(_per_image(shift * 6 + 1, images)[:, 0])
    sixths.sub_(torch.div(sixths, 6, out=low).floor_(), alpha=6)  # modulo 6, several times faster than remainder
    # a channel falls from value to value - chroma between one and two sixths from its own hue; red, at 0 and 6, is seen from 3
    out = torch.empty_like(images)
    top = value + chroma
    for channel, hue_of, base, sign in ((0, 3, value.sub_(chroma, alpha=2), 1), (1, 2, top, -1), (2, 4, top, -1)):
        ramp = torch.sub(sixths, hue_of, out=low).abs_().clamp_(1, 2)
        torch.addcmul(base, ramp, chroma, value=sign, out=out[:, channel])
    return out


def colour_jitter(images: Tensor, strength: float, *, probability: float = 0.8, generator: Generator) -> Tensor:
    """Brightness, contrast, saturation (factors 1 ± 0.8 strength) and hue (± 0.2 strength) in a random order, per image."""
    count = len(images)
    if not strength:
        return images
    spread = 0.8 * strength
    factors = [uniform(count, max(0.0, 1 - spread), 1 + spread, generator) for _ in range(3)]
    factors.append(uniform(count, -0.2 * strength, 0.2 * strength, generator))
    order = torch.rand(count, 4, generator=generator).argsort(1)  # (B, 4) which operation comes when
    order[torch.rand(count, generator=generator) >= probability] = len(factors)  # none
    if images.device.type != "cpu":
        return _by_operation(images, order, factors)
    rows = (order * torch.tensor([125, 25, 5, 1])).sum(1).argsort()  # images of one order next to each other
    found = torch.empty_like(images)
    for done, part in _in_order(images[rows], rows, order, factors):
        found[done] = part
    return found


KERNELS = (brightness, contrast, saturation, hue)


def _by_operation(images: Tensor, order: Tensor, factors: list[Tensor]) -> Tensor:
    """The operations of all images, those that are at the same one together: few kernels to launch on a device."""
    rows = torch.arange(len(images))  # which image stands where
    for operations in order.unbind(1):
        sizes = operations.bincount(minlength=5).tolist()
        arranged = operations[rows].argsort()
        rows, images = rows[arranged], images.index_select(0, arranged.to(images.device, non_blocking=True))
        parts = zip(KERNELS, factors, images.split(sizes), rows.split(sizes), strict=False)
        done = [kernel(part, factor[where]) for kernel, factor, part, where in parts]
        images = torch.cat([*done, images[len(images) - sizes[4] :]])
    return torch.empty_like(images).index_copy_(0, rows.to(images.device, non_blocking=True), images)


def _in_order(
    images: Tensor, rows: Tensor, order: Tensor, factors: list[Tensor], place: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """The operations from ``place`` on of the images ``rows``, one order at a time: on a CPU they stay in its cache."""
    if place == order.shape[1]:
        yield rows, images
        return
    sizes = order[rows, place].bincount(minlength=5).tolist()
    for operation, (some, part) in enumerate(zip(rows.split(sizes), images.split(sizes), strict=True)):
        if operation == len(factors) and len(some):
            yield some, part
        elif len(some):
            yield from _in_order(KERNELS[operation](part, factors[operation][some]), some, order, factors, place + 1)


def grayscale(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Replace some images by their luma, in as many channels."""
    rows = chosen(len(images), probability, generator)
    return _on_some(images, rows, lambda x: to_gray(x).expand_as(x))


def blur(images: Tensor, sigma: Tensor, radius: int = 6) -> Tensor:
    """Gaussian blur of standard deviation ``sigma`` (B,) pixels with 2 ``radius`` + 1 taps, borders mirrored."""
    batch, channels, height, width = images.shape
    taps = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = (-0.5 * (taps / sigma.to(images.device, images.dtype, non_blocking=True)[:, None]) ** 2).exp()  # (B, taps)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)  # (B*ch, taps)
    padded = F.pad(images, [radius] * 4, mode="reflect").view(1, batch * channels, height + 2 * radius, width + 2 * radius)
    across = F.conv2d(padded, kernel[:, None, None], groups=batch * channels)
    return F.conv2d(across, kernel[:, None, :, None], groups=batch * channels).view(images.shape)


def gaussian_blur(
    images: Tensor, probability: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0), *, generator: Generator
) -> Tensor:
    """Blur some images with a standard deviation drawn from ``sigma``."""
    rows = chosen(len(images), probability, generator)
    widths = uniform(len(rows), *sigma, generator)
    return _on_some(images, rows, lambda x: blur(x, widths))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values of at least ``threshold`` (B,) in [0, 1]."""
    inverted = torch.ge(images, _per_image(threshold, images), out=torch.empty_like(images))  # 0 or 1
    return torch.lerp(images, 1 - images, inverted)


def random_solarize(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Solarize some images at a threshold drawn from the 256 levels."""
    rows = chosen(len(images), probability, generator)
    thresholds = uniform(len(rows), 0, 256, generator) / 255
    return _on_some(images, rows, lambda x: solarize(x, thresholds))


def equalize(images: Tensor) -> Tensor:
    """Equalise the histogram of each channel of each image over 256 levels, exactly as PIL does."""
    # whole numbers in floats: exact below 2^24 pixels, and much faster to divide
    dtype = torch.promote_types(images.dtype, torch.float32)
    levels = (images * 255).round_().clamp_(0, 255).flatten(2).long()  # (B, ch, H*W)
    counts = torch.zeros(*levels.shape[:2], 256, dtype=dtype, device=images.device)
    counts.scatter_add_(2, levels, torch.ones((), dtype=dtype, device=images.device).expand_as(levels))
    last = counts.gather(2, levels.amax(2, keepdim=True))  # (B, ch, 1) pixels at the highest level that occurs
    step = ((levels.shape[2] - last) / 255).floor_()
    table = counts.cumsum(2).sub_(counts).add_((step / 2).floor_()).div_(step.clamp_min(1)).floor_()  # (B, ch, 256)
    table = torch.where(step == 0, torch.arange(256, dtype=dtype, device=images.device), table.clamp_(0, 255))
    return table.div_(255).gather(2, levels).to(images.dtype).view(images.shape)


def random_equalize(images: Tensor, probability: float = 0.2, *, generator: Generator) -> Tensor:
    """Equalise some images."""
    return _on_some(images, chosen(len(images), probability, generator), equalize)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(x - mean) / std per channel."""
    shift, scale = (torch.tensor(each).to(images.device, images.dtype, non_blocking=True) for each in (mean, std))
    return (images - shift[:, None, None]).div_(scale[:, None, None])  # (B, ch, H, W)
