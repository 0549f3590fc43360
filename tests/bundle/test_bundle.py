"""A bundle predicts what the fit did, from files, pictures and arrays, and notices when it is not what was saved."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import paws
from paws.bundle.bundle import Bundle, save_bundle
from paws.errors import InputError
from paws.fit.run import load_fit


@pytest.fixture(scope="module")
def bundle(fitted_run: Path) -> Bundle:
    return paws.load(fitted_run / "bundle")


def test_paths_pictures_and_arrays_are_predicted_as_the_fit_did(bundle: Bundle, fitted_run: Path) -> None:
    fit = load_fit(fitted_run)
    paths = [fit.root / name for name in fit.files[:7]]
    expected = bundle.predict_features(fit.files[:7], fit.plain[:7])  # the plain view, which new pictures have alone
    ways = (paths, [str(path) for path in paths], [Image.open(path) for path in paths])
    arrays = [np.asarray(Image.open(path)) for path in paths]
    for images in (*ways, arrays):
        found = bundle.predict(images)
        assert [p.label for p in found] == [wanted.label for wanted in expected]
        for p, wanted in zip(found, expected, strict=True):
            assert p.probability == pytest.approx(wanted.probability, abs=2e-3)
            assert p.unfamiliar == pytest.approx(wanted.unfamiliar, abs=2e-3)
            assert p.nearest[0][0] in fit.files
            assert p.probability >= p.second_probability
    assert bundle.predict([]) == []
    for found, row in zip(bundle.predict_features(fit.files, fit.views(range(len(fit.files)))), fit.predictions, strict=True):
        assert found.row(given="").items() >= {"label": row["label"], "probability": row["probability"]}.items()


def test_grey_arrays_and_their_mistakes(bundle: Bundle) -> None:
    grey = np.arange(900, dtype=np.uint8).reshape(30, 30)
    one, two = bundle.predict([grey, np.stack([grey] * 3, 2)])
    assert (one.label, one.probability) == (two.label, two.probability)
    for bad in (grey.astype(np.float32), grey[None], np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(InputError, match="an array of"):
            bundle.predict([bad])
    with pytest.raises(InputError, match=r"gone\.png"):
        bundle.predict(["gone.png"])


def test_saved_again_it_is_the_same(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(tmp_path / "b", bundle.classifier, bundle.frozen, bundle.support_files, {"note": "ü"})
    again = paws.load(tmp_path / "b")
    assert again.about["note"] == "ü"
    assert again.support_files == bundle.support_files
    for (name, value), (other, copy) in zip(
        bundle.classifier.state_dict().items(), again.classifier.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, copy)
    save_bundle(tmp_path / "b", bundle.classifier, bundle.frozen, bundle.support_files)
    assert "note" not in paws.load(tmp_path / "b").about
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"], "left-overs"


def edit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def test_a_bundle_that_has_predicted_can_be_pickled(bundle: Bundle, fitted_run: Path) -> None:
    images = [fitted_run.parent / "images" / "sü-10.png"]
    found = bundle.predict(images)
    assert pickle.loads(pickle.dumps(bundle)).predict(images) == found


def test_edited_and_missing_files_are_all_named(fitted_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(fitted_run / "bundle", folder)
    edit(folder / "classifier.safetensors")
    (folder / "backbone.safetensors").unlink()
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    about["support_files"][0] = "other.png"
    (folder / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        paws.load(folder)
    for part in ("bundle.json was edited", "classifier.safetensors was edited", "backbone.safetensors: No such file"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [(None, "no bundle.json"), ("{", "cannot be read"), ('{"format": 1}', "format 1")])
def test_what_is_no_bundle(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(InputError, match=says):
        paws.load(tmp_path)


def test_a_newer_format_is_named(fitted_run: Path, tmp_path: Path) -> None:
    about = json.loads((fitted_run / "bundle/bundle.json").read_text(encoding="utf-8"))
    (tmp_path / "bundle.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        paws.load(tmp_path)


METHODS = ("paws", "nearest_neighbours", "logistic_regression", "label_spreading", "soft_nearest_neighbours")


@pytest.fixture(scope="module")
def format_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles as the release with format 2 wrote them, one a method, and what it predicted with them."""
    folder = tmp_path_factory.mktemp("format_2")
    with zipfile.ZipFile(Path(__file__).with_name("format_2.zip")) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_bundles_of_format_2_predict_as_they_did(format_2: Path, tmp_path: Path, method: str) -> None:
    old, expected = paws.load(format_2 / method), load_file(format_2 / "expected.safetensors")
    assert old.classifier.predictor.name == method
    save_bundle(tmp_path / "new", old.classifier, old.frozen, old.support_files)
    for loaded in (old, paws.load(tmp_path / "new")):
        found = loaded.classifier.votes(expected["features"])
        for name in ("probabilities", "weights"):
            torch.testing.assert_close(getattr(found, name), expected[f"{method}.{name}"], rtol=1e-4, atol=1e-6)
        assert torch.equal(found.neighbours[:, 0], expected[f"{method}.neighbours"][:, 0])
