"""The verb of the labelling page: label."""

from __future__ import annotations

import os
import secrets
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paws.cli.images import Device, device_of
from paws.cli.options import flag
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.config.options import FitOptions
    from paws.label_page.bench import Bench


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(label)


def label(
    images: Annotated[Path, typer.Argument(help="folder of images, nested folders too")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of the run; runs/NAME if absent; the same one goes on")
    ] = None,
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            help="labels to begin with: CSV, .jsonl, Label Studio's .json, or a folder with a sub-folder per class; repeatable"
        ),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="classes to begin with, separated by commas")] = None,
    preset: Annotated[str | None, typer.Option(help="fast, balanced or best, as of paws fit")] = None,
    backbone: Annotated[str | None, typer.Option(help="network that embeds the images; the preset's if absent")] = None,
    weights: Annotated[Path | None, typer.Option(help="file of its weights, where there is no network")] = None,
    image_size: Annotated[int | None, typer.Option(min=16, help="pixels; the network's own, at most 224, if absent")] = None,
    views: Annotated[
        int | None, typer.Option(min=0, help="random views embedded beside the plain one: slower, a better fit; 0 if absent")
    ] = None,
    accuracy: Annotated[float | None, typer.Option(help="share of right labels that is sure enough; 0.95 if absent")] = None,
    browser: Annotated[bool, typer.Option(help="open a browser")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the page; any free one if 0")] = 0,
    device: Device = "auto",
) -> None:
    """Label a folder of images in a page on this machine, with a learner in the loop, and make a classifier of it."""
    network = {"preset": preset, "backbone": backbone, "weights": weights, "image_size": image_size, "views": views}
    given = {**network, "accuracy": accuracy}
    run = output or Path("runs") / (images.absolute().name or "images")
    options = _options(run, {name: value for name, value in given.items() if value is not None})

    from paws.data.labelled_folder import list_folder
    from paws.fit.folder import check_target
    from paws.fit.presets import backbone_of, plan
    from paws.label_page.bench import FOLDER, Bench
    from paws.label_page.formats import read_all
    from paws.label_page.server import serve
    from paws.label_page.session import class_name
    from paws.label_page.worker import Place
    from paws.runs.console import console
    from paws.runs.folder import MARKER, claim
    from paws.runs.lock import run_lock
    from paws.runs.temporary import remove

    names, place = tuple(list_folder(images).images), device_of(device)  # all that can be wrong, before anything is written
    first = read_all(labels or [], images, names)
    named = [class_name(name) for name in (classes or "").split(",") if name.strip()]
    if backbone is not None or weights is not None:
        backbone_of(plan(options, [], device=place).options)
    check_target(images, run, labels or [], overwrite=False)
    made = [path for path in (run, run / FOLDER, run / MARKER) if not path.exists()]
    with run_lock(run / FOLDER):
        try:
            claim(run, "fit")
            bench = Bench(Place(images.absolute(), run.absolute(), names, options, place))
            _begin(bench, first, named)
            bench.labels.taken = any(
                path.is_file() and bench.labels.path.is_file() and path.samefile(bench.labels.path) for path in labels or []
            )
            bench.labels.write()
        except InputError:
            for path in made:
                remove(path)
            raise

        def opened(address: str) -> None:
            done = bench.session.labelled_count
            console.print(f"{len(names)} images, {done} labelled; what you do is kept in {run}, the same command goes on")
            console.print(f"{address}\nCtrl-C ends it", markup=False, soft_wrap=True)
            if browser:
                threading.Thread(target=_open, args=(address, bench.folder), daemon=True).start()

        with suppress(KeyboardInterrupt):
            serve(bench, port, opened)
    console.print(f"labels: {run / 'labels.csv'}" if bench.session.labelled_count else "nothing was labelled", markup=False)


def _options(run: Path, given: dict[str, object]) -> FitOptions:
    """Those of the fit in ``run``, where there is one, else the defaults without random views; ``given`` ones first."""
    from paws.config.options import OPTIONS, fit_options
    from paws.fit.run import read_former

    former = read_former(run)
    known = {} if former is None else {name: value for name, value in former.settings.items() if name in OPTIONS}
    return fit_options({"views": 0, **known, "test": None, "train": None, "epochs": None, **given}, shown=flag)


def _begin(bench: Bench, found: dict[str, str], classes: Sequence[str]) -> None:
    """Take over labels and classes that were given, or those of the fit in the folder, where nothing was labelled yet."""
    from paws.fit.run import load_fit, read_former

    session, place = bench.session, bench.place
    if not found and not session.revision and read_former(place.run) is not None:
        fitted = load_fit(place.run)
        named = zip(fitted.files, fitted.labels.tolist(), strict=True)
        found = {file: fitted.record.classes[y] for file, y in named if y >= 0 and file in session.row_of}
    for name in classes:
        bench.add_class(name, secrets.token_hex(8))
    if found:
        bench.take(found, secrets.token_hex(8))


def _open(address: str, folder: Path) -> None:
    """Open the browser by a file that only its owner can read: on a command line others would see the token."""
    path = folder / "open.html"
    try:
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}"><title>PAWS</title>')
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    webbrowser.open(path.absolute().as_uri())
