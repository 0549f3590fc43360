"""Recipe cards: YAML files and ``dotted.key=value`` overrides made a checked config; unknown keys are named."""

from __future__ import annotations

import difflib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from paws.config.schema import DEFAULT_RECIPE, Config, Recipe
from paws.errors import InputError


def load_config(path: Path | None, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read a YAML card (or the defaults) and apply ``dotted.key=value`` overrides.

    Raises:
        InputError: the file cannot be read, or a key or value does not fit; every fault is listed.
    """
    source = str(path) if path else "config"
    return from_mapping(merge_overrides(read_yaml(path) if path else {}, overrides), source, overrides)


class _Texts(yaml.SafeLoader):
    """YAML in which a plain word is the text that stands there, or nothing (null, ~): its meaning is the schema's."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge"]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.MarkedYAMLError(problem=f"the key {twice} stands there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_Texts.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, *, numbers: bool = False) -> dict[str, Any]:
    """The mapping in a YAML file: words as texts, or with ``numbers`` as what YAML 1.1 makes of them.

    Where there is no file ``configs/NAME.yaml`` here, it is the card that was installed with the package.

    Raises:
        InputError: no such file, not YAML, or not a mapping.
    """
    if not path.is_file():
        path = _shipped(path) or path
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], 1)
        raise InputError(f"{path}: no such config file" + (f"; is it {path.parent / near[0]}?" if near else ""))
    try:
        text = path.read_text(encoding="utf-8-sig")
        created: Any = OmegaConf.create(text) if numbers else OmegaConf.create(yaml.load(text, _Texts) or {})
        loaded = OmegaConf.to_container(created, resolve=True)
    except (OmegaConfBaseException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from error
    except Exception as error:  # the YAML parser's own errors share no public base with the above
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: expected a mapping of sections, found {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def _shipped(path: Path) -> Path | None:
    """The card ``configs/NAME.yaml`` that was installed with the package."""
    wanted = ("share", "paws", "configs", path.name)
    if path.parts[-2:-1] != ("configs",):
        return None
    with suppress(PackageNotFoundError):
        found = next((file for file in files("paws-ssl") or () if file.parts[-4:] == wanted), None)
        return None if found is None else Path(str(found.locate()))
    return None


def merge_overrides(values: dict[str, Any], overrides: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """``values`` with ``dotted.key=value`` overrides laid over it."""
    for override in overrides:
        if "=" not in override or override.startswith("="):
            raise InputError(f"override {override!r}: write dotted.key=value, e.g. optim.epochs=5")
        if override.startswith(("recipe.name=", "recipe=")):  # another recipe: the card's settings are not its own
            values = {key: value for key, value in values.items() if key != "recipe"}
    merged: Any = OmegaConf.create(values)
    for override in overrides:
        key, _, text = override.partition("=")
        try:
            value = yaml.load(text, _Texts)
            for part in reversed(key.split(".")):
                value = {part: value}
            merged = OmegaConf.merge(merged, OmegaConf.create(value))
            container = OmegaConf.to_container(merged, resolve=True)
        except Exception as error:  # a malformed override surfaces as one of several parser errors
            raise InputError(f"override {override}: {error}") from error
        assert isinstance(container, dict)
        values = {str(key): value for key, value in container.items()}
    return values


def from_mapping(values: dict[str, Any], source: str = "config", overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """A checked config from a mapping; ``source`` names it in errors, but for keys that one of the ``overrides`` has set."""
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and "name" not in recipe:
        values = {**values, "recipe": {"name": "paws", **recipe}}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = [(_place(fault, source, overrides), _explain(fault, values)) for fault in error.errors()]
        raise InputError("\n".join(f"{place}: {message}" for place, message in faults)) from error


def _place(fault: Any, source: str, overrides: list[str] | tuple[str, ...]) -> str:
    """Where a fault was written: the last override of its key, or of one above or below it, or else ``source``."""
    key = ".".join(map(str, fault["loc"])) + "."
    for override in reversed(overrides):
        name = override.partition("=")[0] + "."
        if key.startswith(name) or name.startswith(key):
            return f"override {override}"
    return source


def _explain(fault: Any, values: dict[str, Any]) -> str:
    where = [str(part) for part in fault["loc"]]
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        known = _keys(where[:-1], values)
        near = difflib.get_close_matches(where[-1], known, 1)
        hint = f"did you mean {'.'.join([*where[:-1], near[0]])}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {key}; {hint}"
    given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
    return f"{key}: {fault['msg'].removeprefix('Value error, ')}{given}"


def _keys(section: list[str], values: dict[str, Any]) -> list[str]:
    """The keys that a section has; of a recipe those of the one that ``values`` name."""
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
        if model is Recipe:
            model = Recipe.known[values["recipe"].get("name", DEFAULT_RECIPE)]
    return sorted(model.model_fields)
