"""The options of a fit stand in one place: the verb, the Python function and the estimator take them from there."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import paws
from paws.bundle.table import COLUMNS
from paws.classifiers.heads import HeadSettings
from paws.cli import app
from paws.config.options import DEFAULTS, OPTIONS, fit_options, option_help
from paws.errors import InputError
from paws.estimator import SHARED, PAWSClassifier
from tests.conftest import TINY, write_patterns


def test_every_option_has_help_and_a_default_within_its_bounds() -> None:
    assert all(field.description for field in OPTIONS.values())
    assert fit_options({name: getattr(DEFAULTS, name) for name in OPTIONS if getattr(DEFAULTS, name) is not None}) == DEFAULTS


def test_the_verb_has_every_option_with_its_default_and_help() -> None:
    group: Any = typer.main.get_command(app)
    context = group.commands["fit"].make_context("fit", [], resilient_parsing=True)
    shown = {parameter.name: parameter for parameter in context.command.params}
    for name in OPTIONS:
        assert shown[name].default == getattr(DEFAULTS, name)
        assert shown[name].help == option_help(name)
        assert shown[name].opts == [f"--{name.replace('_', '-')}"]


def test_the_estimator_takes_what_it_shares_from_the_options() -> None:
    arguments = inspect.signature(PAWSClassifier).parameters
    assert set(SHARED) <= set(OPTIONS) & set(arguments)
    for name in set(SHARED) - {"model"}:  # an estimator is PAWS unless asked otherwise
        assert arguments[name].default == getattr(DEFAULTS, name), name
    assert all(f"{name}: {option_help(name)}" in (PAWSClassifier.__doc__ or "") for name in SHARED)
    assert HeadSettings().steps == DEFAULTS.steps
    with pytest.raises(ValueError, match=r"accuracy 2: must be above 0, at most 1"):
        PAWSClassifier(accuracy=2).fit([[0.0], [1.0]], [0, 1])


def test_what_is_wrong_is_named_all_at_once() -> None:
    with pytest.raises(InputError, match="--views -1: must be at least 0\n--accuracy 0: must be above 0, at most 1"):
        fit_options({"accuracy": 0, "views": -1}, lambda name: f"--{name}")
    with pytest.raises(InputError, match=r"unknown option viws; did you mean views\?"):
        fit_options({"viws": 3})
    assert fit_options({"prior": "0.7,0.3"}).prior == fit_options({"prior": [0.7, 0.3]}).prior == (0.7, 0.3)
    assert fit_options({"weights": Path("a/b")}).weights == "a/b"
    for prior in ({"1": 0.3, "2": 0.7}, {0.3, 0.7}, 5, ["a", "b"]):
        with pytest.raises(
            InputError, match=r"^prior .*: expected a word, or a list of numbers, one for each class in the order"
        ):
            fit_options({"prior": prior})


def test_options_are_known_and_refused_without_torch() -> None:
    code = "import sys, paws.cli, paws.config.options\nimport paws\n"
    code += "try: paws.fit('images', None, 'run', views=-1)\nexcept ValueError as error: print(error)\n"
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "views -1: must be at least 0\n"


def test_a_fit_from_python(tmp_path: Path, tiny_weights: Path) -> None:
    images = write_patterns(tmp_path, per_class=4, labelled=2, classes=("dots", "rows"))
    chosen = {"backbone": TINY, "weights": tiny_weights, "image_size": 32, "views": 1, "steps": 5}
    found = paws.fit(images, tmp_path / "labels.csv", tmp_path / "run", device="cpu", workers=0, quiet=True, **chosen)
    assert len(found.files) == 8
    assert (found.folder / "bundle").is_dir()
    bundle = paws.load(found.folder / "bundle")
    assert list(bundle.classes) == ["dots", "rows"]
    pandas = pytest.importorskip("pandas")
    table = bundle.predict(pandas.Series([images / name for name in found.files], index=range(5, 13)), as_frame=True)
    assert list(table.columns) == list(COLUMNS) and table["abstain"].dtype == bool
    assert list(table["label"]) == [row["label"] for row in found.predictions]
    frame = found.to_frame()
    assert list(frame.columns) == [*COLUMNS, "given"] and frame["abstain"].dtype == bool
    assert list(frame["given"]) == [row["given"] for row in found.predictions] and "" in set(frame["given"])
    assert frame["probability"].between(0, 1).all() and frame["weight_3"].dtype == float
    labels = pandas.read_csv(tmp_path / "labels.csv")
    again = paws.fit(images, labels, tmp_path / "run", device="cpu", workers=0, quiet=True, **chosen)
    assert again.record.labels == "a table" or again.record.key == found.record.key
