"""The verb of clusters: launch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from paws.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(launch)


def launch(
    configs: Annotated[list[str] | None, typer.Argument(help="YAML cards; dotted.key=value applies to all of them")] = None,
    list_file: Annotated[Path | None, typer.Option("--list", help="file that names configs, one a line")] = None,
    nodes: Annotated[int, typer.Option(min=1)] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=0)] = 0,
    tasks_per_node: Annotated[int | None, typer.Option(min=1, help="processes; one per GPU when absent")] = None,
    cpus_per_task: Annotated[int | None, typer.Option(min=1)] = None,
    mem: Annotated[str | None, typer.Option(help="memory per node, e.g. 450G")] = None,
    time: Annotated[int, typer.Option(min=1, help="minutes; the job is re-queued and goes on when they are over")] = 60,
    partition: Annotated[str | None, typer.Option()] = None,
    constraint: Annotated[str | None, typer.Option(help="node features, e.g. volta16gb")] = None,
    account: Annotated[str | None, typer.Option()] = None,
    qos: Annotated[str | None, typer.Option()] = None,
    sbatch: Annotated[list[str] | None, typer.Option(help="any other option of sbatch: name=value")] = None,
    signal_delay: Annotated[int, typer.Option(min=1, help="seconds before the end at which the state is saved")] = 90,
    timeouts: Annotated[int, typer.Option(min=0, help="how often a job whose time is up is re-queued")] = 100,
    parallel: Annotated[int, typer.Option(min=1, help="jobs of a batch that run at once")] = 256,
    logs: Annotated[Path, typer.Option(help="folder of the job logs")] = Path("runs/slurm"),
    resume: Annotated[bool, typer.Option(help="go on with the runs in the run_dirs")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace the runs in the run_dirs")] = False,
    local: Annotated[bool, typer.Option(help="run the same jobs on this machine and wait for them")] = False,
    dry_run: Annotated[bool, typer.Option(help="show what would be submitted")] = False,
) -> None:
    """Train one or more configs as SLURM jobs that survive preemption and the end of their time."""
    import paws.methods  # noqa: F401, their settings are part of a card
    from paws.cli.slurm import Resources, jobs_of, read_list, submit
    from paws.suncet import load_card

    given = configs or []
    overrides = [text for text in given if "=" in text and not Path(text).is_file()]
    cards = [Path(text) for text in given if text not in overrides]
    cards += read_list(list_file) if list_file else []
    if not cards:
        raise InputError("name one or more config files, or a --list of them")
    other = dict(option.split("=", 1) for option in sbatch or [] if "=" in option)
    if len(other) != len(sbatch or []):
        raise InputError("write --sbatch name=value, once for each option")
    resources = Resources(
        nodes,
        gpus_per_node,
        tasks_per_node,
        cpus_per_task,
        mem,
        time,
        partition,
        constraint,
        account,
        qos,
        signal_delay,
        timeouts,
        parallel,
        other,
    )
    settings = [load_card(card, overrides, to_train=True)[0] for card in cards]
    jobs = jobs_of(settings, resume=resume, overwrite=overwrite)
    for card, config in zip(cards, settings, strict=True):
        batch = config.optim.batch_size
        print(
            f"{card}: {nodes} x {resources.ranks_per_node} ranks, batch {batch} each, "
            f"{batch * resources.world_size} in all; run folder {config.run_dir}"
        )
    if dry_run:
        print(resources)
        return
    started = submit(jobs, resources, logs, local=local)
    for job, config in zip(started, settings, strict=True):
        print(f"job {job.job_id}: {config.run_dir}, log {job.paths.stdout}")
    if local and any(job.exception() is not None for job in started):
        raise typer.Exit(1)
