"""A run cut in the middle of an epoch and of a metrics row goes on bit for bit, in every recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from paws.config import Config, from_mapping
from paws.train import train
from tests.runs import assert_same_run

STEPS = 4  # of an epoch; there are two


def config(recipe: str, run: Path) -> Config:
    values = {
        "seed": 2,
        "run_dir": str(run),
        "recipe": {"name": recipe},
        "data": {"labels": {"per_class": 4}},
        "views": {"small": 1 if recipe == "paws" else 0},
        "support": {"images_per_class": 2, "views": 2 if recipe == "simclr_ct" else 1},
        "model": {"output_dim": 8},
        "optim": {"name": "lars", "lr": 0.1, "epochs": 2, "steps_per_epoch": STEPS, "batch_size": 16, "warmup_epochs": 1},
        "checkpoint": {"every_steps": 1, "keep": 9},
        "log": {"every_steps": 3},
    }
    if recipe == "finetune":  # validations choose the best weights
        for name, rows in (("labelled.txt", range(60)), ("validation.txt", range(1000, 1100))):
            (run.parent / name).write_text("".join(f"{row}\n" for row in rows))
        values["data"] = {
            "labels": {"file": str(run.parent / "labelled.txt")},
            "validation": str(run.parent / "validation.txt"),
        }
    return from_mapping(values)


@pytest.mark.parametrize("recipe", ["paws", "simclr_ct", "snn_finetune", "finetune"])
def test_resume_in_the_middle_of_an_epoch(recipe: str, tmp_path: Path):
    train(config(recipe, tmp_path / "whole"), quiet=True)
    for last in (1, STEPS + 1):
        run = tmp_path / f"cut{last}"
        train(config(recipe, run), quiet=True)
        for path in (run / "checkpoints").glob("step-*.pt"):
            if int(path.stem.split("-")[1]) > last:
                path.unlink()  # as if it had been killed after this step
        train(config(recipe, run), resume=True, quiet=True)
        assert_same_run(run, tmp_path / "whole")
