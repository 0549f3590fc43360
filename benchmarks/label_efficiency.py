"""Top-1 against labels a class, from scratch: `python -m benchmarks.label_efficiency [--quick]`.

Every method trains the same small network for the same number of steps; a draw is a seed of labels and training. Each run is a
row of docs/results/label_efficiency.csv, appended when it ends, and is not run again: stop it at any time, start it again to go
on. ``--table`` and ``--figure`` show what the file has. Three questions by ``--of``:

* labels: the methods at 1 to 100 labels a class;
* pool: five of the ten classes are labelled and tested, while all ten are in the pool;
* ablations: PAWS with one thing changed, at one label a class.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torch

from benchmarks.side_by_side import Figure, finish
from paws.config.cards import load_config
from paws.config.schema import Config
from paws.data.splits import only_labelled
from paws.data.store import ImageSet
from paws.data.task import Task
from paws.methods import method
from paws.methods.build import task_of
from paws.models import Encoder
from paws.train.evaluation import evaluate_network
from paws.train.run import Run

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results"
FIELDS = ("of", "dataset", "method", "per_class", "draw", "steps", "top1", "cpu_seconds")
LABELS, DRAWS = (1, 2, 4, 10, 25, 100), 5
CARDS = {  # with what a CPU can pay for; on digits a third of the steps and a quarter of the images in each
    "digits": ("configs/digits.yaml", "optim.steps_per_epoch=20", "optim.batch_size=64"),
    "fashion_mnist": ("configs/fashion_mnist.yaml", "optim.steps_per_epoch=50", "optim.batch_size=64"),
}
SUNCET = ("recipe.name=snn_finetune", "support.views=2", "optim={name: adamw, lr: 3.0e-4, epochs: 20, batch_size: 256}")
TARGETS = {"RoPAWS": "ropaws", "PAWS, multi-view targets": "multi_view"}  # the card's settings of PAWS, with other targets
METHODS = {
    "PAWS": (),
    **dict.fromkeys(TARGETS, ()),
    "PAWS without NT-Xent": ("recipe={name: paws}",),  # the paper's loss
    "RoPAWS without NT-Xent": ("recipe={name: ropaws}",),
    "RoPAWS without NT-Xent, prior temperature 0.1": ("recipe={name: ropaws, prior_temperature: 0.1}",),
    "RoPAWS without NT-Xent, label ratio 1": ("recipe={name: ropaws, label_ratio: 1}",),  # chosen on draws 10 to 13
    "supervised": ("recipe={name: finetune, augmentation: full, zero_init: false}",),
    "FixMatch-style": ("recipe.name=fixmatch",),
    "PAWS + SuNCEt": (),
    "SimCLR+CT": ("recipe.name=simclr_ct", "support.views=2"),
    "MSN": ("recipe={name: msn, prototypes: 64, patches: 4, me_max: 5, momentum: 0.9}",),  # reads no label
}
ABLATIONS = {
    "the card": (),
    "no NT-Xent": ("recipe={name: paws}",),
    "no me-max": ("recipe.me_max=0",),
    "no sharpening": ("recipe.sharpening=1",),
    "temperature 0.05": ("recipe.temperature=0.05",),
    "temperature 0.2": ("recipe.temperature=0.2",),
    "2 views of each support image": ("support.views=2",),
    "1 support image a class": ("support.images_per_class=1",),
    "16 support images a class": ("support.images_per_class=16",),
    "no label smoothing": ("support.smoothing=0",),
    "prediction head": ("model.prediction_head=true",),
    "2 small views": ("views.small=2",),
}
POOL = tuple(name for name in METHODS if name not in ("PAWS + SuNCEt", "SimCLR+CT"))


@dataclass(frozen=True)
class Job:
    """One run; the first five fields of a row."""

    of: str
    dataset: str
    method: str
    per_class: int
    draw: int


def config_of(job: Job, overrides: tuple[str, ...]) -> Config:
    """The dataset's card with the job's method, labels and seed."""
    import benchmarks.fixmatch  # noqa: F401 - enters its method into the table: where cards are read, not wherever this is imported

    card, *budget = CARDS[job.dataset]
    changes = ABLATIONS[job.method] if job.of == "ablations" else METHODS[job.method]
    if job.method in TARGETS:
        recipe = load_config(ROOT / card).recipe.model_dump(mode="json") | {"name": TARGETS[job.method]}
        changes = (f"recipe={json.dumps(recipe)}",)
    drawn = (f"seed={job.draw}", f"data.labels.per_class={job.per_class}")
    return load_config(ROOT / card, [*budget, *drawn, *changes, *overrides])


def half_known(task: Task) -> Task:
    """The task of the first half of the classes: images of the others stay in the pool, without labels, but not in the test."""
    train, test = task.train, task.test
    assert isinstance(train, ImageSet) and isinstance(test, ImageSet)
    known = task.classes[: len(task.classes) // 2]
    labelled = task.labelled[train.labels[task.labelled] < len(known)]
    tested = test.select((test.labels < len(known)).nonzero().flatten())
    train = replace(train, labels=only_labelled(train.labels, labelled), classes=known)
    return replace(task, train=train, labelled=labelled, test=replace(tested, classes=known))


def trained(config: Config, task: Task, start: Encoder | None = None) -> Encoder:
    """The network of a config at the end of its training, in memory; from the weights of ``start``, if given."""
    device = torch.device("cpu")
    made = method(config.recipe.name).build(config, task, device)
    if start is not None:
        made.encoder.load_state_dict(start.state_dict())
    with Run(device, channels_last=config.machine.channels_last, quiet=True) as run:
        run.start(made, config.optim)
        run.train()
    assert isinstance(run.model, Encoder)
    return run.model


def measured(job: Job, overrides: tuple[str, ...]) -> dict[str, object]:
    """The row of a job: top-1 in percent of the held-out images, and CPU-seconds with all that belongs to the run."""
    config = config_of(job, overrides)
    task, began = task_of(config), time.process_time()
    task = half_known(task) if job.of == "pool" else task
    network = trained(config, task)
    if job.method == "PAWS + SuNCEt":
        config = config_of(job, (*overrides, *SUNCET))
        network = trained(config, task, network)
    top1 = 100 * evaluate_network(network, config, task, torch.device("cpu"))["top1"]
    seconds = time.process_time() - began
    return {**vars(job), "steps": steps_of(job, overrides), "top1": round(top1, 2), "cpu_seconds": round(seconds, 1)}


def steps_of(job: Job, overrides: tuple[str, ...]) -> int:
    """Steps of a job's training, without those of a fine-tuning after it."""
    optim = config_of(job, overrides).optim
    return optim.epochs * (optim.steps_per_epoch or 0)


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows that were measured before; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def measure(jobs: list[Job], file: Path, overrides: tuple[str, ...]) -> None:
    """Run the jobs that have no row yet, and append one for each."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        file.write_text(",".join(FIELDS) + "\n", encoding="utf-8")
    done = {tuple(row[field] for field in FIELDS[:6]) for row in rows_of(file)}
    for job in jobs:
        if (*map(str, vars(job).values()), str(steps_of(job, overrides))) in done:
            continue
        row = measured(job, overrides)
        with file.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, FIELDS, lineterminator="\n").writerow(row)
            stream.flush()
            os.fsync(stream.fileno())
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def summary(rows: list[dict[str, str]]) -> dict[tuple[str, str, str, int, int], list[float]]:
    """Top-1 of all draws by (of, dataset, method, labels a class, steps), in the order of the methods' table."""
    found: dict[tuple[str, str, str, int, int], list[float]] = {}
    for row in sorted(rows, key=lambda row: [*METHODS, *ABLATIONS].index(row["method"])):
        key = (row["of"], row["dataset"], row["method"], int(row["per_class"]), int(row["steps"]))
        found.setdefault(key, []).append(float(row["top1"]))
    return found


def table(rows: list[dict[str, str]]) -> str:
    """The means and standard deviations over draws, as Markdown."""
    lines = ["| of | dataset | labels a class | steps | method | top-1 | draws |", "|---|---|---|---|---|---|---|"]
    found = summary(rows)
    for of, dataset, name, per_class, steps in sorted(found, key=lambda key: (key[0], key[1], key[3], key[4])):
        values = found[of, dataset, name, per_class, steps]
        spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        lines.append(f"| {of} | {dataset} | {per_class} | {steps} | {name} | {mean(values):.1f}{spread} | {len(values)} |")
    return "\n".join(lines)


def figure(rows: list[dict[str, str]], dataset: str, file: Path) -> None:
    """Top-1 against labels a class, with the standard deviation over draws as error bars, as an SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    found = {key: values for key, values in summary(rows).items() if key[:2] == ("labels", dataset)}
    drawn, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in dict.fromkeys(key[2] for key in found):
        points = sorted((key[3], values) for key, values in found.items() if key[2] == name)
        spreads = [stdev(values) if len(values) > 1 else 0.0 for _, values in points]
        axes.errorbar(
            [x for x, _ in points], [mean(values) for _, values in points], spreads, label=name, marker="o", capsize=3
        )
    axes.set(xscale="log", xlabel="labels a class", ylabel="top-1 in percent", title=f"{dataset}, from scratch")
    axes.set_xticks(LABELS, map(str, LABELS))
    axes.legend(fontsize="small")
    drawn.savefig(file, metadata={"Date": None})
    pyplot.close(drawn)


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """What is asked for, all methods of a draw one after the other, so that what is there at any time compares."""
    known = {"labels": tuple(METHODS), "pool": POOL, "ablations": tuple(ABLATIONS)}[options.of]
    if unknown := set(options.methods or known) - set(known):
        raise SystemExit(f"--methods: {', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    per_class = options.per_class or {"labels": LABELS, "pool": (4,), "ablations": (1,)}[options.of]
    order = product(per_class, range(*options.draws), options.methods or known)
    return [Job(options.of, options.dataset, name, count, draw) for count, draw, name in order]


def main() -> None:
    """Measure, then print the table of all that the file has and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="two methods, one draw, a short run, under 60 s; no file is written"
    )
    parser.add_argument("--of", choices=("labels", "pool", "ablations"), default="labels")
    parser.add_argument("--dataset", choices=tuple(CARDS), default="digits")
    parser.add_argument("--methods", nargs="+", help="some of them; all when absent")
    parser.add_argument("--per-class", type=int, nargs="+")
    parser.add_argument("--draws", type=int, nargs=2, default=[0, DRAWS], help="first and one past the last")
    parser.add_argument("--table", action="store_true", help="only show what was measured")
    parser.add_argument("--figure", action="store_true", help="draw it for the dataset, too")
    options, given = parser.parse_known_args()
    overrides, file = tuple(given), RESULTS / "label_efficiency.csv"
    if options.quick:
        short = ("optim.steps_per_epoch=4", "optim.batch_size=64", *overrides)
        rows = {
            name: measured(Job("labels", "digits", name, 1, 0), short)["top1"] for name in ("PAWS", "RoPAWS", "FixMatch-style")
        }
        finish(*(Figure(f"{name}, digits top-1 in percent after 64 short steps", float(str(v))) for name, v in rows.items()))
        return
    if not options.table:
        measure(jobs_of(options), file, overrides)
    rows_now = rows_of(file)
    print(table(rows_now))
    if options.figure:
        figure(rows_now, options.dataset, RESULTS / f"label_efficiency_{options.dataset}.svg")
    found = [
        Figure(f"{' / '.join(map(str, key))}, top-1 in percent", mean(values)) for key, values in summary(rows_now).items()
    ]
    finish(*(found or [Figure("runs", 0.0)]))


if __name__ == "__main__":
    main()
