"""Verbs that read a fit: explain, sort, export."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paws.cli.tables import print_explanation, print_table, say
from paws.config.imports import heavy_imports
from paws.errors import InputError

if TYPE_CHECKING:
    from paws.bundle.bundle import Bundle
    from paws.fit.run import FitRun

Source = Annotated[Path, typer.Argument(help="the folder of a fit, or a bundle")]
Images = Annotated[Path | None, typer.Option(help="folder of the labelled images of a bundle; a fit knows its own")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(explain)
    app.command()(sort)
    app.command()(export)


def explain(
    source: Source,
    image: Annotated[Path, typer.Argument(help="the image to explain; of a fit also by its name in predictions.csv")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the images side by side, e.g. why.png")] = None,
    images: Images = None,
    nearest: Annotated[int, typer.Option("-k", min=1, help="labelled images to show")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show which labelled images decided on an image, and with what weight: of a fit's own image as predictions.csv has it."""
    from dataclasses import asdict

    with heavy_imports():
        from paws.labels import explain as module
        from paws.runs.files import check_no_input

    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        bundle, run = open_source(source)
        image, row = (image, None) if run is None else _image_of(run, image)
        if images is not None and not images.is_dir():
            raise InputError(f"--images {images}: is not a folder of images")
        if output is not None:
            check_no_input(output, [image, source])
        features = bundle.features([image]) if run is None or row is None else run.views([row])
        found = module.explain(bundle.classifier, bundle.support_files, features[0], nearest)
    if output is not None:
        module.save_grid(output, found, image, images or (run.root if run else None))
    if as_json:
        print(json.dumps({"file": str(image), **asdict(found)}))
        return
    print_explanation(found, image)
    if output is not None:
        say(f"images: {output}")


def export(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="the file to write: .onnx, .pt2 or .safetensors")],
    form: Annotated[str | None, typer.Option("--format", help="onnx, torch or safetensors; else told by the ending")] = None,
) -> None:
    """Write a bundle as one file for other programs."""
    with heavy_imports():
        from paws.bundle import export as module
        from paws.runs.files import check_target

    found = module.format_of(output, form)
    check_target(output, new=True)  # before the work
    module.export(open_source(source)[0], output)
    say(f"{output}: {found}, {output.stat().st_size / 1e6:.1f} MB")


def sort(
    run: Annotated[Path, typer.Argument(help="the folder of a fit")],
    into: Annotated[Path, typer.Option("--into", help="the folder to make, with one for each class")],
    link: Annotated[bool, typer.Option("--link", help="symbolic links instead of copies")] = False,
) -> None:
    """Copy the images of a fit into a folder for each class; _unsure holds what the classifier abstains from."""
    with heavy_imports():
        from paws.fit.run import load_fit
        from paws.fit.sorting import sort_images

    counts = sort_images(load_fit(run), into, link=link)
    print_table(str(into), ("folder", "images"), [(name, str(count)) for name, count in sorted(counts.items())])


def open_source(source: Path) -> tuple[Bundle, FitRun | None]:
    """The bundle, and the fit that it belongs to, where it lies in one."""
    with heavy_imports():
        from paws.bundle.bundle import load_bundle
        from paws.fit.record import BUNDLE, is_fit
        from paws.fit.run import load_fit

    folder = source.absolute().parent if source.absolute().name == BUNDLE else source
    if is_fit(folder):
        run = load_fit(folder)
        return run.bundle, run
    return load_bundle(source), None


def _image_of(run: FitRun, image: Path) -> tuple[Path, int | None]:
    """The file of an image, which may be given by its name in the predictions, and its row in the fit; None: it has none."""
    from paws.data.labelled_folder import near_name

    path = image if os.path.exists(image) else run.root / image
    name = Path(os.path.relpath(path, run.root)).as_posix()
    if name in run.files:  # its features are kept, even where the file is gone
        row = run.files.index(name)
        if not run.changed_since([row]):
            return path, row
        say(f"{image} is another picture than the one that was fitted: it is looked at anew")
        return path, None
    if not os.path.exists(image) and not os.path.isfile(path):
        near = near_name(str(image), run.files)
        raise InputError(f"{image}: there is no such file, nor an image of this name in the fit{near}")
    return path, None
