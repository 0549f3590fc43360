"""Recipe cards: YAML files and ``dotted.key=value`` overrides made a checked config; unknown keys are named."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

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
    return from_mapping(merge_overrides(read_yaml(path) if path else {}, overrides), source)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        InputError: no such file, not YAML, or not a mapping.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], 1)
        raise InputError(f"{path}: no such config file" + (f"; is it {path.parent / near[0]}?" if near else ""))
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from error
    except Exception as error:  # the YAML parser's own errors share no public base with the above
        raise InputError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: expected a mapping of sections, found {type(loaded).__name__}")
    return {str(key): value for key, value in loaded.items()}


def merge_overrides(values: dict[str, Any], overrides: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """``values`` with ``dotted.key=value`` overrides laid over it."""
    for override in overrides:
        if "=" not in override or override.startswith("="):
            raise InputError(f"override {override!r}: write dotted.key=value, e.g. optim.epochs=5")
        if override.startswith(("recipe.name=", "recipe=")):  # another recipe: the card's settings are not its own
            values = {key: value for key, value in values.items() if key != "recipe"}
    try:
        merged = OmegaConf.merge(OmegaConf.create(values), OmegaConf.from_dotlist(list(overrides)))
        container = OmegaConf.to_container(merged, resolve=True)
    except Exception as error:  # a malformed override surfaces as one of several parser errors
        raise InputError(f"overrides {' '.join(overrides)}: {error}") from error
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def from_mapping(values: dict[str, Any], source: str = "config") -> Config:
    """A checked config from a mapping; ``source`` names it in errors.

    Its recipe must be known: ``paws.methods`` is imported first.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{source}: {_explain(fault, values)}" for fault in error.errors())) from error


def _explain(fault: Any, values: dict[str, Any]) -> str:
    where = [str(part) for part in fault["loc"]]
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        known = _keys(where[:-1], values)
        near = difflib.get_close_matches(where[-1], known, 1)
        hint = f"did you mean {'.'.join([*where[:-1], near[0]])}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {key}; {hint}"
    given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
    return f"{key}: {fault['msg']}{given}"


def _keys(section: list[str], values: dict[str, Any]) -> list[str]:
    """The keys that a section has; of a recipe those of the one that ``values`` name."""
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
        if model is Recipe:
            model = Recipe.known[values["recipe"].get("name", DEFAULT_RECIPE)]
    return sorted(model.model_fields)
