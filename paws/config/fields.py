"""What a pydantic field says of itself in words: type, default, bounds."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

WORDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}  # attributes of pydantic's constraints
NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", type(None): "null"}


class Key(NamedTuple):
    """A key of a card, or an option."""

    name: str
    type: str
    default: str
    bounds: str
    description: str


def described(name: str, field: FieldInfo) -> Key:
    """The field in words."""
    return Key(name, type_name(field.annotation), _default(field), bounds(field), field.description or "")


def bounds(field: FieldInfo) -> str:
    """E.g. "above 0, at most 1"; empty where there are none."""
    found = [*field.metadata, *_nested(field.annotation)]
    words = [f"{word} {getattr(item, key)}" for key, word in WORDS.items() for item in found if hasattr(item, key)]
    return ", ".join(dict.fromkeys(words))


def _nested(annotation: Any) -> Iterator[Any]:
    """Constraints inside of unions and tuples, e.g. of ``PositiveInt | None``."""
    if get_origin(annotation) is Annotated:
        for item in annotation.__metadata__:
            yield from item.metadata if isinstance(item, FieldInfo) else [item]
    for argument in get_args(annotation):
        if not isinstance(argument, str | int | float):
            yield from _nested(argument)


def type_name(annotation: Any) -> str:
    """E.g. "integer or null", "lars, sgd or adamw"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(type_name, arguments))
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments)) if len(arguments) > 1 else str(arguments[0])
    if origin is tuple:
        many = arguments[-1] is ...
        return f"{'any number of' if many else len(arguments)} {type_name(arguments[0])}s"
    return NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value)
