"""What a run leaves behind: figures, its summary and environment, the weights that labelled images chose."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from paws.config.cards import load_config
from paws.config.schema import Config
from paws.methods.build import encoder_of, task_of
from paws.runs.log import read_metrics
from paws.train import evaluate, train
from paws.train.evaluation import embeddings
from paws.voting import soft_vote
from tests.conftest import write_patterns
from tests.digits_runs import assert_equal, rows

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
TINY = [
    "optim={name: adamw, lr: 3.0e-3, epochs: 2, steps_per_epoch: 3, batch_size: 16}",
    "support.images_per_class=2",
    "log.every_steps=2",
]
PER_STEP = {"paws": (16, 20), "simclr_ct": (16, 20), "snn_finetune": (0, 20), "finetune": (16, 0)}


def tiny(run: Path, *more: str, recipe: str = "{name: paws}") -> Config:
    return load_config(CARD, [*TINY, f"run_dir={run}", f"recipe={recipe}", *more])


def judged(run: Path, evaluation: str, figure: str) -> list[float]:
    return [row[figure] for row in read_metrics(run) if row.get("evaluation") == evaluation]


def saved(run: Path, name: str) -> dict[str, Any]:
    return torch.load(run / f"checkpoints/{name}.pt")


@pytest.mark.parametrize("recipe", PER_STEP)
def test_a_finished_run_says_what_it_found_with_what_and_where(recipe, tmp_path):
    result = train(tiny(tmp_path, recipe=f"{{name: {recipe}}}"), quiet=True)
    assert 0 <= result["top1"] <= result["top5"] <= 1 and result["test_images"] == 450 and result["labelled_images"] == 10
    assert result["per_class"].keys() == set("0123456789")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert result.items() <= summary.items() and summary["seed"] == 0 and summary["recipe"] == recipe
    assert summary["steps"] == 6 and summary["ranks"] == 1 and summary["wall_seconds"] > 0
    assert (summary["images_per_step"], summary["supports_per_step"]) == PER_STEP[recipe]
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert summary["versions"].keys() == {"python", "torch", "torchvision", "timm", "numpy", "paws"}
    assert summary["versions"].items() <= environment.items()
    assert environment["device"] == "cpu" and environment["ranks"] == 1 and environment["platform"]
    *_, last = read_metrics(tmp_path)
    assert last == {"step": 6, "epoch": 2, "evaluation": "held-out", "top1": result["top1"], "top5": result["top5"]}
    again = evaluate(tmp_path)
    assert all(again[name] == result[name] for name in ("top1", "top5", "per_class", "labelled_images", "test_images"))


@pytest.mark.parametrize("recipe", ["paws", "finetune"])
def test_evaluate_prints_one_json_object_and_nothing_else(recipe, tmp_path):
    result = train(tiny(tmp_path, "optim.epochs=1", recipe=f"{{name: {recipe}}}"), quiet=True)
    command = [sys.executable, "-m", "paws", "evaluate", str(tmp_path), "--json"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.count("\n") == 1 and {**json.loads(said), "seed": 0} == {**result, "step": 3}


def test_a_folder_without_a_held_out_split_is_judged_by_its_labelled_images(tmp_path):
    images = write_patterns(tmp_path, per_class=4, labelled=2)
    data = f"data={{dataset: folder, root: {images}, labels: {{file: {tmp_path / 'labels.csv'}, per_class: null}}}}"
    result = train(tiny(tmp_path / "run", data, "views={preset: imagenet, size: 16}"), quiet=True)
    assert result["loo_top1"] == judged(tmp_path / "run", "leave-one-out", "loo_top1")[-1]
    assert evaluate(tmp_path / "run")["loo_top1"] == result["loo_top1"] and result["labelled_images"] == 6


def test_leave_one_out_chooses_the_best_weights(tmp_path):
    config = tiny(tmp_path, "data.labels.per_class=3", "optim.epochs=5", "evaluate.every_epochs=2")
    train(config, quiet=True)
    found = judged(tmp_path, "leave-one-out", "loo_top1")  # after epochs 2, 4 and the last, 5
    latest = max(i for i, value in enumerate(found) if value == max(found))
    best = saved(tmp_path, "best")
    assert len(found) == 3 and best["best_value"] == max(found) and best["step"] == (6, 12, 15)[latest]
    task = task_of(config)
    encoder = encoder_of(config, task, torch.device("cpu")).to(memory_format=torch.channels_last)
    encoder.load_state_dict(saved(tmp_path, "last")["model"])
    labels = task.train.labels[task.labelled]
    z = embeddings(encoder, config, task, task.train.select(task.labelled), torch.device("cpu"))
    right = 0
    for i in range(30):
        others = torch.arange(30) != i
        right += int(soft_vote(z[i : i + 1], z[others], labels[others], 10, balanced=True).argmax() == labels[i])
    assert found[-1] == pytest.approx(right / 30)


def test_training_loss_chooses_where_a_class_has_a_single_label_once_the_loss_stays_the_same(tmp_path):
    ours = "{name: paws, nt_xent: 1.0, nt_xent_alone: 0.25, sharpening_warmup: 1}"
    train(tiny(tmp_path, "optim.epochs=4", "log.every_steps=1", recipe=ours), quiet=True)
    losses = [row["loss"] for row in read_metrics(tmp_path) if "loss" in row]
    found = judged(tmp_path, "training loss", "epoch_loss")
    assert found == pytest.approx([sum(losses[6:9]) / 3, sum(losses[9:12]) / 3], rel=1e-6)
    assert saved(tmp_path, "best")["best_value"] == -min(found)


def test_a_run_resumed_within_an_epoch_keeps_its_mean_loss_and_its_last_row_stays_one(tmp_path):
    train(tiny(tmp_path / "whole"), quiet=True)
    parts = tmp_path / "parts"
    train(tiny(parts, "checkpoint.every_steps=1", "checkpoint.keep=9"), quiet=True)
    for path in (parts / "checkpoints").glob("step-*"):
        if int(path.stem[5:13]) > 4:
            path.unlink()  # as if it had been killed after the fourth step, the first of the second epoch
    for _ in range(2):  # the second time there is nothing left to train
        train(tiny(parts), resume=True, quiet=True)
        assert rows(parts) == rows(tmp_path / "whole")
        assert len(judged(parts, "training loss", "epoch_loss")) == 2 and len(judged(parts, "held-out", "top1")) == 1
        assert_equal(saved(parts, "best"), saved(tmp_path / "whole", "best"))
