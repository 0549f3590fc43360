"""The command line at large: verbs in the order of use with an example each, the version, and what is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
import typer

from paws.cli import EXAMPLES, HEADINGS, app
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
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_version(command: Command) -> None:
    assert command("--version").strip() == version("paws-ssl")


def test_help_needs_no_torch_and_threads_wait_passively() -> None:
    code = "import os, sys\nfrom paws.cli import main\nsys.argv = ['paws', '--help']\ntry: main()\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'timm'} & set(sys.modules)\nassert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
