"""Verbs of training: train, evaluate, schema."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from paws.errors import InputError

Overrides = Annotated[list[str] | None, typer.Argument(help="dotted.key=value, e.g. optim.epochs=5")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(schema)


def train(
    config: Annotated[Path, typer.Argument(help="a YAML card, e.g. configs/digits.yaml")],
    overrides: Overrides = None,
    resume: Annotated[bool, typer.Option(help="go on with the run in run_dir")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace the run in run_dir")] = False,
    resume_with_changes: Annotated[bool, typer.Option(help="go on although keys of the config changed")] = False,
    compare: Annotated[bool, typer.Option(help="also measure baselines on the same labels")] = False,
    devices: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
) -> None:
    """Train a recipe: pre-training or fine-tuning, as the config says."""
    if devices > 1 and "RANK" not in os.environ:
        from paws.distributed import relaunch

        arguments = sys.argv[1:]
        for flag in ("--devices", f"--devices={devices}"):
            if flag in arguments:
                at = arguments.index(flag)
                del arguments[at : at + (2 if flag == "--devices" else 1)]
        relaunch(devices, arguments)
    from paws.config import load_config

    settings = load_config(config, overrides or [])
    from paws import train as recipes
    from paws.distributed import place
    from paws.log import console
    from paws.train.run import Diverged, Interrupted

    main = place().rank == 0
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
        from paws.train.compare import baselines

        _print_comparison(result, baselines(settings))
    else:
        _print_result(result)
    console.print(f"run folder: {settings.run_dir}")


def evaluate(
    run: Annotated[Path, typer.Argument(help="the folder of a training run")],
    overrides: Overrides = None,
    best: Annotated[bool, typer.Option(help="the best weights instead of the last ones")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Evaluate a training run on its held-out split."""
    from paws import train as recipes

    result = recipes.evaluate(run, overrides or [], best=best)
    if as_json:
        print(json.dumps(result))
    else:
        _print_result(result)


def schema() -> None:
    """Print the JSON schema of the configs, for editors."""
    from paws.config import Config

    print(json.dumps(Config.model_json_schema(), indent=1))


def _print_result(result: dict[str, Any]) -> None:
    from paws.log import console

    for name, value in result.items():
        console.print(f"{name:>18}: {value:.2f}" if isinstance(value, float) else f"{name:>18}: {value}")


def _print_comparison(result: dict[str, Any], others: dict[str, float]) -> None:
    from rich.table import Table

    from paws.log import console

    if "soft_nn_top1" not in result:
        raise InputError("--compare needs a pre-training recipe and a dataset with a held-out split")
    table = Table(title=f"{result['test_images']} held-out images, {result['labelled_images']} labels, seed {result['seed']}")
    table.add_column("method")
    table.add_column("top-1 %", justify="right")
    table.add_row("PAWS, soft nearest neighbours", f"[bold]{result['soft_nn_top1']:.1f}[/bold]")
    for name, top1 in sorted(others.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{top1:.1f}")
    console.print(table)
