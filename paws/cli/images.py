"""The verbs of your own images: fit, predict."""

from __future__ import annotations

import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paws.cli.options import FitVerb, flag, takes_options
from paws.cli.tables import SHOWN
from paws.config.imports import heavy_imports
from paws.data.texts import counted
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.fit.run import FitRun

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, mps")]
Workers = Annotated[int | None, typer.Option(min=0, help="processes that decode images; as the machine has cores if absent")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(cls=FitVerb)(fit)
    app.command()(predict)


def _list(asked: bool) -> None:
    if asked:
        from paws.cli.backbones import list_backbones

        list_backbones()
        raise typer.Exit()


@takes_options
def fit(
    images: Annotated[Path, typer.Argument(help="folder of images, nested folders too")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the run; the same one again goes on")],
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="CSV or .jsonl with file and label, may be repeated; without it sub-folders are the classes"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="forget the finished steps of the run")] = False,
    workers: Workers = None,
    device: Device = "auto",
    finetune: Annotated[bool, typer.Option("--finetune", hidden=True)] = False,
    list_backbones: Annotated[
        bool,
        typer.Option("--list-backbones", is_eager=True, callback=_list, help="show what is usable now and how fast"),
    ] = False,
    **options: Any,
) -> None:
    """Predict a folder of images from a few labels: embed, train, compare, choose, predict, save."""
    from paws.config.options import fit_options

    chosen = fit_options(options | ({"finetune": True} if finetune else {}), shown=flag)  # before torch is loaded

    with heavy_imports():
        from paws.fit.pipeline import fit_folder
        from paws.runs.signals import Interrupted

    try:
        found = fit_folder(
            images, labels or None, output, chosen, device=device_of(device), workers=workers, overwrite=overwrite
        )
    except (KeyboardInterrupt, Interrupted) as stop:
        print("stopped; what is done is kept, and the same command goes on from there", file=sys.stderr)
        raise typer.Exit(128 + getattr(stop, "signal_number", signal.SIGINT)) from None
    _print_fit(found)


def predict(
    bundle: Annotated[Path, typer.Argument(help="the bundle of a fit, e.g. runs/flowers/bundle")],
    images: Annotated[list[Path], typer.Argument(help="folders, image files, or .txt files with a path on every line")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="the table to write, CSV")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON lines instead")] = False,
    workers: Workers = None,
    device: Device = "auto",
) -> None:
    """Predict images with a bundle; an image that cannot be read is a row with an error. Runs under torchrun too."""
    with heavy_imports():
        from paws import distributed
        from paws.bundle.bundle import load_bundle
        from paws.bundle.predict import list_images, predict_table, predictions
        from paws.config.threads import default_workers
        from paws.fit.progress import StepProgress
        from paws.runs.console import console
        from paws.runs.files import check_no_input

    if as_json == (output is not None):
        raise InputError("give either a table to write, -o predictions.csv, or --json")
    if output is not None:
        check_no_input(output, [bundle, *images])
    paths, names, passed_over = list_images(images)
    for line in passed_over:
        print(line, file=sys.stderr)
    workers = default_workers() if workers is None else workers
    with distributed.init(device_of(device).split(":")[0]) as place:
        if as_json and distributed.world_size() > 1:
            raise InputError("--json prints from one process; with several ranks write a table with -o")
        loaded = load_bundle(bundle, device=str(place) if distributed.world_size() > 1 else device_of(device))
        if output is None:
            printed = sys.stdout
            with redirect_stdout(sys.stderr):  # nothing else may stand between the lines
                for batch in predictions(loaded, paths, names, workers=workers):
                    print("\n".join(p.json() for p in batch), file=printed, flush=True)
            return
        progress = StepProgress(quiet=not distributed.is_main())
        with progress.step("predict", len(paths) // distributed.world_size()) as advance:
            broken = predict_table(loaded, paths, names, output, workers=workers, advance=advance)
        if distributed.is_main():
            console.print(
                f"{output}: {counted(len(paths), 'row')}" + (f", {broken} of them could not be read" if broken else "")
            )


def device_of(name: str) -> str:
    """The device that ``--device`` asks for."""
    from paws.runs.device import device_type

    return device_type(name, "--device ")


def _print_fit(found: FitRun) -> None:
    from rich.table import Table

    from paws.fit.run import titles
    from paws.fit.sentences import describe, frequencies_sentence, notes, verdict
    from paws.runs.console import console

    record, title = found.record, titles()
    tested = record.score.test.value is not None
    table = Table()
    for column in ("method", "accuracy", "95 % interval", *(["test"] if tested else [])):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in record.scores:
        cells = [_percent(row.accuracy.value), " to ".join(map(_percent, row.accuracy.interval or ())) or "–"]
        cells += [_percent(row.test.value)] if tested else []
        table.add_row(title[row.method], *cells, style="bold" if row.method == record.chosen else None)
    if any(figure.value is not None for row in record.scores for figure in (row.accuracy, row.test)):
        console.print(f"accuracy on {describe(record.score.accuracy)}, %", markup=False)
        console.print(table)
    lines = [f"test: {describe(record.score.test)}"] if tested else []
    lines += [f"in use: {title[record.chosen]}: {verdict(record, title)}", frequencies_sentence(record), *notes(record)]
    lines += [f"predictions: {found.folder / 'predictions.csv'}", f"bundle:      {found.folder / 'bundle'}"]
    first, *others = _next_steps(found)
    lines += [f"next:        {first}", *(f"             {step}" for step in others)]
    console.print("\n".join(lines), markup=False)


def _next_steps(found: FitRun) -> list[str]:
    """What to do with a result like this one."""
    from paws.labels.issues import suspicious

    run, predictions = found.folder, found.predictions
    steps = [f"paws report {run}"]
    left = min(SHOWN, len(found.unlabelled))
    if left and sum(row["abstain"] == "yes" for row in predictions) > len(predictions) / 2:
        steps.append(f"paws suggest {run} -n {left} -o next.csv    (it abstains from most: the images that a label helps most)")
    doubtful = sum(doubt.stands_out for doubt in suspicious(found))
    if doubtful:
        steps.append(f"paws labels {run} --suspicious    ({counted(doubtful, 'label')} to look at again)")
    return [*steps, f"paws predict {run / 'bundle'} NEW_IMAGES -o new.csv", f"paws explain {run} IMAGE"]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
