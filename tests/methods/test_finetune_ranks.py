"""Fine-tuning on two ranks: it ends on all of them, and a resumed run starts from the weights it had."""

import json

import pytest
import torch

from paws.runs.checkpoint import load_latest
from tests.digits_runs import assert_same_run, finish, paws
from tests.ranks import environment, free_port

CARD = {
    "run_dir": "whole",
    "data": {"labels": {"per_class": 4}},
    "support": {"images_per_class": 2},
    "model": {"output_dim": 16},
    "optim": {"name": "adamw", "lr": 1e-3, "epochs": 2, "steps_per_epoch": 2, "batch_size": 8},
    "log": {"every_steps": 1},
}


def two_ranks(folder, *arguments):
    """``paws train card.yaml ARGUMENTS`` on two ranks, both to their end."""
    port = free_port()
    started = [paws("train", "card.yaml", *arguments, cwd=folder, **environment(rank, 2, port)) for rank in range(2)]
    for rank in started:
        finish(rank)


@pytest.mark.parametrize("recipe", ["finetune", "snn_finetune"])
def test_two_ranks_end_and_a_resumed_run_goes_on_with_its_weights(recipe, tmp_path):
    (tmp_path / "card.yaml").write_text(json.dumps({**CARD, "recipe": {"name": recipe}}))
    two_ranks(tmp_path)
    two_ranks(tmp_path, "run_dir=parts", "checkpoint.every_steps=1", "checkpoint.keep=9")
    for path in (tmp_path / "parts/checkpoints").glob("step-*"):
        if int(path.stem[5:13]) > 3:
            path.unlink()  # as if it had been killed after the third step
    third = load_latest(tmp_path / "parts/checkpoints")["model"]
    two_ranks(tmp_path, "run_dir=parts", "--resume")
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    last = load_latest(tmp_path / "parts/checkpoints")["model"]
    moved, size = (last["head.fc1.weight"] - third["head.fc1.weight"]).norm(), third["head.fc1.weight"].norm()
    assert 0 < moved < size / 10 and not any(name.startswith("module.") for name in last)
    assert all(torch.isfinite(value).all() for value in last.values())
