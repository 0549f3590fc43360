"""Progress of a command in steps: a bar for each, and one line when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape

from paws.runs.console import console, progress_bar


class StepProgress:
    """The steps of a fit and the seconds they took; ``quiet`` prints nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, images: int | None = None) -> Iterator[Callable[[float], None]]:
        """Time a step under a bar; gives the function that adds what was done since, in images or in percent."""
        start = time.monotonic()
        with progress_bar(quiet=self.quiet) as bar:
            task = bar.add_task(name, total=100 if images is None else images, numbers="%" if images is None else "")

            def advance(count: float) -> None:
                bar.advance(task, count)
                if images is not None:
                    rate = bar.tasks[0].completed / max(1e-9, time.monotonic() - start)
                    bar.update(task, numbers=f"{rate:.0f} images/s")

            yield advance
        self.seconds[name] = round(time.monotonic() - start, 2)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a step that shows its own bar."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)

    def log(self, name: str, text: str) -> None:
        """Print one line about a step."""
        if not self.quiet:
            console.print(f"[bold]{name:<8}[/bold] {escape(text)}")
