"""Views that are embedded once: what they show, and that nothing but the image decides on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paws.data.stored_views import BRIGHTNESS, plain_view, random_views, view_batches
from tests.conftest import draw


def smooth(width: int, height: int) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize(("width", "height"), [(90, 60), (60, 91), (20, 14)])
@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_the_plain_view_is_pillows_resize_of_the_central_square(width: int, height: int, name: str) -> None:
    image, side = smooth(width, height), min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    expected = image.crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling[name.upper()])
    found = plain_view(pixels(image), 32, name)
    assert (found.int() - pixels(expected).int()).abs().max() <= 2


def test_random_views_of_one_colour_are_as_bright_as_their_range_says() -> None:
    views = random_views(torch.full((3, 40, 50), 120, dtype=torch.uint8), 64, 16, "bicubic", "key").float()
    assert (views.amax((1, 2, 3)) == views.amin((1, 2, 3))).all()
    factors = views[:, 0, 0, 0] / 120
    assert BRIGHTNESS[0] - 0.01 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= BRIGHTNESS[1] + 0.01


def test_random_views_are_crops_and_half_of_them_are_mirrored() -> None:
    ramp = torch.arange(100).expand(3, 80, 100).byte() + 60  # brighter to the right, everywhere alike
    views = random_views(ramp, 64, 16, "bilinear", "key").float()
    rises = views[:, 0, :, -1].mean(1) - views[:, 0, :, 0].mean(1)
    mirrored = int((rises < 0).sum())
    assert 16 <= mirrored <= 48
    straight = random_views(ramp, 64, 16, "bilinear", "key", mirror=False).float()
    assert (straight[:, 0, :, -1].mean(1) > straight[:, 0, :, 0].mean(1)).all()
    assert torch.equal(torch.where((rises < 0)[:, None, None, None], views.flip(3), views), straight)
    shares = rises.abs() / views.mean((1, 2, 3)) * ramp[0].float().mean() / 100  # about the crop's share of the width
    assert shares.min() > 0.4
    assert shares.std() > 0.05


def read_views(path: str, count: int, size: int) -> torch.Tensor:
    (batch,) = view_batches([path], count, [(size, "bicubic")], batch_size=1)
    assert batch.faults == [None]
    return batch.views[0][0]  # (1 + count, 3, size, size)


def test_several_looks_show_the_same_parts_of_a_picture(tmp_path: Path) -> None:
    smooth(80, 60).save(tmp_path / "a.png")
    picture = Image.open(tmp_path / "a.png")
    state = torch.get_rng_state()
    (batch,) = view_batches([tmp_path / "a.png", picture], 2, [(16, "bicubic"), (32, "bilinear")], batch_size=2)
    assert torch.equal(torch.get_rng_state(), state), "the global stream of random numbers is the caller's"
    small, large = batch.views
    assert (small.shape, large.shape) == ((2, 3, 3, 16, 16), (2, 3, 3, 32, 32))
    halved = torch.nn.functional.avg_pool2d(large.flatten(0, 1).float(), 2).view(small.shape)
    assert (halved - small.float()).abs().mean() < 4
    assert torch.equal(small[0, 0], small[1, 0]) and not torch.equal(small[0, 1], small[1, 1])


def test_only_the_content_decides_on_the_views(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    for i, path in enumerate(paths):
        draw("dots", i, 30 + i).save(path)
    shutil.copy(paths[2], tmp_path / "copy of 2.png")
    direct = torch.stack([read_views(path, 3, 16) for path in paths])  # (5, 4, 3, 16, 16)
    for workers in (0, 2):
        order = [3, 0, 4, 1, 2]
        batches = list(view_batches([paths[i] for i in order], 3, [(16, "bicubic")], batch_size=2, workers=workers))
        assert torch.equal(torch.cat([batch.views[0] for batch in batches]), direct[order])
    assert torch.equal(read_views(str(tmp_path / "copy of 2.png"), 3, 16), direct[2])
    assert len(torch.unique(direct.flatten(0, 1), dim=0)) == 20, "all views differ"


def test_a_large_jpeg_is_reduced_alike_with_and_without_random_views(tmp_path: Path) -> None:
    smooth(1600, 1200).save(tmp_path / "large.jpg", quality=95)
    path = str(tmp_path / "large.jpg")
    alone, among = read_views(path, 0, 32)[0], read_views(path, 2, 32)[0]
    assert torch.equal(alone, among)
    whole = plain_view(pixels(Image.open(path)), 32, "bicubic")
    assert (alone.int() - whole.int()).abs().float().mean() < 2


def test_a_broken_file_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    draw("rows", 0).save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_text("no image")
    paths = [str(tmp_path / name) for name in ("good.png", "broken.png", "good.png")]
    ((((views,), faults, contents)),) = view_batches(paths, 1, [(16, "bicubic")], batch_size=8)
    assert [fault is None for fault in faults] == [True, False, True]
    assert "broken.png" in str(faults[1])
    assert torch.equal(views[0], views[2])
    assert not views[1].any()
    assert contents[0] == contents[2] != contents[1] == ""
