"""Backbones by name, the encoder's order and grouping of views, heads."""

import pytest
import torch
from torch import nn

from paws.errors import InputError
from paws.models import (
    BACKBONES,
    Encoder,
    build_backbone,
    build_classifier,
    build_encoder,
    classifier_from,
    prediction_head,
    projection_head,
)


class Recorder(nn.Module):
    """A backbone that keeps the shapes it is given and passes on each image's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return x.flatten(1).mean(1, keepdim=True)


def test_neighbouring_views_of_one_size_share_a_pass_and_keep_their_order():
    backbone = Recorder()
    encoder = Encoder(backbone, nn.Linear(1, 1))
    with torch.no_grad():
        encoder.head.weight.fill_(2)
        encoder.head.bias.fill_(0)
    sizes = [8, 8, 4, 4, 4, 8]
    views = [torch.full((2, 3, size, size), float(i)) for i, size in enumerate(sizes)]
    h, z = encoder(views)
    assert backbone.shapes == [(4, 3, 8, 8), (6, 3, 4, 4), (2, 3, 8, 8)]
    assert h.flatten().tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10]
    assert z is h


def test_one_tensor_is_one_view():
    encoder = build_encoder("small_cnn", output_dim=5, prediction_head=True, in_channels=1).eval()
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for one, listed in zip(encoder(images), encoder([images]), strict=True):
        assert one.shape == (3, 5)
        assert torch.equal(one, listed)


def test_stored_features_go_through_the_same_encoder():
    encoder = Encoder(nn.Identity(), projection_head(6, 4), prediction_head(4))
    assert (encoder.feature_dim, encoder.output_dim) == (6, 4)
    views = [torch.randn(3, 6, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    h, z = encoder(views)
    joined_h, joined_z = encoder(torch.cat(views))
    torch.testing.assert_close(h, joined_h)
    torch.testing.assert_close(z, joined_z)
    assert h.shape == z.shape == (9, 4)


def test_the_encoder_compiles_as_one_graph():
    encoder = build_encoder("small_cnn", output_dim=5, prediction_head=True).eval()
    views = [torch.ones(2, 3, size, size) for size in (8, 8, 6)]
    compiled = torch.compile(encoder, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(views), encoder(views))


@pytest.mark.parametrize("name", [*BACKBONES, "timm:resnet50", "timm:mobilenetv3_small_050", "test_convnext", "test_vit"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_backbone_gives_feature_dim_features_of_its_channels(name, channels):
    with torch.device("meta"):
        backbone = build_backbone(name, in_channels=channels).eval()
        features = backbone(torch.empty(2, channels, 64, 64))
    assert features.shape == (2, backbone.feature_dim)


@pytest.mark.parametrize("size", [8, 18, 28, 32])
def test_small_networks_take_small_images(size):
    for name in ("small_cnn", "wide_resnet28w2"):
        backbone = build_backbone(name, in_channels=1)
        features = backbone(torch.rand(4, 1, size, size))
        assert features.shape == (4, backbone.feature_dim)
        assert features.isfinite().all()


def test_a_transformer_takes_views_of_several_sizes():
    encoder = build_encoder("timm:test_vit", output_dim=4)  # patches of 16 pixels, made for 160 x 160
    h, _ = encoder([torch.rand(2, 3, size, size) for size in (64, 64, 40)])
    assert h.shape == (6, 4)


def test_weights_are_a_function_of_the_seed_and_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    first, again, other = (build_encoder("small_cnn", output_dim=4, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["backbone.layers.0.weight"], other["backbone.layers.0.weight"])
    assert not torch.equal(first["head.fc1.weight"], other["head.fc1.weight"])


def test_convolutions_of_resnets_start_with_the_variance_of_fan_out():
    weight = build_backbone("resnet50").layer1[0].conv2.weight  # (64, 64, 3, 3)
    assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.03)


def test_only_the_last_norm_of_the_wide_resnet_has_another_momentum():
    momenta = {
        name: module.momentum
        for name, module in build_backbone("wide_resnet28w2").named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert momenta.pop("bn1") == 0.99
    assert set(momenta.values()) == {0.1}
    assert build_backbone("wide_resnet28w2", final_bn_momentum=0.1).bn1.momentum == 0.1


@pytest.mark.parametrize("name, near", [("resnet5O", "resnet50"), ("vit_small_patch16", "vit_small_patch16_224")])
def test_an_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(InputError, match=f"unknown model '{name}'.*{near}"):
        build_backbone(name)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("timm:hf-hub:someone/something", {}, "unknown model"),  # not even a description is fetched
        ("timm:test_vit.no_such_tag", {}, "no pretrained weights for 'test_vit.no_such_tag'.*r160_in1k"),
        ("wide_resnet28w2", {"pretrained": True}, "no pretrained weights for 'wide_resnet28w2'"),
        ("wide_resnet28w2", {"dropout": 0.1}, "no option dropout; it has: in_channels, final_bn_momentum"),
        ("timm:test_vit", {"dropout": 0.1}, "test_vit.*dropout"),
    ],
)
def test_impossible_wishes_are_named(name, options, message):
    with pytest.raises(InputError, match=message):
        build_backbone(name, **options)


@pytest.mark.parametrize("classifier", ["projection", "backbone"])
def test_a_classifier_starts_at_equal_probabilities(classifier):
    images = torch.rand(4, 3, 8, 8)
    _, logits = build_classifier("small_cnn", 7, classifier=classifier)(images)
    assert torch.equal(logits, torch.zeros(4, 7))
    _, logits = build_classifier("small_cnn", 7, classifier=classifier, zero_init=False)(images)
    assert logits.std() > 0


def test_a_classifier_stands_on_the_first_layer_of_the_projection_head():
    encoder = build_encoder("small_cnn", output_dim=4, hidden_dim=32).eval()
    tuned = classifier_from(encoder, 7, zero_init=False).eval()
    images = torch.rand(4, 3, 8, 8)
    hidden = encoder.head.relu1(encoder.head.bn1(encoder.head.fc1(encoder.backbone(images))))
    torch.testing.assert_close(tuned(images)[1], tuned.head.fc2(hidden))
    fresh = build_classifier("small_cnn", 7, hidden_dim=32)
    assert list(tuned.state_dict()) == list(fresh.state_dict())
    assert (tuned.feature_dim, tuned.output_dim) == (encoder.feature_dim, 7)


def test_a_classifier_on_the_backbone_leaves_the_projection_head_out():
    encoder = build_encoder("small_cnn", output_dim=4).eval()
    tuned = classifier_from(encoder, 7, classifier="backbone", zero_init=False).eval()
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(tuned(images)[1], tuned.head(encoder.backbone(images)))
    with pytest.raises(InputError, match="unknown classifier 'head'"):
        classifier_from(encoder, 7, classifier="head")
