"""The soft vote against the published numbers and against loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.losses import smoothed_one_hot, soft_nn
from paws.metrics import accuracy
from paws.voting import soft_vote, vote_weights

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", json.loads((GOLDEN / "g_snn_eval.json").read_text()), ids=lambda c: c["name"])
@pytest.mark.parametrize(("precision", "dtype", "tolerance"), [("f64", torch.float64, 1e-9), ("f32", torch.float32, 1e-4)])
def test_soft_nn_evaluation_equals_the_published_one(case, precision, dtype, tolerance):
    arrays, name = np.load(GOLDEN / "g_snn_eval.npz"), case["name"]
    support, query = (torch.tensor(arrays[f"{name}/{x}_emb"], dtype=dtype) for x in ("support", "query"))
    labels, truth = (torch.tensor(arrays[f"{name}/{x}_lab"]).long() for x in ("support", "query"))
    p = soft_vote(query, support, labels, case["classes"], case["temperature"], chunk=7)
    np.testing.assert_allclose(p.numpy(), arrays[f"{name}/probs_{precision}"], rtol=tolerance, atol=tolerance)
    assert accuracy(p, truth) == pytest.approx(float(arrays[f"{name}/top1_{precision}"]) / 100)
    assert accuracy(p, truth, 5) == pytest.approx(float(arrays[f"{name}/top5_{precision}"]) / 100)


@pytest.mark.parametrize("temperature", [0.1, 0.005])
def test_streaming_over_queries_and_supports_equals_the_plain_vote(temperature):
    draws = torch.Generator().manual_seed(1)
    query, support = (torch.randn(n, 6, generator=draws, dtype=torch.float64) for n in (11, 23))
    labels = torch.arange(23) // 8  # a chunk of five supports holds one class, or two
    expected = soft_nn(query, support, smoothed_one_hot(labels, 4, dtype=torch.float64), temperature)
    for chunk in (1, 5, 11, 23, 100):
        torch.testing.assert_close(soft_vote(query, support, labels, 4, temperature, chunk=chunk), expected)
    assert soft_vote(query[:0], support, labels, 4).shape == (0, 4)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_leave_one_out_leaves_out_the_query_alone(chunk):
    draws = torch.Generator().manual_seed(2)
    support, labels = torch.randn(9, 5, generator=draws, dtype=torch.float64), torch.arange(9) % 3
    p = soft_vote(support, support, labels, 3, own=torch.arange(9), chunk=chunk)
    for i in range(9):
        others = torch.arange(9) != i
        rows = smoothed_one_hot(labels[others], 3, dtype=torch.float64)
        torch.testing.assert_close(p[i : i + 1], soft_nn(support[i : i + 1], support[others], rows))


@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_every_class_has_the_same_weight_in_a_balanced_vote(leave_one_out, chunk):
    support = torch.randn(9, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    z, own = torch.nn.functional.normalize(support, dim=1), torch.arange(9) if leave_one_out else None
    p = soft_vote(support, support, labels, 3, 0.3, balanced=True, own=own, chunk=chunk)
    weights = vote_weights(support, support, labels, 3, 0.3, balanced=True, own=own)
    for i in range(9):
        others = [j for j in range(9) if not (leave_one_out and j == i)]
        votes = torch.zeros(3, dtype=torch.float64)
        for j in others:
            size = sum(1 for k in others if labels[k] == labels[j])
            votes[labels[j]] += (z[i] @ z[j] / 0.3).exp() / size
        torch.testing.assert_close(p[i], votes / votes.sum())
        torch.testing.assert_close(torch.zeros_like(votes).index_add(0, labels, weights[i]), p[i])
        assert not leave_one_out or weights[i, i] == 0
