"""docs/options.md says what the code reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paws.config.fields import bounds, described
from paws.config.options import OPTIONS
from tests.commands import Command

PAGE = (Path(__file__).parents[2] / "docs/options.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(.+?)` \| (.+?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)


def test_the_page_is_what_the_code_prints(command: Command) -> None:
    assert command("schema", "--markdown") == PAGE


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_key_has_a_type_and_a_description(row: tuple[str, ...]) -> None:
    _, kind, _, _, description = row
    assert kind and description.strip()


def test_types_bounds_and_defaults_in_words() -> None:
    key = described("accuracy", OPTIONS["accuracy"])
    assert (key.type, key.default, key.bounds) == ("number", "0.95", "above 0, at most 1")
    assert described("image_size", OPTIONS["image_size"]).type == "integer or null"
    assert bounds(OPTIONS["seed"]) == ""
    assert len(ROWS) >= 14 + 75
