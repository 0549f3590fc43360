"""Parsers on anything: they return what they promise or raise InputError, and nothing else.

A few examples in every run; ``make fuzz`` spends ten minutes on many.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

import paws.methods  # noqa: F401  their settings are part of a card
from paws.bundle.bundle import ABOUT, TENSORS, _checksum, load_bundle
from paws.config.cards import load_config
from paws.config.schema import Config
from paws.data.cifar import read_batch, read_pickle
from paws.data.idx import read_idx
from paws.data.labels import read_labels
from paws.data.splits import read_split
from paws.data.texts import read_text
from paws.errors import InputError
from paws.fit.record import read_record
from paws.labels.relabel import relabel_bundle
from paws.models import runtime

MANY = int(os.environ.get("PAWS_FUZZ", "0"))  # examples of each parser
some = settings(
    max_examples=MANY or 25,
    deadline=None,
    database=None,
    derandomize=not MANY,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
ENDS = ("\n", "\r\n", "\r")
words = st.text(st.characters(codec="utf-8"), max_size=12)
cells = words | st.sampled_from(["file", "label", "a.png", '"', '""', ",", ";", "\t", "-1", "nan", "../x", "\ufeff", "\0"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "input"


def changed(data: bytes) -> SearchStrategy[bytes]:
    """``data`` with some bytes replaced, cut out or doubled."""
    edits = st.tuples(st.integers(0, max(0, len(data) - 1)), st.binary(max_size=4), st.integers(0, 4))

    def apply(made: list[tuple[int, bytes, int]]) -> bytes:
        content = bytearray(data)
        for place, new, length in made:
            content[place : place + length] = new
        return bytes(content)

    return st.lists(edits, min_size=1, max_size=5).map(apply)


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


# --- bundles and records ---------------------------------------------------------------------------------------------


def damaged(value: object, place: int, new: object) -> object:
    """A copy of JSON in which the value at ``place`` of all values, counted in depth, is ``new`` or, if None, missing."""
    left = [place]

    def walk(inner: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            return new
        if isinstance(inner, dict):
            return {
                key: found
                for key, found in ((key, walk(item)) for key, item in inner.items())
                if left[0] >= 0 or found is not None
            }
        return [walk(item) for item in inner] if isinstance(inner, list) else inner

    return walk(value)


numbers = st.sampled_from([-1, 0, 1, 2, 3, 1000, 2**31, 2**40, 2**70, 0.5, -0.5, 1e-300, 1e300])


@pytest.fixture
def bundle(fitted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a bundle, whose network runs as it is, as exporting it takes seconds."""
    monkeypatch.setattr(runtime, "_onnx", runtime._eager)
    shutil.copytree(fitted_run / "bundle", tmp_path / "bundle", dirs_exist_ok=True)
    return tmp_path / "bundle"


def predicts_or_is_refused(folder: Path) -> None:
    """A bundle with right checksums gives probabilities, also after a label is added, or is an InputError."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    if isinstance(about.get("files"), dict):
        about["files"] |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in TENSORS}
    about.pop("checksum", None)
    about["checksum"] = _checksum(about)
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    picture = np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)
    with contextlib.suppress(InputError):
        found = load_bundle(folder)
        predictions = found.predict([picture, picture[:10]])
        done = relabel_bundle(found, {found.support_files[0]: found.classes[-1]}, Path())
        predictions += replace(found, classifier=done.classifier).predict_features(["x"], found.features([picture]))
        for prediction in predictions:
            assert 0 <= prediction.second_probability <= prediction.probability <= 1
            assert 0 <= prediction.novelty <= 2.001
            json.loads(prediction.json(), parse_constant=pytest.fail)


@some
@given(place=st.integers(0, 90), new=json_values | numbers)
def test_descriptions_of_bundles(fitted_run: Path, bundle: Path, place: int, new: object) -> None:
    about = json.loads((fitted_run / "bundle" / ABOUT).read_text(encoding="utf-8"))
    changed = damaged(about, place, new)
    if isinstance(changed, dict):
        (bundle / ABOUT).write_text(json.dumps(changed), encoding="utf-8")
        predicts_or_is_refused(bundle)


@some
@given(data=st.data(), name=st.sampled_from(TENSORS), within=st.sampled_from([1500, 10**9]))
def test_tensors_of_bundles(fitted_run: Path, bundle: Path, data: DataObject, name: str, within: int) -> None:
    for other in (ABOUT, *TENSORS):
        shutil.copy(fitted_run / "bundle" / other, bundle / other)
    whole = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data.draw(changed(whole[:within])) + whole[within:])
    predicts_or_is_refused(bundle)


@some
@given(data=st.binary(max_size=60) | st.integers(1, 10**5).map(lambda depth: b"[" * depth))
def test_descriptions_of_any_bytes(tmp_path: Path, data: bytes) -> None:
    (tmp_path / ABOUT).write_bytes(data)
    with pytest.raises(InputError):
        load_bundle(tmp_path)


@some
@given(place=st.integers(0, 200), new=json_values | numbers)
def test_records_of_fits(fitted_run: Path, tmp_path: Path, place: int, new: object) -> None:
    record = json.loads((fitted_run / "fit.json").read_text())
    (tmp_path / "fit.json").write_text(json.dumps(damaged(record, place, new)))
    with contextlib.suppress(InputError):
        read_record(tmp_path)
