"""Embedding in eval mode, and the baselines."""

import torch

from paws.evaluate import frozen_baselines
from paws.metrics import accuracy
from paws.models import build_encoder, embed


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
