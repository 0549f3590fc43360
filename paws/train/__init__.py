"""Training runs: one entry for all recipes."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from paws import distributed
from paws.config.cards import from_mapping, load_config, read_yaml
from paws.config.schema import Config
from paws.data.staging import stage
from paws.data.task import Task
from paws.errors import InputError
from paws.methods import method
from paws.methods.build import task_of
from paws.models import Encoder
from paws.runs.checkpoint import CheckpointFolder
from paws.runs.console import console
from paws.runs.device import device_type, precision_on
from paws.runs.environment import environment, versions
from paws.runs.files import write_text
from paws.runs.folder import check_apart, check_run_folder
from paws.train.evaluation import evaluate_network, leave_one_out, validate
from paws.train.intervals import Intervals
from paws.train.run import Run

FREE = ("run_dir", "machine", "log", "checkpoint", "evaluate", "data.workers", "data.stage_to", "data.stage_timeout")


def train(
    config: Config,
    *,
    resume: bool = False,
    overwrite: bool = False,
    resume_with_changes: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Run a recipe from its config to its result, on this process or on all the ranks that a launcher started.

    Writes the run folder ``config.run_dir``: config.yaml, environment.json, metrics.jsonl and .csv, checkpoints, and at the end
    summary.json. With ``resume`` it goes on bit for bit where the folder's newest checkpoint stands (and starts anew where
    there is none).

    Returns:
        the result: figures of the held-out split (see ``paws.metrics.figures``), and what they were measured on.

    Raises:
        InputError: bad config or data, or a folder that holds a run; nothing is written then.
        paws.runs.signals.Interrupted: a signal came; the state is saved.
        paws.runs.running_means.Diverged: a loss is not finite.
    """
    machine, began = config.machine, time.monotonic()
    precision_on(device_type(machine.device), machine.precision)
    if machine.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    with distributed.init(device_type(machine.device), timeout=machine.group_timeout) as device:
        if config.data.dataset == "folder" and config.data.root is not None:
            check_apart(config.run_dir, config.data.root)
        check_run_folder(config.run_dir, resume=resume, overwrite=overwrite)
        if resume and not resume_with_changes:
            refuse_changes(config)
        config = staged(config)
        task = task_of(config)
        with open_run(config, task, device, resume=resume, overwrite=overwrite, quiet=quiet) as run:
            trained = method(config.recipe.name).build(config, task, device)
            encoder = trained.encoder  # which a run over several ranks wraps
            validated = trained.classifies and len(task.validation) > 0  # then the best weights are the ones evaluated
            if validated or not trained.classifies:
                run.validate = partial(validate, run, trained, encoder, config, task)
            run.start(trained, config.optim)
            if distributed.is_main() and not quiet:
                images, supports = run.per_step.values()
                ranks = distributed.world_size()
                what = f"{run.total_steps} steps of {images} images and {supports} supports"
                console.print(f"{what} on {ranks} rank(s) in {run.precision}")
            run.train()
            if validated:
                run.load_best()
            result = {"recipe": config.recipe.name, "seed": config.seed, **evaluate_network(encoder, config, task, device)}
            if validated:
                result["validation_top1"] = run.best_value
            run.finish(result)
            if task.test is None and not trained.classifies:
                result |= leave_one_out(encoder, config, task, device)
            if distributed.is_main():
                about = {"steps": run.step, "wall_seconds": round(time.monotonic() - began, 1), **run.per_step}
                summary = {**result, **about, "ranks": distributed.world_size(), "versions": versions()}
                write_text(config.run_dir / "summary.json", json.dumps(summary, indent=1) + "\n")
            return result


def open_run(config: Config, task: Task, device: torch.device, *, resume: bool, overwrite: bool, quiet: bool) -> Run:
    """A run as the config's sections ``machine``, ``log`` and ``checkpoint`` say; nothing is written before it starts."""
    log, checkpoint, machine = config.log, config.checkpoint, config.machine
    return Run(
        device,
        folder=config.run_dir,
        precision=machine.precision,
        channels_last=machine.channels_last,
        compile=machine.compile,
        intervals=Intervals(log.every_steps, checkpoint.every_steps, checkpoint.every_minutes, checkpoint.keep_epochs),
        tensorboard=log.tensorboard,
        keep=checkpoint.keep,
        quiet=quiet,
        stored={"config": config.to_yaml(), "classes": list(task.classes), "torch": str(torch.__version__)},
        files={
            "config.yaml": config.to_yaml(),
            "environment.json": json.dumps(environment(device, distributed.world_size()), indent=1) + "\n",
        },
        resume=resume,
        overwrite=overwrite,
    )


def staged(config: Config) -> Config:
    """The config with its data on node-local storage, copied there first where ``data.stage_to`` asks for it."""
    data = config.data
    if data.stage_to is None or data.root is None:
        return config
    root = stage(data.root, data.stage_to, timeout=data.stage_timeout)
    return config.model_copy(update={"data": data.model_copy(update={"root": root})})


def read_run(folder: Path) -> Config:
    """The config of a run folder.

    Raises:
        InputError: the folder holds no run.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise InputError(f"{folder}: holds no run (no config.yaml); give the run_dir of a training run")
    return load_config(path)


def refuse_changes(config: Config) -> None:
    """Raise InputError naming the keys in which ``config`` differs from the one stored in its run folder.

    What only says where, how fast and how often to report may differ.
    """
    if not (config.run_dir / "config.yaml").is_file():
        return
    stored_values = read_yaml(config.run_dir / "config.yaml")
    stored = from_mapping(stored_values, str(config.run_dir / "config.yaml"))
    then, now = _flat(stored.model_dump(mode="json")), _flat(config.model_dump(mode="json"))
    changed = [
        f"{key}: {then.get(key)} then, {now.get(key)} now"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    if changed:
        raise InputError(
            f"run_dir {config.run_dir}: the config differs from that of the run to resume:\n  "
            + "\n  ".join(changed)
            + "\nrestore these keys, or add --resume-with-changes"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def load_run(
    folder: Path, overrides: list[str] | tuple[str, ...] = (), *, best: bool = False
) -> tuple[Config, Task, Encoder, dict[str, Any]]:
    """The config, images, network (weights loaded) and state of the last, or best, checkpoint of a run.

    Raises:
        InputError: no run, no checkpoint, or one that does not fit; overrides that do not fit.
    """
    read_run(folder)
    config = load_config(folder / "config.yaml", overrides)
    checkpoints = CheckpointFolder(folder / "checkpoints")
    state = checkpoints.load_best() if best else checkpoints.load_latest()
    if state is None:
        raise InputError(f"{folder}: has no checkpoint yet")
    config = config.model_copy(update={"model": config.model.model_copy(update={"init_from": None, "pretrained": False})})
    task, device = task_of(config), torch.device(device_type(config.machine.device))
    model = method(config.recipe.name).network(config, task, device)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise InputError(f"{folder}: the checkpoint does not fit its config: {error}") from error
    if config.machine.channels_last:  # as in training: another layout rounds otherwise, and ties may fall otherwise
        model.to(memory_format=torch.channels_last)
    return config, task, model, state


def evaluate(folder: Path, overrides: list[str] | tuple[str, ...] = (), *, best: bool = False) -> dict[str, Any]:
    """Evaluate the last (or best) weights of a run on its held-out split; ``overrides`` e.g. of ``evaluate.temperature``.

    Without a held-out split there is ``loo_top1``, if at all: see `leave_one_out`.
    """
    config, task, model, state = load_run(folder, overrides, best=best)
    device = next(model.parameters()).device
    result = {"recipe": config.recipe.name, "step": state["step"], **evaluate_network(model, config, task, device)}
    judged = task.test is None and not method(config.recipe.name).classifies
    return result | (leave_one_out(model, config, task, device) if judged else {})
