"""The wheel holds all that a fit needs: installed in a venv of its own, outside of the checkout, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **variables}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_alone_fits_reports_and_exports(tmp_path: Path) -> None:
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):  # a copy: a build leaves its own folders behind
        if (ROOT / name).is_file():
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "source" / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, tmp_path / "source", cwd=tmp_path)
    (wheel,) = tmp_path.glob("paws_ssl-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("share/paws/configs/digits.yaml") for name in names)
    assert "paws/report/template.html" in names
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    packages = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # the dependencies, but not this checkout

    empty = tmp_path / "empty"
    empty.mkdir()
    place = {"PAWS_CACHE": str(tmp_path / "cache"), "HOME": str(empty)}
    where = run(python, "-c", "import paws; print(paws.__file__)", cwd=empty, **place)
    assert str(packages) in where
    paws = [python, "-m", "paws"]
    run(*paws, "example", "try", cwd=empty, **place)
    names = sorted(path.name for path in (empty / "try/photos").iterdir())
    for name in names[100:]:
        (empty / "try/photos" / name).unlink()
    out = run(*paws, "fit", "try/photos", "--labels", "try/labels.csv", "-o", "run", "--steps", "20", cwd=empty, **place)
    assert "tf_efficientnet_lite0 at 96 pixels" in out
    assert "<html" in (empty / run_report(paws, empty, place)).read_text(encoding="utf-8")
    run(*paws, "export", "run/bundle", "-o", "model.onnx", cwd=empty, **place)
    assert (empty / "model.onnx").stat().st_size > 1e6
    run(*paws, "train", "configs/digits.yaml", "optim.epochs=1", "optim.steps_per_epoch=2", cwd=empty, **place)


def run_report(paws: list[str | Path], empty: Path, place: dict[str, str]) -> str:
    run(*paws, "report", "run", cwd=empty, **place)
    return "run/report.html"
