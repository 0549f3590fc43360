"""Verbs that look into a fit and work on it: explain, labels, suggest, export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paws.errors import InputError

if TYPE_CHECKING:
    from paws.bundle import Bundle
    from paws.explain import Explanation
    from paws.fit.record import FitRun
    from paws.fit.relabel import Change, Relabelled

SHOWN = 20  # rows of a table on the screen

Source = Annotated[Path, typer.Argument(help="the folder of a fit, or a bundle")]
Images = Annotated[Path | None, typer.Option(help="folder of the labelled images of a bundle; a fit knows its own")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(explain)
    app.command()(labels)
    app.command()(suggest)
    app.command()(export)


def explain(
    source: Source,
    image: Annotated[Path, typer.Argument(help="the image to explain")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write the images side by side, e.g. why.png")] = None,
    images: Images = None,
    nearest: Annotated[int, typer.Option("-k", min=1, help="labelled images to show")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show which labelled images decided on an image, and with what weight."""
    from dataclasses import asdict

    from paws import explain as module

    bundle, run = _open(source)
    found = module.explain(bundle.classifier, bundle.support_files, bundle.features([image])[0], nearest)
    if output is not None:
        module.save_grid(output, found, image, images or (run.root if run else None))
    if as_json:
        print(json.dumps({"file": str(image), **asdict(found)}, ensure_ascii=False))
        return
    _print_explanation(found, image)
    if output is not None:
        _say(f"images: {output}")


def labels(
    source: Source,
    csv: Annotated[Path | None, typer.Option(help="CSV or .jsonl with file and label; - or nothing takes a label away")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="an image whose label goes; may be repeated")] = None,
    dry_run: Annotated[bool, typer.Option(help="show what would change, write nothing")] = False,
    suspicious: Annotated[bool, typer.Option(help="list the labels that the other labelled images contradict")] = False,
    n: Annotated[int, typer.Option("-n", min=1, help="how many of them")] = SHOWN,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write a new bundle there; with --suspicious a CSV to correct")
    ] = None,
    images: Images = None,
) -> None:
    """Correct, add and remove labels without training again, or list the doubtful ones."""
    if suspicious == (csv is not None or bool(remove)):
        raise InputError("give either new labels, by --csv FILE or --remove IMAGE, or --suspicious")
    _refuse(output)
    bundle, run = _open(source)
    if suspicious:
        _suspicious(run or bundle, n, output)
        return
    if run is None and output is None and not dry_run:
        raise InputError(f"{source} is a bundle without its fit: give -o NEWBUNDLE, the one that is there stays as it is")
    if run is None:
        changed = _relabel_bundle(bundle, csv, remove or [], images, None if dry_run else output)
    else:
        changed = _relabel_run(run, csv, remove or [], None if dry_run else output or run.folder)
    if dry_run or not changed:
        _say("nothing was written")


def suggest(
    source: Annotated[Path, typer.Argument(help="the folder of a fit, or of images without any label yet")],
    n: Annotated[int, typer.Option("-n", min=1, help="images to label")] = SHOWN,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a CSV to fill in")] = None,
    backbone: Annotated[str | None, typer.Option(help="for a folder of images: a timm model; a small DINOv2 if absent")] = None,
    weights: Annotated[Path | None, typer.Option(help="file of its weights, where there is no network")] = None,
    image_size: Annotated[int | None, typer.Option(help="pixels; the model's own, at most 224, if absent")] = None,
) -> None:
    """Choose the images to label next: typical and diverse ones, and those that a fit is unsure of."""
    from paws.fit import suggest as module

    _refuse(output)
    if (source / "fit.json").is_file():
        if backbone or weights or image_size:
            raise InputError(f"{source} is a fit with embedded images: leave out --backbone, --weights and --image-size")
        from paws.fit.record import load_fit

        picks = module.suggest(load_fit(source), n)
    else:
        from paws.data.images import find_images
        from paws.models.frozen import DEFAULT, frozen_backbone

        names = find_images(source)
        if len(names) < n:
            raise InputError(f"{source} holds {len(names)} images; {n} to label were asked for")
        frozen = frozen_backbone(backbone or DEFAULT, weights, image_size)
        picks = module.suggest_first(names, module.embed_folder(source, names, frozen), n)
    _table(f"{n} images to label next", ("image", "why"), [(pick.file, pick.reason) for pick in picks])
    if output is not None:
        module.write_suggestions(output, picks)
        _say(f"to fill in: the column label of {output}")


def export(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="the file to write: .onnx, .pt2 or .safetensors")],
    form: Annotated[str | None, typer.Option("--format", help="onnx, torch or safetensors; else told by the ending")] = None,
) -> None:
    """Write a bundle as one file for other programs."""
    from paws import export as module

    found = module.format_of(output, form)
    _refuse(output)
    module.export(_open(source)[0], output)
    _say(f"{output}: {found}, {output.stat().st_size / 1e6:.1f} MB")


def _open(source: Path) -> tuple[Bundle, FitRun | None]:
    """The bundle, and the fit that it belongs to, where it lies in one."""
    from paws.bundle import load_bundle
    from paws.fit.record import BUNDLE, RECORD, load_fit

    folder = source.absolute().parent if source.absolute().name == BUNDLE else source
    if (folder / RECORD).is_file():
        run = load_fit(folder)
        return run.bundle, run
    return load_bundle(source), None


def _refuse(output: Path | None) -> None:
    if output is not None and output.exists():
        raise InputError(f"{output}: exists already; remove it or choose another name")


def _suspicious(source: FitRun | Bundle, n: int, output: Path | None) -> None:
    from paws.fit.suspicious import suspicious
    from paws.table import write_new_table

    doubts = suspicious(source)[:n]
    rows = [(d.file, d.label, d.predicted, f"{d.probability:.0%}", ", ".join(d.neighbours)) for d in doubts]
    columns = ("image", "label", "more like", "probability", "images most like it")
    _table(f"the {len(doubts)} most doubtful labels", columns, rows)
    _say(f"{sum(d.label != d.predicted for d in doubts)} of them are more like another class")
    if output is not None:
        table = [
            {"file": d.file, "label": d.label, "predicted": d.predicted, "probability": f"{d.probability:.4f}"} for d in doubts
        ]
        write_new_table(output, table, ("file", "label", "predicted", "probability"))
        _say(f"to correct: the column label of {output}, then paws labels … --csv {output}")


def _relabel_bundle(bundle: Bundle, csv: Path | None, remove: list[str], images: Path | None, output: Path | None) -> int:
    from paws.data.images import find_images
    from paws.fit import relabel

    root = images or Path()
    names = list(dict.fromkeys([*bundle.support_files, *(find_images(images) if images else [])]))
    done = relabel.relabel_bundle(bundle, relabel.read_changes(csv, remove, root, names), root)
    _print_done(done)
    if output is not None and done.changed:
        relabel.save(output, bundle, done)
        _say(f"bundle: {output}")
    return done.changed


def _relabel_run(run: FitRun, csv: Path | None, remove: list[str], output: Path | None) -> int:
    from paws.fit import relabel

    done, after = relabel.relabel_run(run, relabel.read_changes(csv, remove, run.root, run.files))
    _print_done(done)
    if not done.changed:
        return 0
    _print_changes(relabel.differences(run.predictions, after), len(after))
    if output == run.folder:
        relabel.rewrite_run(run, done, after)
        _say(f"predictions: {run.folder / 'predictions.csv'}\nbundle:      {run.folder / 'bundle'} (before: bundle.previous)")
        _say(f"labels:      {run.folder / 'labels.csv'}, to fit with them again")
    elif output is not None:
        relabel.save(output, run.bundle, done)
        _say(f"bundle: {output}")
    return done.changed


def _print_done(done: Relabelled) -> None:
    counts = f"{len(done.corrected)} corrected, {len(done.added)} added, {len(done.removed)} removed"
    classes = [f"new: {name}" for name in done.new_classes] + [f"gone: {name}" for name in done.lost_classes]
    _say(f"labels: {counts}" + (f"; classes {', '.join(classes)}" if classes else "") + f"; {len(done.files)} in all")


def _print_changes(changes: Sequence[Change], images: int) -> None:
    rows = [(c.file, f"{c.before} {c.before_probability:.0%}", f"{c.after} {c.after_probability:.0%}") for c in changes[:SHOWN]]
    more = f", the first {SHOWN}" if len(changes) > SHOWN else ""
    if rows:
        _table(f"{len(changes)} of {images} images are predicted otherwise{more}", ("image", "before", "now"), rows)
    else:
        _say(f"all {images} images are predicted as before")


def _print_explanation(found: Explanation, image: Path) -> None:
    said = f"{found.label}, probability {found.probability:.0%}" + (", too low to decide" if found.abstain else "")
    _say(f"{image}: {said}; unfamiliar {found.unfamiliar:.2f}")
    rows = [(name, f"{found.vote[name]:.1%}", f"{p:.1%}") for name, p in list(found.probabilities.items())[:SHOWN]]
    _table(f"the vote ({found.method})", ("class", "share of the vote", "probability"), rows)
    title = (
        "the labelled images that voted"
        if found.votes_decide
        else f"the nearest labelled images ({found.method} decides otherwise)"
    )
    _table(title, ("image", "label", "weight"), [(n.file, n.label, f"{n.weight:.1%}") for n in found.neighbours])


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from paws.log import console

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _say(text: str) -> None:
    from paws.log import console

    console.print(text, markup=False)
