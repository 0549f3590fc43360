"""Soft nearest-neighbour evaluation against the published numbers, and the baselines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.evaluate import accuracy, embed, figures, frozen_baselines, soft_nn_predict
from paws.losses import smoothed_one_hot, soft_nn
from paws.models import build_encoder

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", json.loads((GOLDEN / "g_snn_eval.json").read_text()), ids=lambda c: c["name"])
@pytest.mark.parametrize(("precision", "dtype", "tolerance"), [("f64", torch.float64, 1e-9), ("f32", torch.float32, 1e-4)])
def test_soft_nn_evaluation_equals_the_published_one(case, precision, dtype, tolerance):
    arrays, name = np.load(GOLDEN / "g_snn_eval.npz"), case["name"]
    support, query = (torch.tensor(arrays[f"{name}/{x}_emb"], dtype=dtype) for x in ("support", "query"))
    labels, truth = (torch.tensor(arrays[f"{name}/{x}_lab"]).long() for x in ("support", "query"))
    p = soft_nn_predict(query, support, labels, case["classes"], case["temperature"], chunk=7)
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
        torch.testing.assert_close(soft_nn_predict(query, support, labels, 4, temperature, chunk=chunk), expected)
    assert soft_nn_predict(query[:0], support, labels, 4).shape == (0, 4)


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_leave_one_out_leaves_out_the_query_alone(chunk):
    draws = torch.Generator().manual_seed(2)
    support, labels = torch.randn(9, 5, generator=draws, dtype=torch.float64), torch.arange(9) % 3
    p = soft_nn_predict(support, support, labels, 3, own=torch.arange(9), chunk=chunk)
    for i in range(9):
        others = torch.arange(9) != i
        rows = smoothed_one_hot(labels[others], 3, dtype=torch.float64)
        torch.testing.assert_close(p[i : i + 1], soft_nn(support[i : i + 1], support[others], rows))


def test_figures_are_shares_of_the_classes_that_occur():
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1]])
    assert figures(scores, torch.tensor([0, 1, 1, 0]), ("a", "b", "c")) == {
        "top1": 0.75,
        "top5": 1.0,
        "per_class": {"a": 1.0, "b": 0.5},
        "test_images": 4,
    }


def test_embedding_uses_eval_mode_and_puts_every_mode_back():
    encoder = build_encoder("small_cnn", output_dim=8, in_channels=1).train()
    encoder.head.eval()
    images = torch.rand(10, 1, 8, 8)
    together, apart = (embed(encoder, images.split(size)) for size in (10, 3))
    torch.testing.assert_close(together, apart)
    assert encoder.training and encoder.backbone.training and not encoder.head.training
    assert embed(encoder, [images], embedding="backbone").shape == (10, encoder.feature_dim)


def test_baselines_separate_what_can_be_separated():
    draws = torch.Generator().manual_seed(0)
    truth = torch.arange(90) % 3
    features = torch.eye(3)[truth] * 8 + torch.randn(90, 3, generator=draws)
    labels = torch.where(torch.arange(90) < 6, truth, -1)
    for name, p in frozen_baselines(features, labels, features[60:], 3).items():
        assert accuracy(p, truth[60:]) > 0.95, name
        torch.testing.assert_close(p.sum(1), torch.ones(30))
