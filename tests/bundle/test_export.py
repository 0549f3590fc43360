"""Exported bundles give what ``paws predict`` gives, in programs that know nothing of paws."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import paws
from paws.bundle.bundle import Bundle
from paws.bundle.export import Resize, export
from paws.data.stored_views import plain_view
from tests.conftest import draw

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_predict.py"
WITHOUT_PAWS = "import runpy, sys; sys.modules.update(paws=None, torch=None); del sys.argv[0]; runpy.run_path(sys.argv[0])"


@pytest.fixture(scope="module")
def bundle(fitted_run: Path) -> Bundle:
    return paws.load(fitted_run / "bundle")


@pytest.fixture(scope="module")
def model(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(bundle, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images smaller, as large and larger than the backbone's 32 pixels, upright and lying, in colour and grey."""
    folder = tmp_path_factory.mktemp("images")
    made = {
        "small.png": draw("dots", 40, 24),
        "same.png": draw("rows", 41, 32),
        "wide.png": draw("slope", 42, 150).resize((150, 61)),
        "tall.bmp": draw("dots", 43, 90).crop((0, 0, 33, 90)),
        "grey.png": draw("rows", 44, 47).convert("L"),
        "large.jpg": draw("slope", 45, 640).resize((640, 400)),
    }
    for name, image in made.items():
        image.save(folder / name)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    draw("rows", 46, 80).resize((80, 50)).save(folder / "turned.jpg", exif=turned)
    return sorted(folder.iterdir())


def test_the_example_predicts_as_paws_does_without_it(bundle: Bundle, model: Path, files: list[Path]) -> None:
    command = [sys.executable, "-c", WITHOUT_PAWS, EXAMPLE, model, *files]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line, prediction in zip(done.stdout.splitlines(), bundle.predict(files), strict=True):
        file, label, probability, _, unfamiliar, _, _, rest = line.split(" ", 7)
        nearest, weight = rest.rsplit(" ", 1)
        assert (file, label, nearest) == (prediction.file, prediction.label, prediction.nearest[0][0])
        found = [float(probability), float(unfamiliar), float(weight)]
        assert found == pytest.approx([prediction.probability, prediction.novelty, prediction.nearest[0][1]], abs=1e-3)


def test_one_file_with_all_that_a_program_needs(bundle: Bundle, model: Path) -> None:
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(model)
    about = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    assert about["classes"] == list(bundle.classes)
    assert about["support_files"] == list(bundle.support_files)
    assert about["support_labels"] == [bundle.classes[y] for y in bundle.classifier.support_labels.tolist()]
    assert about["threshold"] == pytest.approx(float(bundle.classifier.threshold))
    assert about["backbone"] == bundle.frozen.config() | {"mean": list(bundle.frozen.mean), "std": list(bundle.frozen.std)}


@pytest.mark.parametrize("form", ["model.onnx", "program.pt2"])
def test_any_number_of_images_of_any_size(bundle: Bundle, model: Path, tmp_path: Path, form: str) -> None:
    if form == "program.pt2":
        export(bundle, tmp_path / form)
        extra = {"description.json": ""}
        program = torch.export.load(tmp_path / form, extra_files=extra).module()
        assert json.loads(json.loads(extra["description.json"])["classes"]) == list(bundle.classes)
    else:
        session = onnxruntime.InferenceSession(model)
    for count, height, width in ((1, 32, 32), (5, 20, 41), (3, 64, 50)):
        images = np.stack([np.asarray(draw("dots", i, 64).resize((width, height))) for i in range(count)])  # (B, H, W, 3)
        if form == "program.pt2":
            found = [output.numpy() for output in program(torch.from_numpy(images))]
        else:
            found = session.run(None, {"images": images})
        plain = torch.stack([plain_view(torch.from_numpy(image).permute(2, 0, 1), 32, "bicubic") for image in images])
        wanted = bundle.classifier.votes(bundle.frozen.model(plain))
        np.testing.assert_allclose(found[0], wanted.probabilities, atol=1e-3)
        np.testing.assert_allclose(found[2], wanted.weights, atol=1e-3)
        np.testing.assert_allclose(found[3], wanted.novelty, atol=1e-3)
        assert found[1].shape == (count, 3)
        assert np.array_equal(found[1][:, 0], wanted.neighbours[:, 0])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(9, 9), (16, 16), (40, 23), (7, 200), (301, 256)])
def test_resizing_inside_is_resizing_outside_within_a_level(interpolation: str, shape: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inside = Resize(16, interpolation)(image.permute(1, 2, 0)[None])[0]
    outside = plain_view(image, 16, interpolation).float()
    assert (inside - outside).abs().max() <= 2
    assert (inside != outside).float().mean() < 0.05
