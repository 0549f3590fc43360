"""`paws launch` says what it would ask for, and names what is wrong before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.digits_runs import CARD, finish, paws


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(CARD.replace("run_dir: run", f"run_dir: runs/{name}"))
    (tmp_path / "same.yaml").write_text((tmp_path / "a.yaml").read_text())
    (tmp_path / "sweep.txt").write_text("# two runs\n- a.yaml\n\nb.yaml\n")
    (tmp_path / "empty.txt").write_text("# none\n")
    return tmp_path


def test_a_list_of_configs_is_shown(folder: Path):
    out, _ = finish(paws("launch", "--list", "sweep.txt", "--nodes", "2", "--gpus-per-node", "4", "--dry-run", cwd=folder))
    assert "a.yaml: 2 x 4 ranks, batch 16 each, 128 in all; run folder runs/a" in out
    assert "b.yaml: 2 x 4 ranks, batch 16 each, 128 in all; run folder runs/b" in out
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name one or more config files, or a --list of them"),
        (["--list", "none.txt"], "none.txt: no such list of config files"),
        (["--list", "empty.txt"], "empty.txt: names no config file"),
        (["a.yaml", "same.yaml"], "run_dir runs/a is named by 2 of the configs"),
        (["a.yaml", "--sbatch", "exclusive"], "write --sbatch name=value"),
        (["nothing.yaml"], "nothing.yaml: no such config file"),
        (["a.yaml", "optim.epoch=3"], "unknown key optim.epoch; did you mean optim.epochs?"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], message: str, folder: Path):
    _, err = finish(paws("launch", *arguments, cwd=folder), code=2)
    assert message in err
    assert "Traceback" not in err
    assert not (folder / "runs").exists()
