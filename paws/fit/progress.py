"""Progress of a command in steps: a bar for each, and one line when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.markup import escape

from paws.runs.console import console, progress_bar

EVERY = 60.0  # seconds between two lines where there is no bar


class Advance(Protocol):
    """Tells a step what was done since, in images or in percent, and what is done now."""

    def __call__(self, count: float, what: str = "") -> None: ...


class StepProgress:
    """The steps of a fit and the seconds they took; ``quiet`` prints nothing.

    On a terminal a step has a live bar. Where there is none (a log, a notebook) a step that lasts prints a line every minute.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, images: int | None = None) -> Iterator[Advance]:
        """Time a step under a bar; gives the function that adds what was done since, in images or in percent."""
        start = said = time.monotonic()
        total, unit = (100, "%") if images is None else (images, " images")
        with progress_bar(quiet=self.quiet) as bar:
            task = bar.add_task(name, total=total, numbers=unit.strip())

            def advance(count: float, what: str = "") -> None:
                nonlocal said
                bar.advance(task, count)
                now, done = time.monotonic(), bar.tasks[0].completed
                rate = done / max(1e-9, now - start)
                bar.update(task, description=what or name, numbers="%" if images is None else f"{rate:.0f} images/s")
                if now - said >= EVERY and not console.is_terminal:
                    said = now
                    left = f", about {in_words((total - done) / rate)} left" if rate and done < total else ""
                    self.log(name, f"{what + ': ' if what else ''}{done:.0f} of {total}{unit}{left}")

            yield advance
        self._took(name, start)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a step that shows its own bar."""
        start = time.monotonic()
        yield
        self._took(name, start)

    def _took(self, name: str, start: float) -> None:
        """Add to the seconds of a step, which may come twice."""
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - start, 2)

    def log(self, name: str, text: str) -> None:
        """Print one line about a step."""
        if not self.quiet:
            console.print(f"[bold]{name:<8}[/bold] {escape(text)}")

    def summary(self) -> str:
        """The seconds of each step in one line."""
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())


def in_words(seconds: float) -> str:
    """E.g. "40 seconds", "4 minutes", "2.5 hours"."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
