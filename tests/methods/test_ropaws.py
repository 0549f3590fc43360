"""RoPAWS's and multi-view targets against loops over their equations, and what a training with them says."""

import math
from pathlib import Path

import pytest
import torch

from paws.config.cards import load_config
from paws.losses import paws_loss, smoothed_one_hot, soft_nn
from paws.methods.build import task_of
from paws.methods.multi_view import MultiView
from paws.methods.ropaws import Ropaws, calibrated_votes
from paws.runs.log import read_metrics
from paws.train import train

CARD = Path(__file__).parents[2] / "configs/digits.yaml"
TINY = [
    "optim={name: adamw, lr: 3.0e-3, epochs: 2, steps_per_epoch: 2, batch_size: 12}",
    "support.images_per_class=2",
    "views.small=1",
    "log.every_steps=1",
]


@pytest.fixture
def embeddings() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unlabelled (5, 4), supports (6, 4), label rows (6, 3)."""
    draws = torch.Generator().manual_seed(2)
    unlabelled, support = (torch.randn(n, 4, generator=draws, dtype=torch.float64) for n in (5, 6))
    return unlabelled, support, smoothed_one_hot(torch.arange(6) % 3, 3, 0.1, torch.float64)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def by_loops(unlabelled, support, labels, tau: float, ratio: float, prior_tau: float, power: float) -> list[list[float]]:
    """The fixed point of the equations, by going round them until nothing moves."""
    count, classes = len(unlabelled), labels.shape[1]
    p = [[1 / classes] * classes for _ in range(count)]
    for _ in range(2000):
        new = []
        for i, x in enumerate(unlabelled):
            near = [math.exp(cosine(x, s) / tau) * ratio * count / len(support) for s in support]
            others = [math.exp(cosine(x, y) / tau) if j != i else 0.0 for j, y in enumerate(unlabelled)]
            total = sum(near) + sum(others)
            inside = math.exp((max(cosine(x, s) for s in support) - 1) / prior_tau) ** power
            row = []
            for c in range(classes):
                votes = sum(w * float(rows[c]) for w, rows in zip(near, labels, strict=True))
                votes += sum(w * q[c] for w, q in zip(others, p, strict=True))
                row.append(inside * votes / total + (1 - inside) / classes)
            new.append(row)
        p = new
    return p


@pytest.mark.parametrize("settings", [(0.1, 5.0, 3.0, 1.0), (0.5, 0.2, 0.1, 1.0), (0.3, 1.0, 0.5, 2.0)])
def test_the_closed_form_is_the_fixed_point_of_the_equations(embeddings, settings):
    names = ("temperature", "label_ratio", "prior_temperature", "prior_power")
    found = calibrated_votes(*embeddings, **dict(zip(names, settings, strict=True)))
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found, torch.tensor(by_loops(*embeddings, *settings), dtype=torch.float64), rtol=1e-9, atol=1e-12
    )
    torch.testing.assert_close(found.sum(1), torch.ones(5, dtype=torch.float64), rtol=1e-12, atol=0)


def test_without_a_prior_and_weight_of_the_unlabelled_it_is_the_vote_of_paws(embeddings):
    found = calibrated_votes(*embeddings, temperature=0.2, label_ratio=1e14, prior_temperature=1e14)
    torch.testing.assert_close(found, soft_nn(*embeddings, 0.2), rtol=1e-10, atol=1e-12)
    alone = calibrated_votes(embeddings[0][:1], *embeddings[1:], temperature=0.2, prior_temperature=1e14)
    torch.testing.assert_close(alone, soft_nn(embeddings[0][:1], *embeddings[1:], 0.2), rtol=1e-10, atol=1e-12)


def test_what_is_far_from_every_label_becomes_uniform_and_neighbours_carry_labels():
    angles = torch.tensor([0.3, 0.75, 3.5], dtype=torch.float64)  # near the first class, between both, away from both
    unlabelled = torch.stack([angles.cos(), angles.sin()], 1)
    support, labels = torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    plain = soft_nn(unlabelled, support, labels, 0.1)
    found = calibrated_votes(unlabelled, support, labels, temperature=0.1, prior_temperature=0.2)
    assert plain[2].max() > 0.99 and (found[2] - 0.5).abs().max() < 0.01
    found = calibrated_votes(unlabelled, support, labels, temperature=0.1, label_ratio=0.1, prior_temperature=1e6)
    assert found[1, 0] > plain[1, 0] + 0.05


@pytest.mark.parametrize(("recipe", "method"), [("ropaws", Ropaws), ("multi_view", MultiView)])
def test_a_step_is_the_loss_with_these_targets_and_has_no_gradient_through_them(recipe, method):
    config = load_config(CARD, [*TINY, f"recipe={{name: {recipe}}}"])
    made = method.build(config, task_of(config), torch.device("cpu"))
    assert type(made) is method and made.settings.name == recipe
    batch = next(made.source.batches(range(1)))
    embedded = torch.randn(20 + 36, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h, z = embedded.clone().requires_grad_(), embedded.clone().requires_grad_()
    made.encoder = lambda views: (h, z)
    loss, metrics = made.step(batch)
    loss.backward()
    assert h.grad is None and z.grad is not None and z.grad.abs().sum() > 0

    view1, view2 = embedded[20:32], embedded[32:44]
    rows = smoothed_one_hot(made.source.labels, 10, 0.1, torch.float64)

    def expected_targets(targets, support):
        if recipe == "ropaws":
            return torch.cat([calibrated_votes(view, support, rows) for view in (view2, view1)]).log()
        return ((soft_nn(view1, support, rows) + soft_nn(view2, support, rows)) / 2).log().repeat(2, 1)

    cross_entropy, me_max = paws_loss(
        embedded[20:],
        embedded[:20],
        torch.cat([view2, view1]),
        embedded[:20],
        made.source.labels,
        10,
        smoothing=0.1,
        target_vote=expected_targets,
    )
    torch.testing.assert_close(metrics["cross_entropy"], cross_entropy, rtol=1e-12, atol=0)
    torch.testing.assert_close(loss, cross_entropy + me_max, rtol=1e-12, atol=0)
    plain = paws_loss(
        embedded[20:], embedded[:20], torch.cat([view2, view1]), embedded[:20], made.source.labels, 10, smoothing=0.1
    )
    assert abs(float(plain[0] - cross_entropy)) > 1e-4


@pytest.mark.parametrize("recipe", ["ropaws", "multi_view"])
def test_it_trains_from_a_card_and_says_its_name(tmp_path, recipe):
    result = train(load_config(CARD, [*TINY, f"recipe={{name: {recipe}}}", f"run_dir={tmp_path}"]), quiet=True)
    assert result["recipe"] == recipe
    logged = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert len(logged) == 4 and all(math.isfinite(row["loss"]) for row in logged)
