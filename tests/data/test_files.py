"""Views of files: one decode per file, exact crops, the same for any number of workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

import paws.data.files as files_module
from paws.data import geometry
from paws.data.files import FileBank, cut_views, plain_batches
from paws.data.folder import index_folder
from paws.data.images import ImageFile, read_image
from paws.data.source import Source
from paws.data.support import SupportSampler
from paws.data.views import EvalView, MultiCrop, View
from paws.errors import InputError
from paws.seeds import generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LARGE = View(24, MEAN, STD, scale=(0.3, 1.0), flip=0.5, jitter=0.5, grayscale=0.2, blur=0.5)
SMALL = View(12, MEAN, STD, scale=(0.1, 0.3), flip=0.5, jitter=0.5)
VIEWS = MultiCrop(LARGE, SMALL, 2, 3)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Nine smooth JPEG images of several sizes in three classes."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(9):
        folder = root / "abc"[i % 3]
        folder.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((40 + 13 * i, 70 - 3 * i), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=95)
    return root


def source(root: Path, workers: int) -> Source:
    files = index_folder(root)
    sampler = SupportSampler(files.labels, classes_per_batch=3, images_per_class=4, seed=1)  # 3 images: one comes twice
    bank = FileBank(files.paths, VIEWS, LARGE, 2)
    return Source(bank, pool=torch.arange(9), batch_size=4, sampler=sampler, support_views=2, seed=1, workers=workers)


def test_any_number_of_workers_gives_the_same_views(root):
    results = []
    for workers in (0, 1, 2):
        results.append(list(source(root, workers).batches(range(2, 5))))
    assert [tuple(view.shape) for view in results[0][0].views] == [(4, 3, 24, 24)] * 2 + [(4, 3, 12, 12)] * 3
    assert [tuple(view.shape) for view in results[0][0].support] == [(12, 3, 24, 24)] * 2
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            for x, y in zip([*a.views, *a.support], [*b.views, *b.support], strict=True):
                assert torch.equal(x, y)


def test_a_file_is_decoded_once_per_step(root, monkeypatch):
    opened = []

    class Counting(ImageFile):
        def __init__(self, path):
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(files_module, "ImageFile", Counting)
    paths = index_folder(root).paths
    indices, support = torch.tensor([3, 1, 3]), torch.tensor([0, 3, 0, 5])
    crops, supports = FileBank(paths, VIEWS, LARGE, 2).read(indices, support, (0, 0, 0))
    assert sorted(opened) == sorted(paths[i] for i in (0, 1, 3, 5))
    assert all(not torch.equal(view[0], view[2]) for view in crops)  # a repeated image has views of its own
    assert all(not torch.equal(view[0], view[2]) for view in supports)


def test_crops_are_those_of_the_drawn_boxes(root):
    path = index_folder(root).paths[4]
    image = read_image(path)
    kinds = [(LARGE, 2), (SMALL, 3)]
    (cut,) = cut_views(path, [(kinds, generator("x"))])
    draws = generator("x")
    expected = []
    for view, count in kinds:
        boxes = geometry.crop_boxes(count, *image.shape[1:], view.scale, (3 / 4, 4 / 3), draws)
        flips = torch.rand(count, generator=draws) < view.flip
        for box, flip in zip(boxes.tolist(), flips, strict=True):
            out = functional.resized_crop(image, *box, [view.size, view.size], antialias=True)
            expected.append(out.flip(2) if flip else out)
    assert all(torch.equal(a, b) for a, b in zip(cut, expected, strict=True))


def test_a_large_jpeg_is_decoded_smaller_but_looks_the_same(tmp_path):
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    view = View(48, MEAN, STD, scale=(0.2, 1.0), flip=0.5)
    for seed in range(5):
        reduced, full = (cut_views(str(tmp_path / f"a.{kind}"), [([(view, 6)], generator(seed))])[0] for kind in ("jpg", "png"))
        for a, b in zip(reduced, full, strict=True):
            assert (a.float() - b.float()).abs().mean() < 3
    (crop,) = cut_views(str(tmp_path / "a.jpg"), [([(View(48, MEAN, STD), 1)], generator(0))])[0]
    centre = functional.resized_crop(read_image(tmp_path / "a.png"), 0, 200, 1200, 1200, [48, 48], antialias=True)
    assert (crop.float() - centre.float()).abs().mean() < 3


def test_views_are_the_colour_of_the_crops(root):
    bank = FileBank(index_folder(root).paths, VIEWS, View(24, MEAN, STD), 1)
    crops, supports = bank.read(torch.arange(4), torch.arange(5), (0, 1, 0))
    views, finished = bank.views((crops, supports), (0, 1, 0))
    assert [tuple(v.shape) for v in views] == [tuple(c.shape) for c in crops]
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (MEAN, STD))
    torch.testing.assert_close(finished[0], (supports[0] / 255 - mean) / std)  # without colour operations: normalised
    again = bank.views((crops, supports), (0, 1, 0))[0]
    assert all(torch.equal(a, b) for a, b in zip(views, again, strict=True))
    assert not torch.equal(bank.views((crops, supports), (0, 2, 0))[0][0], views[0])


def test_steps_and_ranks_cut_differently(root):
    bank = FileBank(index_folder(root).paths, VIEWS)
    draws = [bank.read(torch.arange(3), torch.arange(0), key)[0] for key in ((0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))]
    for other in draws[1:]:
        assert not torch.equal(draws[0][0], other[0])
    assert bank.read(torch.arange(3), torch.arange(0), (0, 0, 0))[1] == []


def test_evaluation_views_are_resize_and_centre_crop(root):
    paths = list(index_folder(root).paths)
    view = EvalView(16, 20, MEAN, STD)
    batches = list(plain_batches([paths[i] for i in (5, 0, 3)], view, batch_size=2, device=torch.device("cpu")))
    assert [len(batch) for batch in batches] == [2, 1]
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    for found, row in zip(torch.cat(batches), (5, 0, 3), strict=True):
        with Image.open(paths[row]) as image:
            width, height = image.size
            short = min(width, height)
            size = (int(20 * width / short), int(20 * height / short))
            small = np.array(image.resize(size, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        top, left = round((size[1] - 16) / 2), round((size[0] - 16) / 2)
        expected = torch.from_numpy(small)[:, top : top + 16, left : left + 16]
        assert ((found * std + mean) * 255 - expected).abs().max() <= 1.01


def test_a_broken_file_is_named_in_the_worker(root, tmp_path):
    (tmp_path / "cut.jpg").write_bytes((root / "a/0.jpg").read_bytes()[:200])
    bank = FileBank([str(tmp_path / "cut.jpg")], VIEWS)
    with pytest.raises(InputError, match=r"cut\.jpg"):
        bank.read(torch.zeros(1, dtype=torch.int64), torch.arange(0), (0, 0, 0))
