"""Losses against naive loops written from the papers, and against the published code's numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.losses import me_max, nt_xent, paws_loss, sharpen, smoothed_one_hot, soft_nn, suncet

GOLDEN = Path(__file__).parent / "golden"
DTYPES = {"f64": torch.float64, "f32": torch.float32}
LOSS_TOLERANCE = {"f64": 1e-9, "f32": 1e-4}
GRAD_TOLERANCE = {"f64": 1e-9, "f32": 1e-3}


def cases(group: str, kind: str | None = None):
    return [c for c in json.loads((GOLDEN / f"{group}.json").read_text()) if kind is None or c["kind"] == kind]


@pytest.fixture(scope="module")
def golden():
    return {group: np.load(GOLDEN / f"{group}.npz") for group in ("a_paws_loss", "b_contrastive")}


def ids_of(rows: np.ndarray) -> tuple[torch.Tensor, int, float]:
    """Class ids, number of classes and smoothing of smoothed one-hot rows (S, C)."""
    found = torch.tensor(rows.argmax(1)), rows.shape[1], rows.shape[1] * float(rows.min())
    assert np.allclose(smoothed_one_hot(*found, torch.float64).numpy(), rows, rtol=0, atol=1e-15)
    return found


def agree(ours: torch.Tensor, theirs: np.ndarray, tolerance: float) -> None:
    # A loss near zero is the log of a number near one, which float32 resolves to 6e-8.
    floor = 1.2e-7 if theirs.dtype == np.float32 else 1e-15
    assert np.abs(ours.detach().numpy() - theirs).max() <= tolerance * np.abs(theirs).max() + floor


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("case", cases("a_paws_loss"), ids=lambda c: c["name"])
def test_paws_loss_and_gradients_equal_the_published_ones(golden, case, precision):
    arrays, name = golden["a_paws_loss"], case["name"]
    z, h = (torch.tensor(arrays[f"{name}/{x}"], dtype=DTYPES[precision]) for x in ("z", "h"))
    labels, classes, smoothing = ids_of(arrays[f"{name}/labels"])
    z.requires_grad_()
    supports, batch = case["num_support"], case["u_batch"]
    targets = torch.cat([h[supports + batch : supports + 2 * batch], h[supports : supports + batch]])
    cross_entropy, entropy = paws_loss(
        z[supports:],
        z[:supports],
        targets,
        h[:supports],
        labels,
        classes,
        smoothing=smoothing,
        temperature=case["tau"],
        sharpening=case["T"],
    )
    for part, loss in (("loss", cross_entropy), ("total", cross_entropy + (entropy if case["me_max"] else 0))):
        (grad,) = torch.autograd.grad(loss, z, retain_graph=True)
        agree(grad[supports:], arrays[f"{name}/grad_views_{part}_{precision}"], GRAD_TOLERANCE[precision])
        agree(grad[:supports], arrays[f"{name}/grad_supports_{part}_{precision}"], GRAD_TOLERANCE[precision])
    agree(cross_entropy, arrays[f"{name}/loss_{precision}"], LOSS_TOLERANCE[precision])
    if case["me_max"]:
        agree(entropy, arrays[f"{name}/rloss_{precision}"], LOSS_TOLERANCE[precision])


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("case", cases("b_contrastive"), ids=lambda c: c["name"])
def test_contrastive_losses_and_gradients_equal_the_published_ones(golden, case, precision):
    arrays, name = golden["b_contrastive"], case["name"]
    z = torch.tensor(arrays[f"{name}/z"], dtype=DTYPES[precision]).requires_grad_()
    if case["kind"] == "ntxent":
        loss = nt_xent(z, case["temperature"])
    else:
        labels, classes, smoothing = ids_of(arrays[f"{name}/labels"])
        loss = suncet(z, labels, classes, case["temperature"], smoothing=smoothing)
    (grad,) = torch.autograd.grad(loss, z)
    if abs(arrays[f"{name}/loss_f64"]) > 1e-9:
        agree(loss, arrays[f"{name}/loss_{precision}"], LOSS_TOLERANCE[precision])
        agree(grad, arrays[f"{name}/grad_z_{precision}"], GRAD_TOLERANCE[precision])
    else:
        assert loss.abs() < 1e-6


def unit(v):
    return v / math.sqrt(float((v * v).sum()))


def vote(query, supports, labels, temperature):
    weights = [math.exp(float(unit(query) @ unit(s)) / temperature) for s in supports]
    return [
        sum(w * float(row[c]) for w, row in zip(weights, labels, strict=True)) / sum(weights) for c in range(labels.shape[1])
    ]


def sharper(p, temperature):
    powers = [x ** (1 / temperature) for x in p]
    return [x / sum(powers) for x in powers]


@pytest.fixture
def small():
    draws = torch.Generator().manual_seed(1)
    z, h = (torch.randn(6 + 4 * 3, 5, generator=draws, dtype=torch.float64) for _ in range(2))
    return z, h, torch.arange(6) % 3


def test_paws_loss_equals_a_loop_over_algorithm_1(small):
    z, h, ids = small
    labels = smoothed_one_hot(ids, 3, 0.1, torch.float64)
    batch, supports = 3, 6  # two large and two small views of three images
    target = [sharper(vote(h[supports + i], h[:supports], labels, 0.2), 0.25) for i in range(2 * batch)]
    expected, rows = 0.0, []
    for view in range(4):
        for i in range(batch):
            p = vote(z[supports + view * batch + i], z[:supports], labels, 0.2)
            one, two = target[i], target[batch + i]
            t = two if view == 0 else one if view == 1 else [(x + y) / 2 for x, y in zip(one, two, strict=True)]
            expected -= sum(x * math.log(q) for x, q in zip(t, p, strict=True) if x >= 1e-4) / (4 * batch)
            rows.append(sharper(p, 0.25))
    mean = np.mean(rows, axis=0)
    targets = torch.cat([h[9:12], h[6:9]])
    cross_entropy, entropy = paws_loss(z[6:], z[:6], targets, h[:6], ids, 3, smoothing=0.1, temperature=0.2, sharpening=0.25)
    assert cross_entropy.item() == pytest.approx(expected, rel=1e-12)
    assert entropy.item() == pytest.approx(float((mean * np.log(mean)).sum()), rel=1e-12)


def test_nt_xent_equals_a_loop(small):
    z = small[0][:6]
    expected = 0.0
    for i in range(6):
        scores = {j: math.exp(float(unit(z[i]) @ unit(z[j])) / 0.3) for j in range(6) if j != i}
        expected -= math.log(scores[(i + 3) % 6] / sum(scores.values())) / 6
    assert nt_xent(z, 0.3).item() == pytest.approx(expected, rel=1e-12)


def test_full_gradient_of_nt_xent_is_about_twice_the_detached_one(small):
    z = small[0][:6].clone().requires_grad_()
    detached, full = (torch.autograd.grad(nt_xent(z, 0.3, key_gradient=k), z)[0] for k in (False, True))
    assert nt_xent(z, 0.3).item() == nt_xent(z, 0.3, key_gradient=True).item()
    assert 1.2 < (full.norm() / detached.norm()).item() < 2.5
    assert torch.autograd.gradcheck(lambda x: nt_xent(x, 0.3, key_gradient=True), z)


def test_suncet_equals_a_loop(small):
    z, labels = small[0][:6], smoothed_one_hot(small[2], 3, 0.1, torch.float64)
    expected = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        p = vote(z[i], z[others], labels[others], 0.3)
        expected -= sum(float(t) * math.log(q) for t, q in zip(labels[i], p, strict=True)) / 6
    assert suncet(z, small[2], 3, 0.3, smoothing=0.1).item() == pytest.approx(expected, rel=1e-12)


def test_soft_nn_takes_any_label_rows_and_rows_sum_to_one(small):
    z = small[0]
    labels = torch.rand(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels /= labels.sum(1, keepdim=True)
    p = soft_nn(z[6:], z[:6], labels, 0.2)
    torch.testing.assert_close(p, torch.tensor([vote(q, z[:6], labels, 0.2) for q in z[6:]], dtype=torch.float64))
    torch.testing.assert_close(p.sum(1), torch.ones(12, dtype=torch.float64))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_small_temperatures_give_finite_losses_and_gradients_under_autocast(smoothing, dtype):
    z = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(12) % 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = z.to(dtype)
        targets = torch.cat([x[19:26], x[12:19]]).detach()
        losses = [
            *paws_loss(x[12:], x[:12], targets, x[:12].detach(), labels, 4, smoothing=smoothing, temperature=0.005),
            nt_xent(x[12:], 0.005),
            suncet(x[:12], labels, 4, 0.005, smoothing=smoothing),
        ]
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses)
    (grad,) = torch.autograd.grad(sum(losses), z)
    assert grad.isfinite().all() and grad.abs().max() > 0


def test_a_class_without_a_vote_gets_the_smoothing_alone():
    z = torch.randn(10, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64).requires_grad_()
    ids = torch.tensor([0, 2, 0, 2])  # of three classes
    loss, entropy = paws_loss(z[4:], z[:4], z[4:].roll(3, 0), z[:4], ids, 3, smoothing=0.3, temperature=0.5)
    p = soft_nn(z[4:], z[:4], smoothed_one_hot(ids, 3, 0.3, torch.float64), 0.5)
    torch.testing.assert_close(p[:, 1], torch.full((6,), 0.1, dtype=torch.float64))
    torch.testing.assert_close(loss, -(sharpen(p).detach().roll(3, 0) * p.log()).sum(1).mean())
    hard, _ = paws_loss(z[4:], z[:4], z[4:].roll(3, 0), z[:4], ids, 3, temperature=0.5)
    for value in (loss + entropy, hard):
        (grad,) = torch.autograd.grad(value, z, retain_graph=True)
        assert grad.isfinite().all()


def test_small_temperature_agrees_with_float64():
    z = torch.randn(26, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(12) % 4
    single, double = (
        paws_loss(x[12:], x[:12], x[12:].roll(7, 0), x[:12], labels, 4, temperature=0.005)[0] for x in (z, z.double())
    )
    assert single.item() == pytest.approx(double.item(), rel=1e-4)


def test_me_max_is_minus_entropy_and_a_divergence_from_a_prior():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    mean = p.mean(0)
    assert me_max(p).item() == pytest.approx((mean * mean.log()).sum().item())
    assert me_max(p, prior=mean).item() == pytest.approx(0, abs=1e-7)
    assert me_max(p, prior=torch.tensor([0.6, 0.3, 0.1])) > 0
    assert me_max(torch.eye(3)[:1]).item() == 0


def test_smoothed_one_hot():
    expected = torch.tensor([[0.05, 0.05, 0.05, 0.85], [0.85, 0.05, 0.05, 0.05]])
    torch.testing.assert_close(smoothed_one_hot(torch.tensor([3, 0]), 4, 0.2), expected)
    torch.testing.assert_close(smoothed_one_hot(torch.arange(6) % 3, 3, 0.1).sum(1), torch.ones(6))
