"""The PAWS recipe's terms: what is added to the loss, and when."""

from pathlib import Path

import pytest
import torch

from paws.config.cards import load_config
from paws.data.source import Source, TensorBank
from paws.errors import InputError
from paws.methods.paws import Paws, PawsSettings
from paws.runs.log import read_metrics
from paws.train import train

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
TINY = [
    "optim={name: adamw, lr: 3.0e-3, epochs: 2, steps_per_epoch: 3, batch_size: 16}",
    "support.images_per_class=2",
    "views.small=1",
    "log.every_steps=1",
]


def test_nt_xent_alone_then_beside_the_vote(tmp_path):
    ours = "recipe={name: paws, nt_xent: 0.5, nt_xent_alone: 0.5, me_max: 2.0}"
    train(load_config(CARD, [*TINY, ours, f"run_dir={tmp_path}/with"]), quiet=True)
    logged = [row for row in read_metrics(tmp_path / "with") if "loss" in row]
    assert len(logged) == 6
    for row in logged:
        votes = row["cross_entropy"] + 2 * row["me_max"] if row["step"] > 3 else 0
        assert row["loss"] == pytest.approx(votes + 0.5 * row["nt_xent"], abs=1e-6)


def test_without_a_weight_there_is_no_nt_xent(tmp_path):
    train(load_config(CARD, [*TINY, "recipe={name: paws}", f"run_dir={tmp_path}"]), quiet=True)
    logged = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert all("nt_xent" not in row for row in logged)
    assert all(row["loss"] == pytest.approx(row["cross_entropy"] + row["me_max"], abs=1e-6) for row in logged)
    with pytest.raises(InputError, match="nt_xent_alone needs a weight nt_xent above 0"):
        load_config(None, ["recipe.nt_xent_alone=0.2"])


def test_sharpening_warms_up_once_there_are_votes():
    source = Source(TensorBank(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), None), steps_per_epoch=2)

    def at(epoch: float, **settings: float) -> float:
        paws = Paws(torch.nn.Identity(), source, PawsSettings(sharpening=0.2, **settings), epochs=20)
        return paws.sharpening(round(2 * epoch))

    assert [at(epoch) for epoch in (0, 1, 7)] == [0.2] * 3
    late = {"nt_xent": 1.0, "nt_xent_alone": 0.1, "sharpening_warmup": 4}  # votes begin with epoch 2
    assert [at(epoch, **late) for epoch in (0, 2, 3, 5, 6, 11)] == pytest.approx([1, 1, 0.8, 0.4, 0.2, 0.2])
