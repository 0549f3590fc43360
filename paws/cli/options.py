"""Command-line options made of `paws.config.options.FitOptions`, once a verb that has them is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

PLAIN = (bool, int, float, str)  # what typer reads; all else is read as text


class FitVerb(TyperCommand):
    """A verb with ``**options``, of which its call and its own help make an option for each field of FitOptions.

    The list of all verbs does without them, and so without what describes and checks them.
    """

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """The context of a call, as click asks for it."""
        alone = typer.Typer(add_completion=False)
        alone.command()(_with_options(inspect.unwrap(self.callback)))  # type: ignore[arg-type]
        whole: Any = typer.main.get_command(alone)
        self.params, self.callback = whole.params, whole.callback
        return super().make_context(*arguments, **extra)


def flag(name: str) -> str:
    """``image_size`` as it is written on the command line."""
    return "--" + name.replace("_", "-")


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Let typer read the parameters of a verb without its ``**options``, which `FitVerb` adds."""
    signature, hints = inspect.signature(verb), get_type_hints(verb, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    return _read_as(verb, signature.replace(parameters=own))


def _with_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, of which typer reads the fields of FitOptions too."""
    from paws.config.options import DEFAULTS, OPTIONS

    def whole(**given: Any) -> None:
        verb(**given)

    kind, signature = inspect.Parameter.KEYWORD_ONLY, inspect.signature(verb)
    added = [inspect.Parameter(name, kind, default=getattr(DEFAULTS, name), annotation=_annotation(name)) for name in OPTIONS]
    whole.__name__, whole.__doc__ = verb.__name__, verb.__doc__
    return _read_as(whole, signature.replace(parameters=[*signature.parameters.values(), *added]))


def _read_as(verb: Callable[..., None], signature: inspect.Signature) -> Callable[..., None]:
    """The verb, which typer sees with this signature."""
    verb.__signature__ = signature  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()} | {"return": None}
    return verb


def _annotation(name: str) -> Any:
    """The type that typer shows, with the option's help; a switch that is off has no ``--no-`` form."""
    from paws.config.options import DEFAULTS, OPTIONS, option_help

    declared: Any = OPTIONS[name].annotation
    kinds = [kind for kind in (declared, *get_args(declared)) if kind in PLAIN] or [str]
    switch = (flag(name),) if kinds[0] is bool and not getattr(DEFAULTS, name) else ()
    kind = kinds[0] if getattr(DEFAULTS, name) is not None else kinds[0] | None
    return Annotated[kind, typer.Option(*switch, help=option_help(name))]
