"""Command-line options made of `paws.config.options.FitOptions`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

import typer

from paws.config.options import DEFAULTS, OPTIONS, option_help

PLAIN = (bool, int, float, str)  # what typer reads; all else is read as text


def flag(name: str) -> str:
    """``image_size`` as it is written on the command line."""
    return "--" + name.replace("_", "-")


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb with ``**options`` an option for each field of FitOptions, as typer reads it from the signature."""
    signature, hints = inspect.signature(verb), get_type_hints(verb, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(DEFAULTS, name), annotation=_annotation(name))
        for name in OPTIONS
    ]
    verb.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in [*own, *added]} | {"return": None}
    return verb


def _annotation(name: str) -> Any:
    """The type that typer shows, with the option's help; a switch that is off has no ``--no-`` form."""
    declared: Any = OPTIONS[name].annotation
    kinds = [kind for kind in (declared, *get_args(declared)) if kind in PLAIN] or [str]
    switch = (flag(name),) if kinds[0] is bool and not getattr(DEFAULTS, name) else ()
    kind = kinds[0] if getattr(DEFAULTS, name) is not None else kinds[0] | None
    return Annotated[kind, typer.Option(*switch, help=option_help(name))]
