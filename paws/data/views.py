"""Views: which augmentations make one view of an image, and the multi-crop of large and small views of PAWS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from paws.data import colour, geometry
from paws.data.resize import resized_centre


@dataclass(frozen=True)
class View:
    """One kind of random view. Geometry (crop or affine jitter, flip) and colour can be applied apart from each other."""

    size: int  # pixels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: tuple[float, float] | None = None  # area range of the random crop; None: no crop
    flip: float = 0.0  # probability
    affine: tuple[float, float, tuple[float, float]] | None = None  # degrees, shift, enlargement; after the crop
    outside: geometry.Outside = "zeros"  # what an affine jitter moves in
    jitter: float = 0.0  # strength
    grayscale: float = 0.0  # probabilities from here on
    blur: float = 0.0
    solarize: float = 0.0
    equalize: float = 0.0

    def __call__(self, images: Tensor, generator: Generator, count: int = 1) -> Tensor:
        """Images uint8 or float in [0, 1] (B, ch, H, W) -> ``count`` normalised views of each (count*B, ch, size, size)."""
        return self.colour(self.geometry(images, generator, count), generator)

    def geometry(self, images: Tensor, generator: Generator, count: int = 1) -> Tensor:
        """Crop, resize, flip and affine jitter: -> float (count*B, ch, size, size) in [0, 1]."""
        count, (height, width) = count * len(images), images.shape[2:]
        if self.scale is not None:
            boxes = geometry.crop_boxes(count, height, width, self.scale, geometry.RATIO, generator)
        else:
            boxes = geometry.center_crop_boxes(count, height, width, self.size, self.size)
        flip = torch.rand(count, generator=generator) < self.flip if self.flip else None
        images = geometry.resized_crop(images, boxes, self.size, flip)
        if self.affine is not None:
            images = geometry.affine_jitter(images, *self.affine, outside=self.outside, generator=generator)
        return images

    def colour(self, images: Tensor, generator: Generator) -> Tensor:
        """Colour operations and normalisation of float images in [0, 1], e.g. of crops that a loader worker cut.

        May work in place on ``images``.
        """
        images = colour.colour_jitter(images, self.jitter, generator=generator)
        if self.grayscale:
            images = colour.grayscale(images, self.grayscale, generator=generator)
        if self.blur:
            images = colour.gaussian_blur(images, self.blur, generator=generator)
        if self.solarize:
            images = colour.random_solarize(images, self.solarize, generator=generator)
        if self.equalize:
            images = colour.random_equalize(images, self.equalize, generator=generator)
        return colour.normalise(images, self.mean, self.std)


@dataclass(frozen=True)
class EvalView:
    """The one view that evaluation sees: short side to ``resize``, the central ``size`` pixels, normalised."""

    size: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Images uint8 or float in [0, 1] (B, ch, H, W) -> (B, ch, size, size)."""
        images = images.clone() if images.is_floating_point() else images.float().div_(255)
        return colour.normalise(resized_centre(images, self.resize, self.size), self.mean, self.std)


@dataclass(frozen=True)
class MultiCrop:
    """``n_large`` large and ``n_small`` small views of every image; views of one size are made in one go."""

    large: View
    small: View | None = None
    n_large: int = 2
    n_small: int = 0

    def __call__(self, images: Tensor, generator: Generator) -> list[Tensor]:
        """Images (B, ch, H, W) -> [(B, ch, size, size)] * n_large + [(B, ch, small, small)] * n_small."""
        views = list(self.large(images, generator, self.n_large).split(len(images)))
        if self.small is not None and self.n_small:
            views += self.small(images, generator, self.n_small).split(len(images))
        return views


def train_view(
    preset: str, size: int, scale: tuple[float, float], jitter: float, mean: tuple[float, ...], std: tuple[float, ...]
) -> View:
    """The full augmentation of a preset (docs/recipes.md, Views).

    imagenet: crop, flip, jitter, grayscale, blur. cifar: crop, flip, jitter, solarize, equalize. grey: crop, flip,
    brightness and contrast. digits: affine jitter with enlargement in ``scale``, brightness and contrast, never mirrored.
    """
    base = View(size, mean, std, scale=scale, flip=0.5, jitter=jitter)
    if preset == "imagenet":
        return replace(base, grayscale=0.2, blur=0.5)
    if preset == "cifar":
        return replace(base, solarize=0.2, equalize=0.2)
    if preset == "grey":
        return base
    if preset == "digits":
        return replace(base, scale=None, flip=0.0, affine=(15.0, 0.12, scale))
    raise ValueError(f"view preset {preset!r} is not one of imagenet, cifar, grey, digits")


def basic_view(preset: str, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> View:
    """The light augmentation of fine-tuning: a crop of 8 to 100 % (imagenet) or the whole image, and a flip (not digits)."""
    scale = (0.08, 1.0) if preset == "imagenet" else None
    return View(size, mean, std, scale=scale, flip=0.0 if preset == "digits" else 0.5)


def eval_view(preset: str, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> EvalView:
    """Evaluation: the whole image, for imagenet its centre (224 of 256 pixels)."""
    return EvalView(size, round(size * 256 / 224) if preset == "imagenet" else size, mean, std)
