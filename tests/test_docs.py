"""The page on the published code covers all of its traps, and the tests that it names exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/reference.md").read_text(encoding="utf-8")
NAMED = re.findall(r"([\w/]+\.py)::(\w+)", PAGE)


def test_every_trap_names_what_we_do_and_a_test():
    rows = re.findall(r"^\| (\d+)\. (.+) \| (.+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 36))
    assert all(re.search(r"\.py::test_", tests) for *_, tests in rows)


def test_every_test_that_is_named_exists():
    assert len(NAMED) >= 35
    for file, name in NAMED:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
