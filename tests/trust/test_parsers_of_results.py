"""Parsers of what a fit has written, on anything: bundles, records, features, sessions of the labelling page."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from paws.bundle.bundle import ABOUT, TENSORS, _checksum, load_bundle
from paws.data.texts import from_json
from paws.errors import InputError
from paws.fit.run import load_fit, titles
from paws.fit.sentences import frequencies_sentence, notes, verdict
from paws.label_page.journal import Journal
from paws.label_page.session import Session
from paws.labels.relabel import relabel_bundle
from paws.models import runtime
from paws.runs.checkpoint import _MARK, load, save
from paws.suncet.checkpoints import read_checkpoint
from tests.trust.strategies import changed, damaged, json_values, numbers, some, words


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
            assert 0 <= prediction.unfamiliar <= 2.001
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


RUN = ("fit.json", "files.json", "features/views.json")


@pytest.fixture
def run(fitted_run: Path, tmp_path: Path) -> Path:
    """A copy of a fit."""
    return Path(shutil.copytree(fitted_run, tmp_path / "run", dirs_exist_ok=True))


@some
@given(name=st.sampled_from(RUN), place=st.integers(0, 200), new=json_values | numbers)
def test_runs(fitted_run: Path, run: Path, name: str, place: int, new: object) -> None:
    for other in RUN:
        shutil.copy(fitted_run / other, run / other)
    (run / name).write_text(json.dumps(damaged(from_json((run / name).read_bytes()), place, new)), encoding="utf-8")
    with contextlib.suppress(InputError):
        found = load_fit(run)
        assert len(found.features) == len(found.files) == len(found.labels)
        assert found.plain.isfinite().all()
        assert len(found.held_out) <= len(found.predictions) == len(found.files)
        assert all((repr(found), found._repr_html_(), verdict(found.record, titles())))
        assert all(isinstance(text, str) for text in (*notes(found.record), frequencies_sentence(found.record)))


FILES = ("a.png", "b.png")
kinds = st.sampled_from(["label", "none", "skip", "not", "clear", "x"]) | json_values
marks = st.tuples(st.sampled_from(FILES) | json_values, kinds, json_values) | json_values
names = {"class": json_values, "to": json_values, "how": json_values, "id": words}
deeds = st.sampled_from(["mark", "class", "rename", "undo"]) | json_values
entries = st.fixed_dictionaries({"do": deeds}, optional={"marks": st.lists(marks, max_size=2) | json_values, **names})


@some
@given(lines=st.lists(entries.map(json.dumps) | words, max_size=4), torn=st.booleans())
def test_journals(tmp_path: Path, lines: list[str], torn: bool) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines)[: -1 if torn else None], encoding="utf-8")
    with contextlib.suppress(InputError):
        session = Session(FILES, Journal(path))
        assert 0 <= session.labelled_count <= len(FILES)
        session.journal.close()


@some
@given(data=st.data(), sealed=st.booleans())
def test_checkpoints(tmp_path: Path, data: DataObject, sealed: bool) -> None:
    path = tmp_path / "state.pt"
    save(path, {"model": {"x": np.float64(1).item()}, "encoder": {"y": [1, 2]}, "step": 3})
    whole = path.read_bytes()
    content = data.draw(changed(whole) | st.binary(max_size=60))
    path.write_bytes(content + _MARK + hashlib.sha256(content).hexdigest().encode() if sealed else content)
    for read in (load, read_checkpoint):
        with contextlib.suppress(InputError):
            assert isinstance(read(path), dict)
