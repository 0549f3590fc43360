"""What the label-efficiency benchmark trains on, keeps, and compares with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.label_efficiency import ABLATIONS, METHODS, POOL, Job, config_of, half_known, measure, rows_of, table
from paws.config.schema import Recipe
from paws.data.source import Source, TensorBank
from paws.data.support import SupportSampler
from paws.methods import base
from paws.methods.build import task_of

SHORT = ("optim={name: adamw, lr: 1.0e-3, epochs: 1, steps_per_epoch: 1, batch_size: 8}",)


@pytest.fixture(autouse=True)
def fixmatch() -> Iterator[None]:
    """The baseline's method is taken out of the table again, which other tests print."""
    yield
    if sys.modules.pop("benchmarks.fixmatch", None) is not None:
        del base._TABLE["fixmatch"], Recipe.known["fixmatch"]


def test_half_of_the_classes_are_labelled_and_tested_while_all_images_stay_in_the_pool() -> None:
    whole = task_of(config_of(Job("pool", "digits", "PAWS", 4, 0), ()))
    half = half_known(whole)
    assert half.classes == ("0", "1", "2", "3", "4") and len(half.train) == len(whole.train) == 1347
    assert torch.bincount(half.train.labels[half.labelled]).tolist() == [4] * 5
    assert (half.visible >= 0).sum() == 20 and half.visible.max() == 4
    assert half.test is not None and whole.test is not None
    assert len(half.test) == (whole.test.labels < 5).sum() and half.test.labels.max() == 4


def test_a_run_is_a_row_that_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    first = Job("pool", "digits", "RoPAWS", 1, 0)
    measure([first], file, SHORT)
    before = file.read_bytes()
    measure([first, Job("labels", "digits", "PAWS + SuNCEt", 1, 0)], file, (*SHORT, "support.images_per_class=2"))
    assert file.read_bytes().startswith(before)
    rows = rows_of(file)
    assert [(row["method"], row["steps"]) for row in rows] == [("RoPAWS", "1"), ("PAWS + SuNCEt", "1")]
    assert all(0 <= float(row["top1"]) <= 100 and float(row["cpu_seconds"]) >= 0 for row in rows)
    assert table(rows).splitlines()[2].startswith("| labels | digits | 1 | 1 | PAWS + SuNCEt |")


def test_every_method_and_ablation_is_a_card_that_reads() -> None:
    assert set(POOL) <= set(METHODS)
    for of, names in (("labels", METHODS), ("ablations", ABLATIONS)):
        for name in names:
            for dataset in ("digits", "fashion_mnist"):
                assert config_of(Job(of, dataset, name, 4, 1), ()).seed == 1
    assert "fixmatch" in Recipe.known
    paws, ropaws = (config_of(Job("labels", "digits", name, 1, 0), ()).recipe for name in ("PAWS", "RoPAWS"))
    assert ropaws.name == "ropaws" and paws.model_dump().items() - {("name", "paws")} <= ropaws.model_dump().items()
    assert paws.model_dump()["nt_xent"] == 5.0


@pytest.mark.parametrize(("scale", "confident"), [(0.0, 0.0), (50.0, 1.0)])
def test_fixmatch_counts_confident_pseudo_labels_alone(scale: float, confident: float) -> None:
    from benchmarks.fixmatch import THRESHOLD, FixMatch

    labels = torch.tensor([0, 1, -1, -1, -1, -1])
    sampler = SupportSampler(labels, classes_per_batch=2, images_per_class=1, seed=0)
    images = torch.zeros(6, 1, 2, 2, dtype=torch.uint8)
    bank = TensorBank(images, lambda x, _: [x.float(), x.float() + 1], lambda x, _: x.float())
    source = Source(bank, pool=torch.arange(6), batch_size=4, sampler=sampler)
    logits = torch.randn(2 + 4 + 4, 2, generator=torch.Generator().manual_seed(0))
    logits[2:6] = scale * torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    method = FixMatch(torch.nn.Identity(), source)
    method.encoder = lambda views: (None, logits)  # type: ignore[assignment]
    loss, metrics = method.step(next(source.batches(range(1))))
    assert metrics["confident"] == confident and 0.5 < THRESHOLD < 1
    log_p = logits.log_softmax(1)
    expected = -(log_p[0, 0] + log_p[1, 1]) / 2
    if confident:
        expected = expected - sum(log_p[6 + i, i % 2] for i in range(4)) / 4
    torch.testing.assert_close(loss, expected)
