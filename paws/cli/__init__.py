"""The command line: verbs, and what a user sees when something is wrong. Heavy imports happen inside the verbs."""

from __future__ import annotations

import importlib.util
import io
import sys

import typer

from paws.errors import InputError

app = typer.Typer(
    help="Semi-supervised learning from a folder of images and a handful of labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name in ("training", "images", "splits", "launch", "insight", "report"):
    if importlib.util.find_spec(f"paws.cli.{_name}") is not None:
        importlib.import_module(f"paws.cli.{_name}").register(app)


def main() -> None:
    """Run the command line; a mistake in the input ends with one message and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text that the terminal can show
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
