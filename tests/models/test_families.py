"""One small model of each family of timm as a backbone, with a file of random weights of the whole network, head included."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from paws.models.sources import frozen_backbone

QUICK = (  # classifiers with a norm beside them, two classifiers, and a size that is fixed
    ("levit_128s", 224),
    ("repvit_m0_9", 224),
    ("deit_tiny_distilled_patch16_224", 224),
    ("swinv2_tiny_window8_256", 256),
)
FAMILIES = [
    "beit_base_patch16_224",
    "halonet26t",
    "mobileone_s0",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "crossvit_tiny_240",
    "cs3darknet_s",
    "davit_tiny",
    "densenet121",
    "dla34",
    "dpn68",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "test_efficientnet",
    "efficientvit_b0",
    "efficientvit_m0",
    "eva02_tiny_patch14_224",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "hardcorenas_a",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "sam2_hiera_tiny",
    "hrnet_w18_small",
    "inception_next_atto",
    "inception_v3",
    "mambaout_femto",
    "test_maxvit",
    "caformer_s18",
    "gmixer_12_224",
    "mobilenetv4_conv_small_050",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "test_nfnet",
    "pit_xs_224",
    "pit_xs_distilled_224",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnety_002",
    "repghostnet_050",
    "res2net50_26w_4s",
    "resnest14d",
    "test_resnet",
    "resnetv2_18",
    "rexnetr_150",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "vgg11",
    "visformer_tiny",
    "test_vit",
    "vit_tiny_r_s16_p8_224",
    "test_vit_relpos",
    "vitamin_small_224",
    "volo_d1_224",
    "vovnet39a",
    "legacy_xception",
    "xception41",
    "xcit_nano_12_p16_224",
]


def check(name: str, folder: Path) -> int:
    """Features of two pictures are numbers; the size that the network wants."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        whole = timm.create_model(name)
    path = folder / "weights.safetensors"
    save_file({key: value.contiguous().clone() for key, value in whole.state_dict().items()}, path)
    frozen = frozen_backbone(name, path)
    pictures = torch.stack([torch.zeros(3, frozen.size, frozen.size), torch.full((3, frozen.size, frozen.size), 255.0)])
    with torch.inference_mode():
        features = frozen.model(pictures.to(torch.uint8))
    assert features.shape == (2, frozen.feature_dim)
    assert features.isfinite().all()
    return frozen.size


@pytest.mark.parametrize(("name", "size"), QUICK)
def test_a_classifier_of_any_form_is_left_out(name: str, size: int, tmp_path: Path) -> None:
    assert check(name, tmp_path) == size


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_one_of_each_family(name: str, tmp_path: Path) -> None:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    check(name, tmp_path)
