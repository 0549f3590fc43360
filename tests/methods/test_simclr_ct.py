"""What SimCLR+CT logs, and when its second term counts."""

from pathlib import Path

import pytest

from paws.config.cards import load_config
from paws.runs.log import read_metrics
from paws.train import train

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
SMALL = ["optim={name: adamw, epochs: 3, steps_per_epoch: 2, batch_size: 8}", "support={images_per_class: 2, views: 2}"]


def test_terms_are_logged_apart_and_the_second_ends(tmp_path):
    changes = [*SMALL, "recipe={name: simclr_ct, supervised_epochs: 2}", "log.every_steps=1", f"run_dir={tmp_path}"]
    train(load_config(CARD, changes), quiet=True)
    rows = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert len(rows) == 6
    for row in rows:
        assert row["nt_xent"] > 0 and row["suncet"] > 0
        assert row["loss"] == pytest.approx(row["nt_xent"] + (row["epoch"] <= 2) * row["suncet"], rel=1e-5)
