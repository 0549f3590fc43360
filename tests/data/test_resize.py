"""Resizing is torchvision's, to the bit."""

import subprocess
import sys

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from paws.data.resize import resize, resized_centre, resized_crop

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def pixels(*shape: int, channels_last: bool) -> torch.Tensor:
    height, width = shape[-2:]
    found = torch.randint(0, 256, (*shape[:-3], height, width, shape[-3]), generator=torch.Generator().manual_seed(0))
    found = found.byte().movedim(-1, -3)
    return found if channels_last else found.contiguous()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_that_of_torchvision(mode: str, channels_last: bool, channels: int) -> None:
    image = pixels(channels, 57, 83, channels_last=channels_last)
    for box, size in (([3, 5, 40, 31], 24), ([0, 0, 57, 83], 96), ([10, 20, 16, 16], 16), ([56, 82, 1, 1], 8)):
        theirs = tv.resized_crop(image, *box, [size, size], interpolation=MODES[mode], antialias=True)
        assert torch.equal(resized_crop(image, box, size, mode), theirs), (box, size)


@pytest.mark.parametrize("shape", [(3, 40, 61), (2, 3, 61, 40), (4, 1, 32, 32)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_centre_is_that_of_torchvision(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = pixels(*shape, channels_last=True).to(dtype)
    theirs = tv.center_crop(tv.resize(images, [35], antialias=True), [29, 29])
    assert torch.equal(resized_centre(images, 35, 29), theirs)


def test_bytes_without_kernels_of_their_own_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pixels(3, 50, 70, channels_last=True)
    expected = tv.resize(image, [20, 30], antialias=True)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert torch.equal(resize(image, 20, 30), tv.resize(image, [20, 30], antialias=True))
    assert int((resize(image, 20, 30).int() - expected.int()).abs().max()) <= 1


def test_neither_torchvision_nor_the_training_of_networks_is_imported_to_make_views_or_to_fit() -> None:
    unneeded = {"torchvision", "scipy.stats", "omegaconf", "paws.methods", "paws.train"}
    code = f"import sys, paws.fit.pipeline, paws.data.views; sys.exit(bool({unneeded} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
