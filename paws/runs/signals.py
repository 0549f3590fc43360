"""Signals that ask a run to stop: collected while it trains, and what tells the caller that one came."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2")


class Interrupted(Exception):
    """A signal ended the run after its state was saved; ``step`` counts finished steps."""

    def __init__(self, step: int, signal_number: int) -> None:
        self.step, self.signal_number = step, signal_number
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after step {step}; the state is saved")


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collect the signals that ask for a stop instead of dying of them; outside the main thread, none arrive."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    former = {}
    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is not None:
            former[number] = signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
