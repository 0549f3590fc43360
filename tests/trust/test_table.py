"""The table of inputs: bad, odd and right ones, each with its exit code, what is said, and nothing of the user's touched."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from paws.errors import InputError
from tests.commands import Command
from tests.trust.case import Case

TABLES = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
CASES = [(table, case) for table in TABLES for case in importlib.import_module(f"tests.trust.{table}").CASES]


def test_names_tell_the_rows_apart() -> None:
    names = [f"{table}: {case.name}" for table, case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{table[6:]}: {case.name}") for table, case in CASES])
def test_input(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Command,
    fitted_run: Path,
    tiny_weights: Path,
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    case.build(folder)
    places = {"weights": tiny_weights, "run": fitted_run, "bundle": fitted_run / "bundle"}
    for verb in case.first:
        command(*filled(verb, places))
    before = contents(folder)
    said = call(case, folder, command, places)
    for part in case.says:
        assert part in said, f"{part!r} is not in:\n{said}"
    for part in ("Traceback", *case.silent):
        assert part not in said, f"{part!r} is in:\n{said}"
    after = contents(folder)
    touched = [
        name for name, content in before.items() if not name.startswith(case.changed or ("\0",)) and after.get(name) != content
    ]
    assert not touched, "files of the user were touched"
    if case.code == 2:
        assert sorted(after) == sorted(before), "something was written"


def call(case: Case, folder: Path, command: Command, places: dict[str, Path]) -> str:
    """Run the verb or the function; what it said on both streams."""
    if callable(case.verb):
        try:
            said = str(case.verb(places.get(case.given, folder)))
        except InputError as error:
            assert case.code == 2, error
            return str(error)
        assert case.code == 0, f"it was accepted: {said}"
        return said
    command(*filled(case.verb, places), code=case.code)
    if case.code == 2:
        assert command.err.lower().lstrip(" \n╭─").startswith(("error", "usage")), command.err
    return command.out + command.err


def filled(verb: Sequence[str], places: dict[str, Path]) -> list[str]:
    return [part.format(**places) if part.startswith("{") else part for part in verb]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder; links are not followed, and pipes not read."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            full = Path(path, name)
            content = os.readlink(full).encode() if full.is_symlink() else full.read_bytes() if full.is_file() else b""
            found[os.path.relpath(full, folder)] = content
    return found
