"""Bundles and run folders that are damaged are told, or made anew by the same command; none ends in a traceback or in nan."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import paws
from paws.errors import InputError
from paws.models.embedding import Embedder
from paws.report import write_report
from tests.commands import Command

About = dict[str, Any]


def rewritten(source: Path, folder: Path, change: Callable[[About], None], tensors: Callable[[About], None]) -> Path:
    """A copy of a bundle with other contents and right checksums."""
    shutil.copytree(source, folder)
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    for name in ("classifier.safetensors", "backbone.safetensors"):
        state = load_file(folder / name)
        tensors(state)
        save_file({key: value.contiguous() for key, value in state.items()}, folder / name)
        about["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(about)
    about.pop("checksum", None)
    about["checksum"] = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def drop(*path: str) -> Callable[[About], None]:
    def change(about: About) -> None:
        for key in path[:-1]:
            about = about[key]
        about.pop(path[-1], None)

    return change


def put(value: Any, *path: str | int) -> Callable[[About], None]:
    def change(about: About) -> None:
        for key in path[:-1]:
            about = about[key]
        about[path[-1]] = value

    return change


def same(about: About) -> None:
    pass


ABOUTS = [
    put({}, "files"),
    put([], "files"),
    put(None, "files"),
    put("text", "classifier"),
    put({}, "classifier"),
    put("text", "backbone"),
    put(7, "support_files"),
    put([], "support_files"),
    put(["one"], "support_files"),
    put(["a"], "classifier", "classes"),
    put(None, "classifier", "classes"),
    put("no such predictor", "classifier", "predictor", "name"),
    put("text", "classifier", "predictor"),
    put(7, "backbone", "feature_dim"),
    put("small", "backbone", "size"),
    put("no_such_network", "backbone", "name"),
    put(["a", "b", "c"], "backbone", "mean"),
    put([0.5, float("nan"), 0.5], "backbone", "mean"),
    put([0.2, 0.0, 0.2], "backbone", "std"),
    put([0.2, 0.2], "backbone", "std"),
    put(10**6, "backbone", "size"),
    put(0, "backbone", "size"),
    put(float("inf"), "backbone", "size"),
    put("nearest", "backbone", "interpolation"),
    put([255, 255], "backbone", "values"),
    put([0, 2**70], "backbone", "values"),
    *(drop(name) for name in ("files", "classifier", "backbone", "support_files", "format")),
    *(drop("classifier", name) for name in ("classes", "predictor", "support")),
    *(drop("backbone", name) for name in ("name", "size", "mean", "std", "interpolation", "feature_dim")),
]


@pytest.mark.parametrize("number", range(len(ABOUTS)))
def test_a_bundle_whose_description_is_wrong_is_told(number: int, fitted_run: Path, tmp_path: Path) -> None:
    folder = rewritten(fitted_run / "bundle", tmp_path / "b", ABOUTS[number], same)
    with pytest.raises(InputError, match=r"/b\b|backbone|unknown model|unknown"):
        paws.load(folder).predict([np.zeros((20, 20, 3), np.uint8)])


HUGE = 2**29  # numbers of float32 are 2 GiB


@contextmanager
def little_memory() -> Iterator[None]:
    """No more than 1 GiB of further memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    former = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, former)


def sizes(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where whole numbers stand in a description."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from sizes(inner, *path, key)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield path


def test_sizes_that_a_description_claims_take_no_memory(fitted_run: Path, tmp_path: Path) -> None:
    about = json.loads((fitted_run / "bundle" / "bundle.json").read_text(encoding="utf-8"))["classifier"]
    places = list(sizes(about, "classifier"))
    assert len(places) > 15
    for number, path in enumerate(places):
        folder = rewritten(fitted_run / "bundle", tmp_path / str(number), put(HUGE, *path), same)
        with little_memory(), pytest.raises(InputError, match="cannot be used as a bundle") as caught:
            paws.load(folder)
        assert "allocate" not in str(caught.value), path


def test_a_large_network_is_not_built_for_the_weights_of_a_small_one(fitted_run: Path, tmp_path: Path) -> None:
    name = "vit_giant_patch14_dinov2"  # 4.5 GB
    bundle = paws.load(rewritten(fitted_run / "bundle", tmp_path / "b", put(name, "backbone", "name"), same))
    with little_memory(), pytest.raises(InputError, match=f"the weights do not fit the backbone {name}") as caught:
        bundle.predict([np.zeros((20, 20, 3), np.uint8)])
    assert "allocate" not in str(caught.value)


def test_a_backbone_of_another_width_is_told(fitted_run: Path, tmp_path: Path) -> None:
    """All that the description says fits, and so do the checksums; the network gives more features."""
    bundle = paws.load(fitted_run / "bundle")
    frozen = replace(bundle.frozen, feature_dim=bundle.frozen.feature_dim + 1)
    with pytest.raises(InputError, match="are its weights damaged"):
        Embedder(frozen).features([np.zeros((20, 20, 3), np.uint8)])


def not_a_number(state: About) -> None:
    for name, value in state.items():
        if value.is_floating_point() and value.ndim:
            state[name] = torch.full_like(value, torch.nan)


def narrower(state: About) -> None:
    for name, value in state.items():
        if value.ndim == 2:
            state[name] = value[:, :-1]


def other_type(state: About) -> None:
    if "support_labels" in state:
        state["support_labels"] = state["support_labels"] + 99


def fewer(state: About) -> None:
    state.pop("scale", None)


@pytest.mark.parametrize("tensors", [not_a_number, narrower, other_type, fewer])
def test_a_bundle_whose_numbers_are_wrong_is_told(tensors: Callable[[About], None], fitted_run: Path, tmp_path: Path) -> None:
    folder = rewritten(fitted_run / "bundle", tmp_path / "b", same, tensors)
    with pytest.raises(InputError, match="cannot be used as a bundle"):
        paws.load(folder)


def test_a_backbone_that_is_not_finite_is_told(fitted_run: Path, tmp_path: Path) -> None:
    def broken(state: About) -> None:
        if "conv_stem.weight" in state:
            not_a_number(state)

    folder = rewritten(fitted_run / "bundle", tmp_path / "b", same, broken)
    with pytest.raises(InputError, match=r"weights of the backbone test_efficientnet are not finite: conv_stem\.weight"):
        paws.load(folder).predict([np.zeros((20, 20, 3), np.uint8)])


TEXTS = ["", "{", "[]", "null", "7", '{"version": 3}', "\x00\xff"]
FILES = ("fit.json", "files.json", "predictions.csv", "held_out.csv", "bundle/bundle.json", "features/views.json")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_is_told_by_every_verb(name: str, text: str, command: Command, fitted_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run, run)
    (run / name).write_bytes(text.encode("latin1"))
    image = next((fitted_run.parent / "images").glob("*.png"))
    verbs = {
        "report": ("report", run),
        "explain": ("explain", run, image),
        "suggest": ("suggest", run, "-n", "2"),
        "suspicious": ("labels", run, "--suspicious"),
        "labels": ("labels", run, "--remove", "dü-0.png", "--dry-run"),
        "export": ("export", run, "-o", tmp_path / "net.safetensors"),
    }
    needed = {
        "fit.json": set(verbs),
        "files.json": set(verbs),
        "predictions.csv": {"report", "labels"},
        "held_out.csv": {"report"},
        "bundle/bundle.json": {"explain", "suggest", "suspicious", "labels", "export"},
        "features/views.json": {"report", "explain", "suggest", "labels"},
    }[name]
    for verb in sorted(needed):
        said = command(*verbs[verb], code=2)
        assert str(run) in said, verb


def test_the_same_fit_mends_what_is_damaged(fitted_run: Path, command: Command, tmp_path: Path, tiny_weights: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(fitted_run.parent, work)
    arguments = ["fit", work / "images", "--labels", work / "labels.csv", "-o", work / "run", "--workers", "0"]
    arguments += ["--backbone", "test_efficientnet", "--weights", tiny_weights, "--image-size", "32"]
    arguments += ["--views", "2", "--steps", "30", "--overwrite"]
    command(*arguments)
    arguments.remove("--overwrite")
    whole = (work / "run" / "predictions.csv").read_bytes()
    for name in ("predictions.csv", "fit.json", "files.json", "bundle/classifier.safetensors", "features/views.json"):
        path = work / "run" / name
        path.write_bytes(path.read_bytes()[:-40])
        command(*arguments)
        assert (work / "run" / "predictions.csv").read_bytes() == whole, name
        write_report(work / "run")
    table = whole.decode().replace("dots", "rows", 1)
    (work / "run" / "predictions.csv").write_text(table)
    command(*arguments)
    assert (work / "run" / "predictions.csv").read_bytes() == whole
