"""What the pages promise: every trap of the published code has its test, and the commands shown are those that are run."""

import ast
import pkgutil
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


def test_every_name_of_the_package_that_a_page_imports_or_names_exists() -> None:
    root, named = TESTS.parent, set()
    for page in [root / "README.md", *(root / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        named |= {(page.name, name) for name in re.findall(r"`(paws(?:\.\w+)+)\b(?!/)", text)}
        for module, names in re.findall(r"^from (paws[\w.]*) import (.+)$", text, re.MULTILINE):
            named |= {(page.name, f"{module}.{name.strip()}") for name in names.split(",")}
    method = (root / "docs/method.md").read_text(encoding="utf-8")  # whose names begin with their room
    rooms = "losses|methods|voting|train|distributed|data"
    named |= {("method.md", f"paws.{name}") for name in re.findall(rf"`((?:{rooms})(?:\.\w+)+)`", method)}
    assert len(named) > 40
    for page_name, name in named:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError) as error:
            raise AssertionError(f"{page_name} names {name}") from error


def test_every_python_file_and_room_that_a_page_names_exists() -> None:
    root = TESTS.parent
    research = (root / "docs/research.md").read_text(encoding="utf-8")
    for page in [root / "README.md", *(root / "docs").glob("*.md")]:
        for name in re.findall(r"(?<![\w/.{-])(?:\w+/)+\w+\.py\b", page.read_text(encoding="utf-8")):
            assert any((base / name).is_file() for base in (root, root / "paws", TESTS)), f"{page.name} names {name}"
    tree = re.findall(r"^([\w/]+/)  ", research, re.MULTILINE)
    assert {f"paws/{path.parent.name}/" for path in (root / "paws").glob("*/__init__.py")} <= set(tree)
    assert all((root / name).is_dir() for name in tree)
