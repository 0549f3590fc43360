"""What a run prints: the console, the live progress line, a metrics row on one line."""

from __future__ import annotations

import errno
import os
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the program without a word."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


console = _Console(highlight=False, soft_wrap=True)  # soft wrap: a path or command in a log stays on one line to copy


def progress_bar(*, quiet: bool = False) -> Progress:
    """A live bar with losses, throughput and time left; silent where the output is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[numbers]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def numbers(row: dict[str, Any], *, short: bool = False) -> str:
    """A metrics row on one line: its losses and learning rate (``short``: the loss alone), then the throughput."""
    names = ["loss"] if short else [name for name in row if name not in ("step", "epoch", "images_per_second")]
    shown = [f"{name} {row[name]:.3f}" for name in names]
    return "  ".join([*shown, f"{row['images_per_second']:.0f} images/s"])
