"""Exported bundles give what ``paws predict`` gives, in programs that know nothing of paws."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
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


def modes(size: int) -> dict[str, Image.Image]:
    """A picture in every mode that files have, by file name."""
    picture = draw("slope", size, 150).resize((size, size * 3 // 4))
    grey = np.asarray(picture.convert("L"))
    alpha = Image.fromarray((np.indices(grey.shape).sum(0) * 9 % 256).astype(np.uint8))
    clear = picture.convert("P")
    clear.info["transparency"] = 3
    made = {
        "rgb.png": picture,
        "rgb.jpg": picture,
        "rgb.webp": picture,
        "cmyk.jpg": picture.convert("CMYK"),
        "cmyk.tif": picture.convert("CMYK"),
        "grey.png": Image.fromarray(grey),
        "bits.png": picture.convert("1"),
        "palette.png": picture.convert("P"),
        "palette.gif": picture.convert("P"),
        "clear-palette.png": clear,
        "rgba.png": Image.merge("RGBA", [*picture.split(), alpha]),
        "rgba.webp": Image.merge("RGBA", [*picture.split(), alpha]),
        "la.png": Image.merge("LA", [Image.fromarray(grey), alpha]),
        "16.png": Image.fromarray(grey.astype(np.uint16) * 16),
        "16.tif": Image.fromarray(grey.astype(np.uint16) * 200),
        "32.tif": Image.fromarray(grey.astype(np.int32) * 3 - 100),
        "lab.ppm": picture.convert("L").convert("RGB"),
    }
    return {f"{size}-{name}": image for name, image in made.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every mode of picture, smaller, as large and larger than the backbone's 32 pixels; turned ones, and a large JPEG."""
    folder = tmp_path_factory.mktemp("images")
    for size in (8, 24, 32, 50, 150):
        for name, image in modes(size).items():
            image.save(folder / name)
    draw("dots", 43, 90).crop((0, 0, 33, 90)).save(folder / "tall.bmp")
    draw("slope", 45, 640).resize((640, 400)).save(folder / "large.jpg")
    for orientation in range(2, 9):
        turned = Image.Exif()
        turned[0x0112] = orientation
        image = draw("rows", 46, 80).resize((80, 50))
        for kind in ("jpg", "png", "tif", "webp"):
            image.save(folder / f"turned-{orientation}.{kind}", exif=turned)
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 9
        Image.fromarray(deep).save(folder / f"deep-{orientation}.png", exif=turned)
    return sorted(folder.iterdir())


def test_the_example_predicts_as_paws_does_without_it_in_every_mode(bundle: Bundle, model: Path, files: list[Path]) -> None:
    compare(bundle, model, files)


def test_dark_images_are_read_in_the_range_of_the_folder(bundle: Bundle, tmp_path: Path, files: list[Path]) -> None:
    ranged = replace(bundle, frozen=replace(bundle.frozen, values=(0, 4095)))
    export(ranged, tmp_path / "model.onnx")
    dark = [path for path in files if re.search("16|32.tif|deep", path.name)]
    compare(ranged, tmp_path / "model.onnx", dark)
    assert ranged.predict(dark) != bundle.predict(dark)


def compare(bundle: Bundle, model: Path, files: list[Path]) -> None:
    """The example with an exported bundle says what the bundle itself says."""
    command = [sys.executable, "-c", WITHOUT_PAWS, EXAMPLE, model, *files]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for line, prediction in zip(done.stdout.splitlines(), bundle.predict(files), strict=True):
        file, label, probability, _, unfamiliar, _, _, rest = line.split(" ", 7)
        nearest, weight = rest.rsplit(" ", 1)
        assert (file, label, nearest) == (prediction.file, prediction.label, prediction.nearest[0][0])
        found = [float(probability), float(unfamiliar), float(weight)]
        assert found == pytest.approx([prediction.probability, prediction.unfamiliar, prediction.nearest[0][1]], abs=1e-3), file


def test_the_lines_of_the_page_predict_as_paws_does(bundle: Bundle, model: Path, files: list[Path], tmp_path: Path) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "deploy.md").read_text(encoding="utf-8")
    lines = page.split("```python\n")[1].split("```")[0]
    function = lines[lines.index("def pixels") :].split("\n\n\n")[0]
    assert function in EXAMPLE.read_text(encoding="utf-8")
    lines = lines.replace('"model.onnx"', repr(str(model))).replace('"new.png"', "path").splitlines()
    start = next(i for i, line in enumerate(lines) if "session.run" in line)
    looped = [*lines[:start], "for path in sys.argv[1:]:", *("    " + line for line in lines[start:])]
    needs = ["import json, sys, onnxruntime", "import numpy as np", "from PIL import Image, ImageOps"]
    script = "\n".join([*needs, *looped])
    done = subprocess.run([sys.executable, "-c", script, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [f"{p.label} {p.nearest[0][0]}" for p in bundle.predict(files)]
    assert done.stdout.splitlines() == expected


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
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (9, 9), (16, 16), (40, 23), (7, 200), (301, 256)])
def test_resizing_inside_is_resizing_outside(interpolation: str, shape: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for size in (16, 64):
        inside = Resize(size, interpolation)(image.permute(1, 2, 0)[None])[0]
        outside = plain_view(image, size, interpolation).float()
        assert (inside - outside).abs().max() <= 1
        assert (inside != outside).float().mean() < 1e-3
