"""The verb that makes something to try: example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(example)


def example(
    folder: Annotated[Path, typer.Argument(help="the folder to make")],
    per_class: Annotated[int, typer.Option(min=1, max=100, help="labels of each digit")] = 5,
) -> None:
    """Make a folder of pictures with a few labels to try paws on: 1,797 handwritten digits. Nothing is downloaded."""
    from paws.cli.tables import say
    from paws.data.example import write_example

    made = write_example(folder, per_class)
    say(f"{made.images}: {made.pictures} pictures of digits (CC BY 4.0); {made.labels}: {10 * per_class} labels")
    say(f"next: paws fit {made.images} --labels {made.labels} --test {made.test} --no-mirror -o {folder / 'run'}")
