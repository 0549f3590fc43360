"""Parsers on anything: they return what they promise or raise InputError, and nothing else.

A few examples in every run; ``make fuzz`` spends ten minutes on many.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import paws.methods  # noqa: F401  their settings are part of a card
from paws.config.cards import load_config
from paws.config.schema import Config
from paws.data.cifar import read_batch, read_pickle
from paws.data.idx import read_idx
from paws.data.labels import read_labels
from paws.data.splits import read_split
from paws.data.texts import read_text
from paws.errors import InputError
from paws.label_page.formats import read_any
from paws.suncet.configs import load_card
from tests.suncet.configs import OLD, old
from tests.trust.strategies import ENDS, cells, changed, damaged, json_values, numbers, some, words


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


# --- labels, splits, texts -------------------------------------------------------------------------------------------


def table(rows: list[list[str]], separator: str, end: str, headed: bool) -> str:
    head = [["file", "label"]] if headed else []
    return end.join(separator.join(row) for row in [*head, *rows])


tables = st.builds(
    table,
    st.lists(st.lists(cells, min_size=1, max_size=3), max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(ENDS),
    st.booleans(),
)


@some
@given(data=tables.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80))
def test_labels(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        rows = read_labels(path)
    except InputError:
        return
    assert rows
    for row in rows:
        assert row.file.strip()
        assert row.label == row.label.strip() != ""
        assert "\0" not in row.file + row.label


@some
@given(values=st.lists(json_values | st.fixed_dictionaries({"file": json_values, "label": json_values}), max_size=5))
def test_labels_in_json_lines(path: Path, values: list[object]) -> None:
    lines = path.with_suffix(".jsonl")
    lines.write_text("\n".join(json.dumps(value) for value in values), encoding="utf-8", errors="surrogatepass")
    try:
        rows = read_labels(lines)
    except InputError:
        return
    assert all(row.file.strip() and row.label for row in rows)


choices = st.fixed_dictionaries({"type": st.just("choices") | words, "value": st.fixed_dictionaries({"choices": json_values})})
annotations = st.lists(st.fixed_dictionaries({"result": st.lists(choices, max_size=2) | json_values}) | json_values, max_size=2)
tasks = st.fixed_dictionaries(
    {"data": st.fixed_dictionaries({"image": st.sampled_from(["a.png", "/x/a.png", "?d=a.png", "b/a.png"]) | json_values})},
    optional={"annotations": annotations | json_values, "file": json_values},
)


@some
@given(value=st.lists(tasks | json_values, max_size=3) | json_values | st.integers(1, 3000).map(lambda depth: "[" * depth))
def test_tasks_of_label_studio(path: Path, value: object) -> None:
    file = path.with_suffix(".json")
    nested = isinstance(value, str) and value.startswith("[[")
    file.write_text(str(value) if nested else json.dumps(value), encoding="utf-8")
    with contextlib.suppress(InputError):
        found = read_any(file, path.parent, ("a.png", "b.png"))
        assert found and set(found) <= {"a.png", "b.png"}
        assert all(label == label.strip() != "" for label in found.values())


@some
@given(data=st.binary(max_size=60))
def test_texts(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        text = read_text(path)
    except InputError:
        return
    if not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        assert text.encode("utf-8", "surrogateescape") == data


names = tuple(f"{c}/{c}_{i}.JPEG" for c in ("n01", "n02") for i in range(3))
entries = st.integers(-9, 12).map(str) | st.sampled_from([*names, "n01_1.JPEG", "n03_1.JPEG", "", " 1 "]) | words


@some
@given(lines=st.lists(entries, max_size=6), end=st.sampled_from(ENDS), named=st.booleans())
def test_splits(path: Path, lines: list[str], end: str, named: bool) -> None:
    path.write_bytes(end.join(lines).encode())
    try:
        found = read_split(path, 6, names if named else None)
    except InputError:
        return
    assert len(found) == len(found.unique()) > 0
    assert 0 <= int(found.min()) <= int(found.max()) < 6


@some
@given(data=st.binary(max_size=40))
def test_splits_of_any_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_split(path, 1000, names)


# --- cards -----------------------------------------------------------------------------------------------------------

sections = sorted(Config.model_fields)
card_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["lr", "name", "epochs", "x", "file"]) | words, inner, max_size=4)
    ),
    max_leaves=6,
)


@some
@given(values=st.dictionaries(st.sampled_from(sections) | words, card_values, max_size=4))
def test_cards(path: Path, values: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(InputError):
        assert isinstance(load_config(path, ()), Config)


@some
@given(name=st.sampled_from(sorted(OLD)), place=st.integers(0, 45), new=card_values | numbers)
def test_configs_of_the_published_code(path: Path, name: str, place: int, new: object) -> None:
    path.write_text(yaml.safe_dump(damaged(old(name), place, new), allow_unicode=True), encoding="utf-8")
    with contextlib.suppress(InputError):
        assert isinstance(load_card(path)[0], Config)


@some
@given(data=words.map(str.encode) | st.binary(max_size=60))
def test_cards_of_any_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        load_config(path, ())


@some
@given(
    key=st.sampled_from(["optim.lr", "optim.epochs", "run_dir", "views.scale", "seed", "data", "optim", "x.y", ""]), value=words
)
def test_overrides(key: str, value: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(load_config(None, [f"{key}={value}"]), Config)


# --- data sets -------------------------------------------------------------------------------------------------------


@some
@given(
    dims=st.lists(st.integers(0, 5) | st.integers(0, 2**32 - 1), max_size=5),
    magic=st.sampled_from([b"\0\0\x08", b"\0\0\x09", b"\0\1\x08"]),
    data=st.binary(max_size=130),
    suffix=st.sampled_from(["", ".gz"]),
)
def test_idx(path: Path, dims: list[int], magic: bytes, data: bytes, suffix: str) -> None:
    file = path.with_name(f"input{suffix}")
    file.write_bytes(magic + bytes([len(dims)]) + b"".join(struct.pack(">I", size) for size in dims) + data)
    try:
        found = read_idx(file)
    except InputError:
        return
    assert list(found.shape) == dims
    assert found.tobytes() == data


BATCH = {"data": np.arange(3 * 3072, dtype=np.int64).astype(np.uint8).reshape(3, 3072), "labels": [0, 1, 2]}
SMALL = pickle.dumps({"data": np.zeros((1, 4), np.uint8), "labels": [1], b"x": "y"}, protocol=2)


@some
@given(data=changed(SMALL) | st.binary(max_size=60))
def test_pickles(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert isinstance(read_pickle(path), dict)


@some
@given(
    labels=st.lists(st.integers(-3, 12), min_size=3, max_size=3) | json_values,
    data=st.sampled_from([BATCH["data"], BATCH["data"][:2], BATCH["data"].astype(float), [1], None]),
)
def test_cifar_batches(path: Path, labels: object, data: object) -> None:
    path.write_bytes(pickle.dumps({"data": data, "labels": labels}, protocol=2))
    try:
        images, found = read_batch(path, "labels", 10)
    except InputError:
        return
    assert images.shape == (len(found), 3, 32, 32)
    assert 0 <= found.min() <= found.max() < 10
