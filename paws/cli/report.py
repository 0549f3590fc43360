"""The verb of the page: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paws.config.imports import heavy_imports


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(report)


def report(
    run: Annotated[Path, typer.Argument(help="the folder of paws fit or paws train")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the page to write; report.html in the folder")] = None,
) -> None:
    """Write one HTML page that shows a run: results, mistakes, a map and a wall of its images."""
    with heavy_imports():
        from paws.report import write_report
        from paws.runs.console import console

    path = write_report(run, output)
    console.print(f"{path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser")
