"""Verbs that work on the labels of a folder: labels, suggest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paws.cli.images import Device, device_of
from paws.cli.insight import Images, Source, open_source
from paws.cli.options import flag
from paws.cli.tables import SHOWN, print_changes, print_labels, print_table, say
from paws.config.imports import heavy_imports
from paws.data.texts import counted
from paws.errors import InputError
from paws.runs.files import check_new

if TYPE_CHECKING:
    from paws.bundle.bundle import Bundle
    from paws.fit.run import FitRun
    from paws.labels.suggest import Suggestion


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(labels)
    app.command()(suggest)


def labels(
    source: Source,
    csv: Annotated[Path | None, typer.Option(help="CSV or .jsonl with file and label; - or nothing takes a label away")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="an image whose label goes; may be repeated")] = None,
    dry_run: Annotated[bool, typer.Option(help="show what would change, write nothing")] = False,
    suspicious: Annotated[bool, typer.Option(help="list the labels that the other labelled images contradict")] = False,
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="so many of them; those that stand out from the usual error if absent")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="write a new bundle there; with --suspicious a CSV to correct")
    ] = None,
    images: Images = None,
) -> None:
    """Correct, add and remove labels without training again, or list the doubtful ones."""
    if suspicious == (csv is not None or bool(remove)):
        raise InputError("give either new labels, by --csv FILE or --remove IMAGE, or --suspicious")
    for given in (source, csv):
        if given is not None and not given.exists():  # before torch is loaded
            raise InputError(f"{given}: cannot be read (no such file or folder)")
    if output is not None:
        check_new(output)
    bundle, run = open_source(source)
    if suspicious:
        _suspicious(run or bundle, source, n, output)
        return
    if run is None and output is None and not dry_run:
        raise InputError(f"{source} is a bundle without its fit: give -o NEWBUNDLE, the one that is there stays as it is")
    if run is None:
        changed = _relabel_bundle(bundle, csv, remove or [], images, None if dry_run else output)
    else:
        changed = _relabel_run(run, csv, remove or [], None if dry_run else output or run.folder)
    if dry_run or not changed:
        say("nothing was written")


def suggest(
    source: Annotated[Path, typer.Argument(help="the folder of a fit, or of images without any label yet")],
    n: Annotated[int | None, typer.Option("-n", min=1, help="images to label; 20, or as many as there are, if absent")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a CSV to fill in")] = None,
    backbone: Annotated[str | None, typer.Option(help="a timm model; as paws fit chooses if absent")] = None,
    weights: Annotated[Path | None, typer.Option(help="file of its weights, where there is no network")] = None,
    image_size: Annotated[int | None, typer.Option(help="pixels; as paws fit chooses if absent")] = None,
    device: Device = "auto",
) -> None:
    """Choose the images to label next: typical and diverse ones, and those that a fit is unsure of."""
    with heavy_imports():
        from paws.fit.record import is_fit
        from paws.labels import suggest as module
        from paws.runs.files import check_target

    if output is not None:
        check_target(output, new=True)  # before the work
    if is_fit(source):
        if backbone or weights or image_size:
            raise InputError(f"{source} is a fit with embedded images: leave out --backbone, --weights and --image-size")
        from paws.fit.run import load_fit

        run = load_fit(source)
        if not run.unlabelled:
            raise InputError(f"{source}: every image has a label already")
        n = n or min(SHOWN, len(run.unlabelled))
        picks = module.suggest(run, n)
    else:
        picks = _first(source, n, backbone, weights, image_size, device)
    print_table(f"{counted(len(picks), 'image')} to label next", ("image", "why"), [(pick.file, pick.reason) for pick in picks])
    if output is not None:
        module.write_suggestions(output, picks)
        say(f"to fill in: the column label of {output}")


def _first(
    source: Path, n: int | None, backbone: str | None, weights: Path | None, size: int | None, device: str
) -> list[Suggestion]:
    """The images of a folder to label first."""
    from paws.config.options import fit_options
    from paws.config.threads import default_workers
    from paws.data.check import check_images
    from paws.fit.folder import decoded
    from paws.fit.presets import backbone_of, plan
    from paws.fit.progress import StepProgress
    from paws.labels.suggest import suggest_first
    from paws.models.embedding import Embedder

    options = fit_options({"backbone": backbone, "weights": weights, "image_size": size}, shown=flag)
    progress, workers = StepProgress(), default_workers()
    with progress.step("check") as advance:
        checked = check_images(source, known=[decoded(source)], workers=workers, advance=advance)
    names, paths = list(checked.files.names), list(checked.files.paths)
    if checked.unreadable:
        shown = ", ".join(list(checked.unreadable)[:SHOWN])
        progress.log("check", f"{len(checked.unreadable)} images cannot be read and are left out: {shown}")
    n = n or min(SHOWN, len(names))
    if len(names) < n:
        raise InputError(f"{source} holds {len(names)} images; {n} to label were asked for")
    planned = plan(options, paths, device=device_of(device)).options  # as the first fit will have it
    frozen = backbone_of(planned).with_values(checked.values)
    with progress.step("embed", len(names)) as advance:
        features = Embedder(frozen, device_of(device)).features(paths, workers=workers, advance=advance)
    return suggest_first(names, features[:, 0], n)


def _suspicious(source: FitRun | Bundle, given: Path, n: int | None, output: Path | None) -> None:
    from paws.bundle.table import write_new_table
    from paws.labels.issues import suspicious

    every = suspicious(source)
    if not every:
        say("no label can be doubted: every class has a single one, and no other label tells of it")
        return
    clear = [doubt for doubt in every if doubt.stands_out]
    doubts = every[:n] if n else clear[:SHOWN]
    more = sum(doubt.label != doubt.predicted for doubt in every)
    hint = "" if n else f"; -n {SHOWN} lists the {SHOWN} most doubtful"
    say(f"{more} of {len(every)} labelled images are more like another class, {len(clear)} of them clearly{hint}")
    if not doubts:
        if output is not None:
            say("nothing was written")
        return
    rows = [(d.file, d.label, f"{d.probability:.0%}", d.predicted, ", ".join(d.neighbours)) for d in doubts]
    columns = ("image", "label", "probability of it", "more like", "images most like it")
    print_table(f"the {counted(len(doubts), 'most doubtful label')}", columns, rows)
    if output is not None:
        table = [
            {"file": d.file, "label": d.label, "predicted": d.predicted, "probability": f"{d.probability:.4f}"} for d in doubts
        ]
        write_new_table(output, table, ("file", "label", "predicted", "probability"))
        say(f"to correct: the column label of {output}, then paws labels {given} --csv {output}")


def _relabel_bundle(bundle: Bundle, csv: Path | None, remove: list[str], images: Path | None, output: Path | None) -> int:
    from paws.data.formats import find_images
    from paws.labels import relabel

    root = images or Path()
    names = list(dict.fromkeys([*bundle.support_files, *(find_images(images) if images else [])]))
    changes = relabel.read_changes(
        csv, remove, root, names, f"of the bundle{f' or of {images}' if images else '; give --images'}"
    )
    done = relabel.relabel_bundle(bundle, changes, root)
    print_labels(done)
    if output is not None and done.changed:
        relabel.save(output, bundle, done)
        say(f"bundle: {output}")
    return done.changed


def _relabel_run(run: FitRun, csv: Path | None, remove: list[str], output: Path | None) -> int:
    from paws.fit.sentences import accuracy_sentence, notes
    from paws.labels import relabel

    done, after = relabel.relabel_run(
        run, relabel.read_changes(csv, remove, run.root, run.files, "of the fit; paws fit again takes it in")
    )
    print_labels(done)
    if not done.changed:
        return 0
    print_changes(relabel.differences(run.predictions, after), len(after))
    if output == run.folder:
        record = relabel.rewrite_run(run, done, after)
        say(f"predictions: {run.folder / 'predictions.csv'}\nbundle:      {run.folder / 'bundle'} (before: bundle.previous)")
        say(f"labels:      {run.folder / 'labels.csv'}, to fit with them again")
        for line in (accuracy_sentence(record), *notes(record)):
            say(line)
        if (run.folder / "report.html").is_file():
            say(f"report.html shows the former labels; with these: paws report {run.folder}")
    elif output is not None:
        relabel.save(output, run.bundle, done)
        say(f"bundle: {output}")
    return done.changed
