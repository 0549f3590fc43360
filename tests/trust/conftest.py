"""The summary of the table: how many inputs, and in which way any of them ended wrongly."""

from __future__ import annotations

from collections import Counter

import pytest

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
