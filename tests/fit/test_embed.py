"""The store of features: what stands in it, what is kept, and that a kill costs no more than a chunk."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from paws.data.folder import FileSet, Paths
from paws.data.formats import find_images
from paws.data.images import ImageFile
from paws.data.stored_views import view_batches
from paws.errors import InputError
from paws.fit.embed import FeatureStore
from paws.fit.feature_file import RECORDED, read_features
from paws.models.frozen import Frozen
from paws.models.sources import frozen_backbone
from tests.conftest import TINY, draw, scaled


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


def store_of(folder: Path, images: Path, frozen: Frozen, views: int, *, mirror: bool = True) -> FeatureStore:
    files = files_of(images)
    return FeatureStore(folder, files, [ImageFile(path).content for path in files.paths], frozen, views, mirror=mirror)


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
    features = store_of(folder, images, frozen, views).fill(advance=counted)
    return np.array(features), counted.images


def test_a_row_holds_the_features_of_its_file_in_all_views(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    features, count = fill(tmp_path / "store", images, tiny)
    assert (features.shape, features.dtype, count) == ((6, 3, tiny.feature_dim), np.float16, 6)
    for row, name in enumerate(find_images(images)):
        expected = tiny.model(views_of(images / name, 2, tiny))
        assert cosine_similarity(torch.from_numpy(features[row]).float(), expected).min() > 1 - 1e-3


def test_views_that_are_not_mirrored_are_other_ones(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    mirrored, _ = fill(tmp_path / "store", images, tiny)
    features = np.array(store_of(tmp_path / "store", images, tiny, 2, mirror=False).fill())
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
    other = scaled(tiny, 2)
    assert store_of(store, images, other, 1).missing == 6


def test_after_an_end_at_any_place_it_goes_on_with_the_next_chunk(tiny: Frozen, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(RECORDED + 5):
        draw("slope", i, 8).save(images / f"{i}.png")
    store = tmp_path / "store"

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store_of(store, images, tiny, 0).fill(advance=stop)
    assert store_of(store, images, tiny, 0).missing == 5
    features, count = fill(store, images, tiny, views=0)
    assert count == 5
    assert np.array_equal(features, fill(tmp_path / "other", images, tiny, views=0)[0])


def test_a_file_goes_by_its_bytes_whatever_its_name_and_age(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first, _ = fill(store, images, tiny)
    (images / "0.png").rename(images / "9.png")
    moved, count = fill(store, images, tiny)
    assert count == 0
    assert np.array_equal(moved[[5, 0]], first[[0, 1]])
    copied = tmp_path / "copied"
    shutil.copytree(images, copied)
    assert fill(store, copied, tiny)[1] == 0


@pytest.mark.parametrize("damage", ["features", "rows", "cut short", "about"])
def test_what_is_damaged_is_made_anew(tiny: Frozen, images: Path, tmp_path: Path, damage: str) -> None:
    store = tmp_path / "store"
    first, _ = fill(store, images, tiny)
    path = next(store.glob("*.rows" if damage == "rows" else "*.f16")) if damage != "about" else store / "views.json"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data[:-2] if damage == "cut short" else data)
    with pytest.raises(InputError, match="damaged" if damage != "about" else "of a later fit"):
        read_features(store, tiny.config(), None)
    again, count = fill(store, images, tiny)
    assert count == {"features": 1, "rows": 1, "cut short": 6, "about": 6}[damage]
    assert np.allclose(again, first, atol=1e-2)
    assert np.array_equal(read_features(store, tiny.config(), None), again)
    assert sorted(path.suffix for path in store.iterdir()) == [".f16", ".json", ".rows"], "left-overs"


def test_a_disk_without_room_is_named_before_anything_is_embedded(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))
    try:
        with pytest.raises(InputError, match=r"cannot be written \(File too large\): free some space"):
            store_of(tmp_path / "store", images, tiny, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_file_that_changes_between_check_and_embedding_is_named(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    draw("slope", 941).save(images / "3.png")  # in no other test, so that nothing has its features yet
    store = store_of(tmp_path / "store", images, tiny, 0)
    draw("slope", 42).save(images / "3.png")
    with pytest.raises(InputError, match=r"3\.png: changed while the fit ran"):
        store.fill()


def test_a_file_that_breaks_or_goes_meanwhile_is_named(tiny: Frozen, images: Path, tmp_path: Path) -> None:
    draw("slope", 943).save(images / "3.png")
    store = store_of(tmp_path / "store", images, tiny, 0)
    (images / "3.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"3\.png"):
        store.fill()
    (images / "3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png"):
        store.fill()
