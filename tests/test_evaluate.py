"""Soft nearest-neighbour evaluation against the published numbers, and the baselines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paws.evaluate import accuracy, embed, frozen_baselines, soft_nn_predict
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
    assert accuracy(p, truth) == pytest.approx(float(arrays[f"{name}/top1_{precision}"]))
    assert accuracy(p, truth, 5) == pytest.approx(float(arrays[f"{name}/top5_{precision}"]))


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
        assert accuracy(p, truth[60:]) > 95, name
        torch.testing.assert_close(p.sum(1), torch.ones(30))
