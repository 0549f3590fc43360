"""The method of docs/extending.md, as it stands there: trained, killed and resumed, evaluated, and on a page."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paws.config.cards import load_config
from paws.config.schema import Recipe
from paws.methods import base, method
from paws.report import write_report
from paws.train import evaluate, train
from tests.digits_runs import whole_and_killed

ROOT = Path(__file__).parents[2]
OPTIM = "optim={name: adamw, lr: 1.0e-3, epochs: 2, steps_per_epoch: 3, batch_size: 16}"
SMALL = ["recipe.name=agreement", OPTIM, "log.every_steps=1"]


@pytest.fixture(autouse=True)
def agreement(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's code as a module, taken out of the table again afterwards."""
    section = (ROOT / "docs/extending.md").read_text(encoding="utf-8").split("## Add a training method")[1]
    folder = tmp_path_factory.mktemp("module")
    (folder / "agreement_of_the_page.py").write_text(section.split("```python\n")[1].split("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    importlib.import_module("agreement_of_the_page")
    yield
    del base._TABLE["agreement"], Recipe.known["agreement"], sys.modules["agreement_of_the_page"]


def config(run: Path, *more: str):
    return load_config(ROOT / "configs/digits.yaml", [*SMALL, f"run_dir={run}", *more])


def test_it_trains_is_evaluated_and_has_a_page(tmp_path: Path) -> None:
    result = train(config(tmp_path), quiet=True)
    assert result["recipe"] == "agreement" and evaluate(tmp_path)["top1"] == result["top1"]
    assert "Agreement on digits" in write_report(tmp_path).read_text(encoding="utf-8")


def test_what_moves_beside_the_network_survives_a_kill(tmp_path: Path) -> None:
    _, state = whole_and_killed(config, tmp_path)
    teacher, student = state["method"]["teacher"]["head.fc1.weight"], state["model"]["head.fc1.weight"]
    assert not teacher.equal(student)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match=r"recipe 'paws' is paws\.methods\.paws\.PawsSettings already"):
        type("Other", (Recipe,), {"__annotations__": {"name": str}, "name": "paws"})
    assert method("paws").Settings is Recipe.known["paws"]
