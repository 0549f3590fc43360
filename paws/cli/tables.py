"""What the verbs of label work show on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paws.labels.explain import Explanation
    from paws.labels.relabel import Change, Relabelled

SHOWN = 20  # rows of a table on the screen


def print_labels(done: Relabelled) -> None:
    """How many labels changed, and which classes came or went."""
    counts = f"{len(done.corrected)} corrected, {len(done.added)} added, {len(done.removed)} removed"
    classes = [f"new: {name}" for name in done.new_classes] + [f"gone: {name}" for name in done.lost_classes]
    say(f"labels: {counts}" + (f"; classes {', '.join(classes)}" if classes else "") + f"; {len(done.files)} in all")


def print_changes(changes: Sequence[Change], images: int) -> None:
    """Which of so many images are predicted otherwise."""
    rows = [(c.file, f"{c.before} {c.before_probability:.0%}", f"{c.after} {c.after_probability:.0%}") for c in changes[:SHOWN]]
    more = f", the first {SHOWN}" if len(changes) > SHOWN else ""
    if rows:
        print_table(f"{len(changes)} of {images} images are predicted otherwise{more}", ("image", "before", "now"), rows)
    else:
        say(f"all {images} images are predicted as before")


def print_explanation(found: Explanation, image: Path) -> None:
    """The prediction, the vote by class and the labelled images behind it."""
    from paws.bundle.table import abstains

    low = abstains(found.probability, found.threshold, strange=0.0)
    why = ", too low to decide" if found.threshold <= 1 else ", which no held-out labels show to be right often enough"
    said = f"{found.label}, probability {found.probability:.0%}{why if low else ''}"
    none = f"; of no class with probability {found.none:.0%}" if found.none and found.none >= 0.005 else ""
    none += ", so it does not decide" if found.abstain and not low else ""
    say(f"{image}: {said}; unfamiliar {found.unfamiliar:.2f}{none}")
    rows = [(name, f"{found.vote[name]:.1%}", f"{p:.1%}") for name, p in list(found.probabilities.items())[:SHOWN]]
    if found.parts:
        weights = ", ".join(f"{title} {weight:.2f}" for title, weight in found.parts.items())
        say(f"{found.method} of {weights}; the vote is that of {list(found.parts)[-1]}")
    titles = ("the vote", "share of the vote", "the labelled images that voted")
    if not found.votes:
        titles = (
            "the classes",
            "share of what is near",
            f"the nearest labelled images, which {found.method} does not weigh so",
        )
    print_table(f"{titles[0]} ({found.method})", ("class", titles[1], "probability"), rows)
    print_table(titles[2], ("image", "label", "weight"), [(n.file, n.label, f"{n.weight:.1%}") for n in found.nearest])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of plain text."""
    from rich.table import Table
    from rich.text import Text

    from paws.runs.console import console

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def say(text: str) -> None:
    """Print a line of plain text."""
    from paws.runs.console import console

    console.print(text, markup=False)
