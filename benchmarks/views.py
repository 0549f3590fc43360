"""Training views per core-second, and one by one with PIL: `python -m benchmarks.views [--quick]`.

Of CIFAR-10: two 32-pixel and six 18-pixel views of pixels in memory, with crop, flip, colour jitter, solarize, equalize and
normalisation. Of a folder: two 224-pixel and six 96-pixel views of JPEG files of 500 x 375 pixels, with crop, flip, colour
jitter, grey, blur and normalisation, decoding included, once for all views of a file. One thread, in turn, in CPU-seconds. The
other side is the pipeline of the published code: torchvision transforms on PIL images.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor, nn
from torchvision import transforms as tv

from benchmarks.side_by_side import Figure, Ratio, cost_ratio, finish
from paws.data.datasets import DATASETS
from paws.data.files import FileBank
from paws.data.views import MultiCrop, train_view
from paws.seeds import generator

IMAGES, FILES = 256, 16
CIFAR_BAR, FOLDER_BAR = 20, 2.5
Area = tuple[float, float]


def solarize(picture: Image.Image) -> Image.Image:
    """Invert pixels from a random level on."""
    return ImageOps.solarize(picture, threshold=torch.empty(()).uniform_(0, 256).item())


def blur(picture: Image.Image) -> Image.Image:
    """A Gaussian blur of random width."""
    return picture.filter(ImageFilter.GaussianBlur(torch.empty(()).uniform_(0.1, 2).item()))


def pil_pipeline(size: int, scale: Area, mean: tuple[float, ...], std: tuple[float, ...]) -> tv.Compose:
    """The published transform of one CIFAR-10 view."""
    colours = [tv.RandomApply([tv.Lambda(solarize)], p=0.2), tv.RandomEqualize(p=0.2)]
    return _pipeline(size, scale, 0.5, colours, mean, std)


def pil_pipeline_of_files(size: int, scale: Area, mean: tuple[float, ...], std: tuple[float, ...]) -> tv.Compose:
    """The published transform of one ImageNet view."""
    return _pipeline(size, scale, 1.0, [tv.RandomGrayscale(p=0.2), tv.RandomApply([tv.Lambda(blur)], p=0.5)], mean, std)


def _pipeline(size: int, scale: Area, strength: float, colours: Sequence[object], mean: object, std: object) -> tv.Compose:
    jitter = tv.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    crop = [tv.RandomResizedCrop(size, scale=scale), tv.RandomHorizontalFlip(), tv.RandomApply([jitter], p=0.8)]
    return tv.Compose([*crop, *colours, tv.ToTensor(), tv.Normalize(mean, std)])


def smooth_images(count: int, coarse: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Smooth random images uint8 (count, 3, *size)."""
    levels = torch.rand(count, 3, *coarse, generator=generator("benchmark"))
    return (nn.functional.interpolate(levels, size=size, mode="bicubic").clamp(0, 1) * 255).byte()


def one_by_one(pictures: Sequence[Callable[[], Image.Image]], transforms: Sequence[tv.Compose]) -> None:
    """Every view of every picture, each on its own, collated as a loader does."""
    views = []
    for opened in pictures:
        picture = opened()
        views.append([transform(picture) for transform in transforms])
    for view in zip(*views, strict=True):
        torch.stack(view)


def of_cifar(rounds: int) -> Ratio:
    """Cost of PIL over ours, pixels in memory."""
    info = DATASETS["cifar10"]
    images = smooth_images(IMAGES, (8, 8), (32, 32))
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    large, small = ((32, (0.75, 1.0)), (18, (0.3, 0.75)))
    ours = MultiCrop(*(train_view("cifar", *kind, 0.5, info.mean, info.std) for kind in (large, small)), 2, 6)
    theirs = [pil_pipeline(*kind, info.mean, info.std) for kind in (large, large, *[small] * 6)]
    step = iter(range(1_000_000))
    opened = [lambda picture=picture: picture for picture in pictures]
    return cost_ratio(lambda: one_by_one(opened, theirs), lambda: ours(images, generator("benchmark", next(step))), rounds)


def of_folder(rounds: int) -> Ratio:
    """Cost of PIL over ours, JPEG files."""
    mean, std = DATASETS["folder"].mean, DATASETS["folder"].std
    large, small = ((224, (0.14, 1.0)), (96, (0.05, 0.14)))
    theirs = [pil_pipeline_of_files(*kind, mean, std) for kind in (large, large, *[small] * 6)]
    step = iter(range(1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{i}.jpg") for i in range(FILES)]
        for path, image in zip(paths, smooth_images(FILES, (47, 62), (375, 500)), strict=True):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, quality=90)
        crops = MultiCrop(*(train_view("imagenet", *kind, 1.0, mean, std) for kind in (large, small)), 2, 6)
        bank = FileBank(paths, crops, None, 1, device=torch.device("cpu"))
        rows, none = torch.arange(FILES), torch.empty(0, dtype=torch.int64)

        def ours() -> None:
            key = (0, next(step), 0)
            bank.views(bank.read(rows, none, key), key)

        opened = [lambda path=path: Image.open(path).convert("RGB") for path in paths]
        return cost_ratio(lambda: one_by_one(opened, theirs), ours, rounds)


def main() -> None:
    """Print the ratios and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    rounds = 5 if parser.parse_args().quick else 21
    torch.set_num_threads(1)
    cifar, folder = of_cifar(rounds), of_folder(rounds)
    for name, ratio, images in (("CIFAR-10", cifar, IMAGES), ("a folder", folder, FILES)):
        low, high = ratio.spread
        print(f"{name}: {images / ratio.cost_b:.0f} images in eight views per core-second, PIL {images / ratio.cost_a:.0f}")
        print(f"    {ratio.value:.2f} x ({low:.2f} to {high:.2f})")
    finish(
        Figure("CIFAR-10 views per core-second, batched over PIL", round(cifar.value, 2), CIFAR_BAR, timing=True),
        Figure("views of a folder per core-second over PIL", round(folder.value, 2), FOLDER_BAR, timing=True),
        spread=cifar.spread,
        spread_of_folder=folder.spread,
    )


if __name__ == "__main__":
    main()
