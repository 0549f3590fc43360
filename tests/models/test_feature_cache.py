"""Features are computed once on a machine, whoever asks for them."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch

from paws.errors import InputError
from paws.fit.encoders import as_backbone, begins
from paws.models.embedding import Embedder
from paws.models.encoders import encoder_of
from paws.models.frozen import Frozen
from paws.models.joined import join
from paws.models.runtime import Runtime
from paws.models.sources import frozen_backbone
from tests.conftest import TINY, draw, scaled


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of the test's own; the exported network comes along."""
    exported = Path(os.environ["PAWS_CACHE"]) / "onnx"
    if exported.is_dir():
        shutil.copytree(exported, tmp_path / "cache/onnx")
    monkeypatch.setenv("PAWS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/features"


@pytest.fixture
def tiny(tiny_weights: Path) -> Frozen:
    return frozen_backbone(TINY, tiny_weights, 32)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    for number in range(5):
        draw("dots", number).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(5)]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many views each call of a network had."""
    seen: list[int] = []
    run = Runtime.__call__
    monkeypatch.setattr(Runtime, "__call__", lambda self, images: (seen.append(len(images)), run(self, images))[1])
    return seen


def test_nothing_is_computed_twice(tiny: Frozen, pictures: list[Path], passes: list[int], tmp_path: Path) -> None:
    first = Embedder(tiny).features(pictures[:3], 2)
    assert sum(passes) == 9
    shutil.copy(pictures[0], tmp_path / "copy.png")
    again = Embedder(tiny).features([pictures[2], tmp_path / "copy.png"], 2)  # by content, whatever the name
    assert sum(passes) == 9 and torch.equal(again, first[[2, 0]])
    assert torch.equal(Embedder(tiny).features(pictures[:3], 1), first[:, :2]) and sum(passes) == 9, (
        "fewer views are among them"
    )
    mixed = Embedder(tiny).features([pictures[3], pictures[1], pictures[4], pictures[0]], 2)
    assert sum(passes) == 15 and torch.equal(mixed[[1, 3]], first[[1, 0]])
    Embedder(tiny).features(pictures[:1], 2, mirror=False)
    assert sum(passes) == 18


def test_of_several_parts_only_what_is_missing_is_computed(tiny: Frozen, pictures: list[Path], passes: list[int]) -> None:
    first = Embedder(tiny).features(pictures, 2)
    begin = begins(tiny, "light")["scratch"]
    encoders = as_backbone([encoder_of(begin.frozen.name, seed=seed).eval() for seed in (1, 2)], begin)
    passes.clear()
    both = Embedder(join([tiny, encoders])).features(pictures, 2)
    assert passes == [5], "encoders see the plain view alone, and the other part is there"
    width = tiny.feature_dim
    assert torch.equal(both[..., :width], first)
    assert torch.equal(both[:, 1:, width:], both[:, :1, width:].expand(-1, 2, -1)) and bool(
        both[..., width:].std(0).gt(0).any()
    )
    assert torch.equal(Embedder(join([tiny, encoders])).features(pictures[3:], 2), both[3:]) and passes == [5]


def test_other_weights_or_sizes_are_other_features(tiny: Frozen, pictures: list[Path], passes: list[int]) -> None:
    Embedder(tiny).features(pictures[:1])
    Embedder(scaled(tiny, 2)).features(pictures[:1])
    assert sum(passes) == 2


def test_what_changed_is_computed_and_what_is_broken_is_named(tiny: Frozen, pictures: list[Path], passes: list[int]) -> None:
    Embedder(tiny).features(pictures[:2])
    draw("rows", 1).save(pictures[1])
    Embedder(tiny).features(pictures[:2])
    assert sum(passes) == 3
    pictures[1].write_text("no image")
    with pytest.raises(InputError, match=r"1\.png: cannot be read"):
        Embedder(tiny).features([*pictures[:2], pictures[3].with_name("gone.png")])


def test_the_store_is_bounded_and_can_be_switched_off(
    tiny: Frozen, pictures: list[Path], passes: list[int], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Embedder(tiny).features(pictures[:1])
    monkeypatch.setenv("PAWS_FEATURES_GB", "0.000001")
    other = scaled(tiny, 2)
    Embedder(other).features(pictures[:1])  # makes room of the first, which is not enough
    assert len(list(cache.glob("*.sqlite"))) == 1
    Embedder(other).features(pictures[:1])
    assert sum(passes) == 3
    monkeypatch.setenv("PAWS_FEATURES_GB", "0")
    shutil.rmtree(cache)
    assert Embedder(tiny).features(pictures[:1]).shape == (1, 1, tiny.feature_dim)
    assert not cache.exists()
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv("PAWS_FEATURES_GB", wrong)
        with pytest.raises(InputError, match=f"PAWS_FEATURES_GB={wrong}"):
            Embedder(tiny).features(pictures[:1])


def test_a_damaged_store_is_made_anew(tiny: Frozen, pictures: list[Path], passes: list[int], cache: Path) -> None:
    features = Embedder(tiny).features(pictures[:1])
    (file,) = cache.glob("*.sqlite")
    file.write_bytes(b"no store" * 1000)
    assert torch.equal(Embedder(tiny).features(pictures[:1]), features)
    assert sum(passes) == 2


@pytest.mark.parametrize("blob", [b"", b"short", None, 7, "text", b"x" * 1000])
def test_a_damaged_row_is_made_anew(blob: object, tiny: Frozen, pictures: list[Path], passes: list[int], cache: Path) -> None:
    features = Embedder(tiny).features(pictures[:2])
    (file,) = cache.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as store, store:
        (row,) = store.execute("SELECT numbers FROM features").fetchall()[:1]
        other = bytes(row[0][:-1]) + bytes([row[0][-1] ^ 1]) if blob == b"x" * 1000 else blob  # one bit
        store.execute("UPDATE features SET numbers = ? WHERE numbers = ?", (other, row[0]))
    for _ in range(2):
        assert torch.equal(Embedder(tiny).features(pictures[:2]), features)
    assert sum(passes) == 3


def test_a_store_that_is_damaged_inside_is_made_anew(
    tiny: Frozen, pictures: list[Path], passes: list[int], cache: Path
) -> None:
    features = Embedder(tiny).features(pictures, 3)
    (file,) = cache.glob("*.sqlite")
    data = file.read_bytes()
    assert len(data) > 3 * 4096
    file.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    for _ in range(2):
        assert torch.equal(Embedder(tiny).features(pictures, 3), features)
    assert sum(passes) == 40


def test_a_full_disk_costs_the_store_and_nothing_else(tiny: Frozen, pictures: list[Path], cache: Path) -> None:
    features = Embedder(tiny).features(pictures[:1])
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, former[1]))
    try:
        found = Embedder(tiny).features(pictures, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert torch.equal(found[0, 0], features[0, 0]) and torch.equal(found, Embedder(tiny).features(pictures, 3))
