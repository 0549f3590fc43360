"""The store of features: what stands in it, what is kept, and that a kill costs no more than a chunk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from paws.data.folder import FileSet, Paths
from paws.data.formats import find_images
from paws.data.stored_views import view_batches
from paws.errors import InputError
from paws.fit.embed import RECORDED, FeatureStore
from paws.models.frozen import Frozen
from paws.models.sources import frozen_backbone
from tests.conftest import TINY, draw


@pytest.fixture(scope="module")
def tiny(tiny_weights: Path) -> Frozen:
    return frozen_backbone(TINY, tiny_weights, 32)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(6):
        draw("dots", i).save(folder / f"{i}.png")
    return folder


def files_of(folder: Path) -> FileSet:
    names = find_images(folder)
    return FileSet(Paths.of(folder, names), torch.full((len(names),), -1), ())


def views_of(path: Path, count: int, frozen: Frozen) -> torch.Tensor:
    (batch,) = view_batches([path], count, [(frozen.size, frozen.interpolation)], batch_size=1)
    return batch.views[0][0]


class Counted:
    """Counts the images that a store embeds."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, count: int) -> None:
        self.images += count


def fill(folder: Path, images: Path, frozen: Frozen, views: int = 2) -> tuple[np.ndarray, int]:
    counted = Counted()
    features = FeatureStore(folder, files_of(images), frozen, views).fill(advance=counted)
    return np.array(features), counted.images


def test_a_row_holds_the_features_of_its_file_in_all_views(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    features, count = fill(tmp_path / "store", images, tiny)
    assert (features.shape, features.dtype, count) == ((6, 3, tiny.feature_dim), np.float16, 6)
    for row, name in enumerate(find_images(images)):
        expected = tiny.model(views_of(images / name, 2, tiny))
        assert cosine_similarity(torch.from_numpy(features[row]).float(), expected).min() > 1 - 1e-3


def test_views_that_are_not_mirrored_are_other_ones(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    mirrored, _ = fill(tmp_path / "store", images, tiny)
    features = np.array(FeatureStore(tmp_path / "store", files_of(images), tiny, 2, mirror=False).fill())
    assert np.array_equal(features[:, 0], mirrored[:, 0]) and not np.array_equal(features[:, 1:], mirrored[:, 1:])


def test_only_new_and_changed_files_are_embedded_again(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first, _ = fill(store, images, tiny)
    again, count = fill(store, images, tiny)
    assert count == 0
    assert np.array_equal(first, again)
    draw("rows", 0).save(images / "25.png")  # stands between the others
    (images / "0.png").unlink()
    draw("rows", 1).save(images / "4.png")
    os.utime(images / "4.png", ns=(1, 1))
    mixed, count = fill(store, images, tiny)
    assert count == 2
    assert find_images(images) == ["1.png", "2.png", "25.png", "3.png", "4.png", "5.png"]
    assert np.array_equal(mixed[[0, 1, 3, 5]], first[[1, 2, 3, 5]])
    anew, count = fill(tmp_path / "other", images, tiny)
    assert count == 6
    assert np.allclose(mixed, anew, atol=1e-2)


def test_other_views_or_weights_start_anew(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    fill(store, images, tiny)
    assert fill(store, images, tiny, views=1)[1] == 6
    other = tiny.with_weights({name: value * 2 for name, value in tiny.weights().items()})
    assert FeatureStore(store, files_of(images), other, 1).missing == 6


def test_after_an_end_at_any_place_it_goes_on_with_the_next_chunk(tiny: Frozen, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(RECORDED + 5):
        draw("slope", i, 8).save(images / f"{i}.png")
    store = tmp_path / "store"

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FeatureStore(store, files_of(images), tiny, 0).fill(advance=stop)
    assert FeatureStore(store, files_of(images), tiny, 0).missing == 5
    features, count = fill(store, images, tiny, views=0)
    assert count == 5
    assert np.array_equal(features, fill(tmp_path / "other", images, tiny, views=0)[0])
    # killed while the store was being replaced: the new one is whole, the old one is gone
    store.rename(tmp_path / ".store.new")
    assert fill(store, images, tiny, views=0)[1] == 0
    # a store that was cut short is no store
    with open(store / "views.f16", "r+b") as file:
        file.truncate(100)
    assert FeatureStore(store, files_of(images), tiny, 0).missing == RECORDED + 5


def test_a_file_that_breaks_or_goes_meanwhile_is_named(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    files = files_of(images)
    store = FeatureStore(tmp_path / "store", files, tiny, 0)
    (images / "3.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.png"):
        store.fill()
    (images / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png: No such file"):
        FeatureStore(tmp_path / "store", files, tiny, 0)
