"""The verbs of your own images: fit, predict."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from paws.cli.options import flag, takes_options
from paws.config.options import fit_options
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.fit.record import FitRun

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, mps")]
Workers = Annotated[int | None, typer.Option(min=0, help="processes that decode images; as the machine has cores if absent")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(fit)
    app.command()(predict)


@takes_options
def fit(
    images: Annotated[Path, typer.Argument(help="folder of images, nested folders too")],
    output: Annotated[Path, typer.Option("--output", "-o", help="folder of the run; the same one again goes on")],
    labels: Annotated[
        Path | None, typer.Option(help="CSV or .jsonl with file and label; without it sub-folders are the classes")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="forget the finished steps of the run")] = False,
    workers: Workers = None,
    device: Device = "auto",
    **options: Any,
) -> None:
    """Predict a folder of images from a few labels: embed, train, compare, choose, predict, save."""
    chosen = fit_options(options, shown=flag)  # before torch is loaded

    from paws.fit.pipeline import fit_folder
    from paws.train.signals import Interrupted

    try:
        found = fit_folder(images, labels, output, chosen, device=device_of(device), workers=workers, overwrite=overwrite)
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
    from paws import distributed
    from paws.bundle.bundle import load_bundle
    from paws.bundle.predict import list_images, predict_table, predictions
    from paws.data.images import default_workers
    from paws.fit.steps import Steps
    from paws.runs.console import console

    if as_json == (output is not None):
        raise InputError("give either a table to write, -o predictions.csv, or --json")
    paths, names = list_images(images)
    workers = default_workers() if workers is None else workers
    with distributed.init(device_of(device).split(":")[0]) as place:
        if as_json and distributed.world_size() > 1:
            raise InputError("--json prints from one process; with several ranks write a table with -o")
        loaded = load_bundle(bundle, device=str(place) if distributed.world_size() > 1 else device_of(device))
        if output is None:
            for batch in predictions(loaded, paths, names, workers=workers):
                print("\n".join(p.json() for p in batch), flush=True)
            return
        steps = Steps(quiet=not distributed.is_main())
        with steps.step("predict", len(paths) // distributed.world_size()) as advance:
            broken = predict_table(loaded, paths, names, output, workers=workers, advance=advance)
        if distributed.is_main():
            console.print(f"{output}: {len(paths)} rows" + (f", {broken} of them could not be read" if broken else ""))


def device_of(name: str) -> str:
    """The device that ``--device`` asks for."""
    from paws.train import device_type

    try:
        return device_type(name)
    except InputError as error:
        raise InputError(str(error).replace("machine.device=", "--device ")) from None


def _print_fit(found: FitRun) -> None:
    from rich.table import Table

    from paws.classifiers import predictor
    from paws.runs.console import console

    record = found.record
    tested = any(row["test"] is not None for row in record["scores"])
    tuned = record["head"].get("finetuned", False)
    kind = "leave-one-out accuracy on labels that training has seen" if tuned else "held-out accuracy"
    table = Table(title=f"{kind}, {record['label_count']} labelled images, %")
    for column in ("method", "accuracy", "95 % interval", *(["test"] if tested else [])):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in record["scores"]:
        known = row["accuracy"] is not None
        cells = [f"{100 * row['accuracy']:.1f}" if known else "–"]
        cells += [f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" if known else "–"]
        cells += [f"{100 * row['test']:.1f}"] if tested else []
        table.add_row(predictor(row["method"]).title, *cells, style="bold" if row["method"] == record["chosen"] else None)
    console.print(table)
    console.print(f"in use: {predictor(record['chosen']).title}: {record['reason']}", markup=False)
    console.print(f"predictions: {found.folder / 'predictions.csv'}", markup=False)
    console.print(f"bundle:      {found.folder / 'bundle'}", markup=False)
    console.print(f"next:        paws report {found.folder}", markup=False)
    console.print(f"             paws predict {found.folder / 'bundle'} NEW_IMAGES -o new.csv", markup=False)
