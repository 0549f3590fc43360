"""The report: one HTML file that shows what a run did."""

from __future__ import annotations

from pathlib import Path

from paws.errors import InputError
from paws.log import write_text


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the page of a run of ``paws train`` to ``output``, or to report.html in its folder.

    Raises:
        InputError: the folder holds no run, or it cannot be written to.
    """
    from paws.report.page import render
    from paws.report.training_run import training_contents

    page = render(training_contents(run))
    path = run / "report.html" if output is None else output
    try:
        write_text(path, page)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path
