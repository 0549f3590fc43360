"""The summary of the table: how many inputs, and in which way any of them ended wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from paws.cli import backbones
from paws.label_page import server
from paws.label_page.bench import Bench


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The labelling page is opened and closed at once, and no backbone is exported to measure it."""

    def serve(bench: Bench, port: int, opened: Callable[[str], None]) -> None:
        opened("http://127.0.0.1/")

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(backbones, "_speed", lambda name: (224, 1.0))


FOUND: Counter[str] = Counter()
TOUCHED = ("files of the user were touched", "something was written")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and "test_table.py::test_input[" in report.nodeid:
        FOUND["inputs"] += 1
        if report.failed:
            text = str(report.longrepr)
            wrong = "AssertionError" in text
            kind = "touched" if any(part in text for part in TOUCHED) else "silent" if wrong else "tracebacks"
            FOUND[kind] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FOUND["inputs"]:
        told = ", ".join(f"{FOUND[kind]} {kind}" for kind in ("inputs", "tracebacks", "silent"))
        terminalreporter.write_line(f"{told}, {FOUND['touched']} files touched")
