"""The report: one HTML file that shows what a run did."""

from __future__ import annotations

from pathlib import Path

from paws.errors import InputError
from paws.runs.files import check_target, writing

MADE_BY = '<meta name="generator" content="paws report">'  # at the head of every page


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the page of a run of ``paws fit`` or ``paws train`` to ``output``, or to report.html in its folder.

    Raises:
        InputError: the folder holds no run, or it cannot be written to.
    """
    from paws.fit.record import is_fit
    from paws.report.page import render

    if is_fit(run):
        from paws.report.fit_run import fit_contents as contents_of
    elif (run / "config.yaml").is_file():
        from paws.report.training_run import training_contents as contents_of
    else:
        raise InputError(f"{run}: holds no run (neither fit.json nor config.yaml); give the folder of paws fit or paws train")
    path = run / "report.html" if output is None else output
    ours = b"" if output is None else MADE_BY.encode()
    check_target(path, ours=ours)  # before the work
    page = render(contents_of(run))
    with writing(path, text=True, ours=ours) as file:
        file.write(page)
    return path
