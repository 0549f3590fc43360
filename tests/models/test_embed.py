"""Embedding in eval mode."""

import torch

from paws.models import build_encoder, embed


def test_embedding_uses_eval_mode_and_puts_every_mode_back():
    encoder = build_encoder("small_cnn", output_dim=8, in_channels=1).train()
    encoder.head.eval()
    images = torch.rand(10, 1, 8, 8)
    together, apart = (embed(encoder, images.split(size)) for size in (10, 3))
    torch.testing.assert_close(together, apart)
    assert encoder.training and encoder.backbone.training and not encoder.head.training
    assert embed(encoder, [images], embedding="backbone").shape == (10, encoder.feature_dim)
