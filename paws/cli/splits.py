"""The verb of label splits: split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paws.errors import InputError
from paws.runs.files import check_new


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(split)


def split(
    file: Annotated[Path, typer.Argument(help="the split file to write; never overwritten")],
    dataset: Annotated[str | None, typer.Option(help="digits, fashion_mnist, cifar10, cifar100, or folder")] = None,
    root: Annotated[Path | None, typer.Option(help="folder of the dataset; not needed for bundled ones")] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="labelled images of each class")] = None,
    fraction: Annotated[float | None, typer.Option(help="labelled share of each class, in (0, 1]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draw")] = 0,
    validation: Annotated[
        int | None, typer.Option(min=1, help="also write FILE-val: so many other images of each class, for data.validation")
    ] = None,
    url: Annotated[str | None, typer.Option(help="download instead: an address, or a public split such as cifar10-152")] = None,
    sha256: Annotated[str | None, typer.Option(help="the checksum that the download must have")] = None,
) -> None:
    """Write a split file: which training images are labelled, by index or by name, as data.labels.file reads it."""
    drawn = {"--dataset": dataset, "--root": root, "--per-class": per_class, "--fraction": fraction, "--validation": validation}
    if url is not None:
        if clash := [name for name, value in drawn.items() if value is not None]:
            raise InputError(f"{clash[0]} draws a split and --url downloads one; give one of them")
        _download(file, url, sha256)
        return
    if sha256 is not None:
        raise InputError("--sha256 is the checksum of a download; give its --url")
    if dataset is None:
        raise InputError("--dataset is missing: digits, fashion_mnist, cifar10, cifar100, or folder")
    if (per_class is None) == (fraction is None):
        raise InputError("give one of --per-class N and --fraction F")
    _draw(file, dataset, root, per_class, fraction, seed, validation)


def _download(file: Path, url: str, sha256: str | None) -> None:
    from paws.data.download import download_new
    from paws.data.splits import public_url

    found = download_new(public_url(url), file.expanduser(), sha256)
    print(f"{file}: SHA-256 {found}" + (", as expected" if sha256 else "; not compared with anything (--sha256)"))


def _draw(
    file: Path,
    dataset: str,
    root: Path | None,
    per_class: int | None,
    fraction: float | None,
    seed: int,
    validation: int | None,
) -> None:
    from paws.data.datasets import load_dataset
    from paws.data.splits import draw_validation, labelled, write_split

    file = file.expanduser()
    held_out_file = file.with_name(f"{file.stem}-val{file.suffix}") if file.name else file
    for path in [file, held_out_file] if validation else [file]:
        check_new(path)
    train = load_dataset(dataset, root, "train")
    chosen = labelled(train.labels, per_class=per_class, fraction=fraction, seed=seed, classes=train.classes)
    parts = {file: chosen}
    if validation:
        parts[held_out_file] = draw_validation(train.labels, chosen, validation, seed=seed, classes=train.classes)
    for path, rows in parts.items():
        write_split(path, rows, train.names)
        print(f"{path}: {len(rows)} of {len(train)} training images, {len(train.classes)} classes")
