"""The command line: verbs, and what a user sees when something is wrong. Heavy imports happen inside the verbs."""

from __future__ import annotations

import importlib
import io
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from paws.errors import InputError

HEADINGS = {  # verbs in the order of their use
    "Your own images": ("example", "fit", "report", "predict", "sort", "explain", "suggest", "label", "labels", "export"),
    "Training": ("train", "evaluate", "split", "launch"),
    "Formats": ("convert", "schema"),
}
EXAMPLES = {
    "example": "paws example photos",
    "fit": "paws fit photos --labels labels.csv -o runs/mine",
    "report": "paws report runs/mine",
    "predict": "paws predict runs/mine/bundle new_photos -o new.csv",
    "sort": "paws sort runs/mine --into sorted",
    "explain": "paws explain runs/mine photos/17.jpg -o why.png",
    "label": "paws label photos",
    "suggest": "paws suggest runs/mine -n 20 -o next.csv",
    "labels": "paws labels runs/mine --suspicious",
    "export": "paws export runs/mine/bundle -o model.onnx",
    "train": "paws train configs/digits.yaml optim.epochs=5",
    "evaluate": "paws evaluate runs/digits",
    "split": "paws split labels.txt --dataset fashion_mnist --per-class 4",
    "launch": "paws launch configs/digits.yaml --nodes 2 --partition main --time 30",
    "convert": "paws convert old.yaml -o card.yaml",
    "schema": "paws schema > schema.json",
}

app = typer.Typer(
    help="Semi-supervised learning from a folder of images and a handful of labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _name in ("example", "images", "report", "insight", "label", "training", "splits", "launch"):
    importlib.import_module(f"paws.cli.{_name}").register(app)
_verbs = {}
for _command in app.registered_commands:
    _verb = str(_command.name or getattr(_command.callback, "__name__", ""))
    _command.rich_help_panel = next(heading for heading, verbs in HEADINGS.items() if _verb in verbs)
    _command.epilog = f"Example: {EXAMPLES[_verb]}"
    _verbs[_verb] = _command
app.registered_commands = [_verbs[verb] for verbs in HEADINGS.values() for verb in verbs if verb in _verbs]


def _print_version(asked: bool) -> None:
    if asked:
        print(version("paws-ssl"))
        raise typer.Exit()


@app.callback()
def _options(
    shown: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="print the version and end")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; a mistake in the input ends with one message and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be text that the terminal can show
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
