"""Cached features as an image bank."""

import numpy as np
import torch

from paws.data.features import FeatureBank
from paws.data.source import Source

KEY = (0, 3, 0)


def numbered(n=7, views=4, dim=3):
    """Each feature vector says which image and which view it is."""
    image, view = torch.meshgrid(torch.arange(n), torch.arange(views), indexing="ij")
    return torch.stack([image, view, image * 10 + view], 2).to(torch.float16)[:, :, :dim]


def test_two_different_views_of_every_image_and_one_of_every_support():
    bank = FeatureBank(numbered())
    indices, support = torch.tensor([4, 0, 4, 6]), torch.tensor([1, 1, 5])
    (first, second), (labelled,) = bank.views(bank.read(indices, support, KEY), KEY)
    assert first.dtype == torch.float32 and torch.equal(first[:, 0].long(), indices)
    assert torch.equal(second[:, 0].long(), indices) and torch.equal(labelled[:, 0].long(), support)
    assert (first[:, 1] != second[:, 1]).all()


def test_every_pair_of_views_occurs():
    bank = FeatureBank(numbered(n=1, views=3))
    pairs = set()
    for step in range(60):
        (first, second), _ = bank.views(bank.read(torch.tensor([0]), torch.tensor([], dtype=torch.int64), (0, step, 0)), KEY)
        pairs.add((int(first[0, 1]), int(second[0, 1])))
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_a_memory_map_gives_what_the_tensor_gives(tmp_path):
    stored = numbered()
    array = np.memmap(tmp_path / "views", np.float16, "w+", shape=stored.shape)
    array[:] = stored.numpy()
    rows = torch.tensor([2, 3]), torch.tensor([6])
    for ours, theirs in zip(FeatureBank(array).read(*rows, KEY), FeatureBank(stored).read(*rows, KEY), strict=True):
        assert torch.equal(ours, theirs)


def test_a_single_view_is_told_apart_by_noise_which_depends_on_the_step_alone():
    bank = FeatureBank(torch.ones(5, 1, 8), dropout=0.25, noise=0.1)
    empty, indices = torch.tensor([], dtype=torch.int64), torch.arange(5)
    (first, second), supports = bank.views(bank.read(indices, empty, KEY), KEY)
    assert supports == [] and not torch.equal(first, second)
    (again, _), _ = bank.views(bank.read(indices, empty, KEY), KEY)
    assert torch.equal(first, again)
    (other, _), _ = bank.views(bank.read(indices, empty, (0, 4, 0)), (0, 4, 0))
    assert not torch.equal(first, other)


def test_a_source_reads_from_it():
    source = Source(FeatureBank(numbered(n=20)), pool=torch.arange(20), batch_size=5)
    seen = torch.cat([batch.views[0][:, 0].long() for batch in source.batches(range(4))])
    assert sorted(seen.tolist()) == list(range(20))
