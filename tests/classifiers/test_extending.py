"""The baseline of docs/extending.md, defined as it stands there: fitted, reported, explained, relabelled and exported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import paws
from paws import classifiers
from paws.bundle.export import export
from paws.classifiers.base import TABLE
from tests.commands import Command
from tests.conftest import TINY, write_patterns

PAGE = Path(__file__).parents[2] / "docs/extending.md"


@pytest.fixture(scope="module")
def baseline() -> Iterator[str]:
    (code,) = re.findall(r"```python\n(.*?class NearestCentroid.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "nearest_centroid"})
    yield "nearest_centroid"
    del TABLE["nearest_centroid"]


def test_a_new_baseline_is_fitted_compared_reported_explained_and_exported(
    baseline: str, tmp_path: Path, tiny_weights: Path, command: Command
) -> None:
    assert classifiers.predictor("centroid").name == baseline == list(classifiers.table())[-1]
    images, run = write_patterns(tmp_path), tmp_path / "run"
    options = ["--backbone", TINY, "--weights", tiny_weights, "--image-size", "32", "--views", "1", "--steps", "2"]
    output = command(
        "fit", images, "--labels", tmp_path / "labels.csv", "-o", run, *options, "--model", "centroid", "--device", "cpu"
    )
    assert "in use: nearest centroid" in output
    record = json.loads((run / "fit.json").read_text(encoding="utf-8"))
    assert record["chosen"] == baseline
    assert {row["method"] for row in record["scores"]} == set(classifiers.table())

    command("report", run)
    assert "In use is nearest centroid" in (run / "report.html").read_text(encoding="utf-8")

    image = sorted(images.rglob("*.png"))[-1]
    explained = json.loads(command("explain", run, image, "--json"))
    assert explained["method"] == "nearest centroid"

    bundle = paws.load(run / "bundle")
    assert bundle.classifier.predictor.name == baseline
    wanted = bundle.predict([image])[0]
    assert explained["label"] == wanted.label
    export(bundle, tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2").module()
    pixels = torch.from_numpy(np.asarray(Image.open(image).convert("RGB"))[None].copy())
    assert float(program(pixels)[0].max()) == pytest.approx(wanted.probability, abs=1e-3)

    (tmp_path / "new.csv").write_text(f"file,label\n{image.relative_to(images)},dots\n", encoding="utf-8")
    command("labels", run, "--csv", tmp_path / "new.csv")
    assert image.relative_to(images).as_posix() in paws.load(run / "bundle").support_files
