"""Verbs of training: train, evaluate, convert, schema."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from paws.config.imports import heavy_imports
from paws.errors import InputError

Overrides = Annotated[list[str] | None, typer.Argument(help="dotted.key=value, e.g. optim.epochs=5")]

FEW = 5  # classes that are printed by name


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(convert)
    app.command()(schema)


def train(
    config: Annotated[Path, typer.Argument(help="a YAML card, e.g. configs/digits.yaml")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in run_dir")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the run in run_dir")] = False,
    resume_with_changes: Annotated[
        bool, typer.Option("--resume-with-changes", help="go on although keys of the config changed")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="also measure baselines on the same labels")] = False,
    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
) -> None:
    """Train a recipe: pre-training or fine-tuning, as the config says."""
    with heavy_imports():
        from paws import train as recipes
        from paws.distributed import place, relaunch
        from paws.runs.console import console
        from paws.runs.device import device_type
        from paws.runs.files import write_text
        from paws.runs.running_means import Diverged
        from paws.runs.signals import Interrupted
        from paws.suncet import load_card, without_gpu
        from paws.train.baselines import baselines, check_comparable
        from paws.train.evaluation import title

    main = place().rank == 0
    settings, notes = load_card(config, overrides or [], to_train=True)
    if devices > 1 and "RANK" not in os.environ:
        relaunch(devices, sys.argv[1:])
    if notes and device_type(settings.machine.device) == "cpu":
        settings, notes = without_gpu(settings, notes, overrides or [])
    if main:
        _print_notes(notes)
    if compare:
        check_comparable(settings)
    try:
        result = recipes.train(
            settings, resume=resume or resume_with_changes, overwrite=overwrite, resume_with_changes=resume_with_changes
        )
    except Interrupted as stop:
        if main:
            console.print(f"{stop}. Go on with: paws train {config} {' '.join(overrides or [])} --resume".replace("  ", " "))
        raise typer.Exit(128 + stop.signal_number) from None
    except Diverged as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise typer.Exit(3) from None
    if not main:
        return
    if compare:
        found = baselines(settings)
        write_text(settings.run_dir / "baselines.json", json.dumps(found, indent=1) + "\n")
        _print_comparison(title(settings), result, found)
    else:
        _print_result(result)
    console.print(f"run folder: {settings.run_dir}")


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="the folder of a training run; with --suncet-checkpoint a card that names the data")
    ],
    overrides: Overrides = None,
    best: Annotated[bool, typer.Option(help="the best weights instead of the last ones")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    suncet_checkpoint: Annotated[str | None, typer.Option(help="a .pth.tar file of the published code, or its name")] = None,
    arch: Annotated[str | None, typer.Option(help="its backbone; the card's model.name if absent")] = None,
    output_dim: Annotated[int | None, typer.Option(help="its width; the card's if absent")] = None,
    pred_head: Annotated[bool | None, typer.Option(help="whether it has a prediction head; the card's if absent")] = None,
    allow_partial: Annotated[bool, typer.Option(help="leave tensors that do not fit at random values")] = False,
) -> None:
    """Evaluate a training run, or a published checkpoint, on the held-out split."""
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        result = _evaluated(run, overrides or [], best, suncet_checkpoint, arch, output_dim, pred_head, allow_partial)
    if as_json:
        print(json.dumps(result))
    else:
        _print_result(result)


def _evaluated(
    run: Path,
    overrides: list[str],
    best: bool,
    suncet_checkpoint: str | None,
    arch: str | None,
    output_dim: int | None,
    pred_head: bool | None,
    allow_partial: bool,
) -> dict[str, Any]:
    if suncet_checkpoint is not None:
        from paws.suncet import load_card
        from paws.train.published import evaluate_checkpoint

        network = {"model.name": arch, "model.output_dim": output_dim, "model.prediction_head": pred_head}
        given = [f"{key}={value}" for key, value in network.items() if value is not None]
        # the card may be left out: dataset and all else are then overrides
        card, changes = (None, [str(run)]) if "=" in run.name else (run, [])
        settings, _ = load_card(card, [*changes, *overrides, *given])
        return evaluate_checkpoint(suncet_checkpoint, settings, allow_partial=allow_partial)
    if arch or output_dim or pred_head is not None or allow_partial:
        raise InputError("--arch, --output-dim, --pred-head and --allow-partial describe a --suncet-checkpoint")
    from paws import train as recipes

    return recipes.evaluate(run, overrides, best=best)


def convert(
    old: Annotated[Path, typer.Argument(help="a config of the published code (facebookresearch/suncet)")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the card to write")],
    recipe: Annotated[
        str | None, typer.Option(help="paws_train, suncet_train, fine_tune, snn_fine_tune; told by its keys")
    ] = None,
) -> None:
    """Write a config of the published code as a card; what has no meaning here is named in its comments."""
    import paws.methods  # noqa: F401, their settings are part of a card
    from paws.config.cards import from_mapping, read_yaml
    from paws.runs.files import write_text
    from paws.suncet import card_text, convert_config, is_suncet_config

    values = read_yaml(old, numbers=True)
    if not is_suncet_config(values):
        raise InputError(f"{old}: is no config of the published code (sections criterion, data, meta, optimization, logging)")
    try:
        values, notes = convert_config(values, recipe)
    except InputError as error:
        raise InputError(f"{old}: {error}") from None
    from_mapping(values, str(old))
    write_text(output, card_text(values, notes, old), new=True)
    _print_notes(notes)


def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="print docs/options.md instead: all keys, and the options of fit")
    ] = False,
) -> None:
    """Print the JSON schema of the configs, for editors."""
    import paws.methods  # noqa: F401, their settings are part of it
    from paws.config.page import options_page
    from paws.config.schema import Config, Recipe

    if markdown:
        own = {name: settings for name, settings in Recipe.known.items() if settings.__module__.startswith("paws.methods.")}
        print(options_page(own))
        return
    print(json.dumps(Config.model_json_schema(), indent=1))


def _print_notes(notes: list[str]) -> None:
    from rich.markup import escape

    from paws.runs.console import console

    for note in notes:
        console.print(f"[dim]old config:[/dim] {escape(note)}")


def _print_result(result: dict[str, Any]) -> None:
    from rich.markup import escape

    from paws.runs.console import console

    for name, value in result.items():
        if name == "per_class":
            lowest = sorted(value.items(), key=lambda item: item[1])[:FEW]
            name, text = "lowest classes", ", ".join(f"{label} {share:.1%}" for label, share in lowest)
        else:
            text = f"{value:.2%}" if isinstance(value, float) else str(value)
        console.print(f"{name.replace('_', ' '):>18}: {escape(text)}")


def _print_comparison(method: str, result: dict[str, Any], others: dict[str, float]) -> None:
    from rich.table import Table

    from paws.runs.console import console

    table = Table(title=f"{result['test_images']} held-out images, {result['labelled_images']} labels, seed {result['seed']}")
    table.add_column("method")
    table.add_column("top-1", justify="right")
    table.add_row(method, f"[bold]{result['top1']:.1%}[/bold]")
    for name, top1 in sorted(others.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{top1:.1%}")
    console.print(table)
