"""CIFAR-10 views per core-second, batched here and one by one with PIL: `python -m benchmarks.views [--quick]`.

Both make two 32-pixel and six 18-pixel views with crop, flip, colour jitter, solarize, equalize and normalisation, on one
thread, in turn, in CPU-seconds. The other side is the pipeline of the published code: torchvision transforms on PIL images.
"""

from __future__ import annotations

import argparse

import torch
from PIL import Image, ImageOps
from torchvision import transforms as tv

from benchmarks.side_by_side import Figure, cost_ratio, finish
from paws.data.datasets import DATASETS
from paws.data.views import MultiCrop, train_view
from paws.seeds import generator

IMAGES = 256


def solarize(picture: Image.Image) -> Image.Image:
    """Invert pixels from a random level on."""
    return ImageOps.solarize(picture, threshold=torch.empty(()).uniform_(0, 256).item())


def pil_pipeline(size: int, scale: tuple[float, float], mean: tuple[float, ...], std: tuple[float, ...]) -> tv.Compose:
    """The published transform of one CIFAR-10 view."""
    jitter = tv.ColorJitter(0.4, 0.4, 0.4, 0.1)  # strength 0.5
    return tv.Compose(
        [
            tv.RandomResizedCrop(size, scale=scale),
            tv.RandomHorizontalFlip(),
            tv.RandomApply([jitter], p=0.8),
            tv.RandomApply([tv.Lambda(solarize)], p=0.2),
            tv.RandomEqualize(p=0.2),
            tv.ToTensor(),
            tv.Normalize(mean, std),
        ]
    )


def main() -> None:
    """Print the ratio and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under 60 s")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    info = DATASETS["cifar10"]
    smooth = torch.rand(IMAGES, 3, 8, 8, generator=generator("benchmark"))
    images = (torch.nn.functional.interpolate(smooth, size=(32, 32), mode="bicubic").clamp(0, 1) * 255).byte()
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    large, small = ((32, (0.75, 1.0)), (18, (0.3, 0.75)))
    ours = MultiCrop(*(train_view("cifar", *kind, 0.5, info.mean, info.std) for kind in (large, small)), 2, 6)
    theirs = [pil_pipeline(*kind, info.mean, info.std) for kind in (large, large, *[small] * 6)]
    step = iter(range(1_000_000))

    def one_by_one() -> None:
        views = [[transform(picture) for transform in theirs] for picture in pictures]
        for view in zip(*views, strict=True):
            torch.stack(view)

    ratio = cost_ratio(one_by_one, lambda: ours(images, generator("benchmark", next(step))), rounds=5 if quick else 21)
    views = IMAGES * 8
    low, high = ratio.spread
    print(f"batched {views / ratio.cost_b:.0f} views per core-second, PIL {views / ratio.cost_a:.0f}")
    print(f"{ratio.value:.1f} x ({low:.1f} to {high:.1f})")
    name = "views per core-second, batched over PIL"
    finish(Figure(name, round(ratio.value, 2), 10, timing=True), spread=ratio.spread)


if __name__ == "__main__":
    main()
