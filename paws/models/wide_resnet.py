"""Wide residual network with pre-activation blocks (arXiv 1605.07146), the CIFAR-10 backbone of PAWS."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """bn-relu-conv-bn-relu-conv plus the raw input; the stride is in the second convolution."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, planes, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1)
        same = stride == 1 and in_planes == planes
        self.shortcut = nn.Sequential() if same else nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x), inplace=True))  # (N, in_planes, H, W) -> (N, planes, H, W)
        y = self.conv2(F.relu(self.bn2(y), inplace=True))  # -> (N, planes, H/stride, W/stride)
        return y + self.shortcut(x)


class WideResNet(nn.Module):
    """(N, in_channels, H, W) -> (N, 64 * width); ``depth`` = 6 n + 4 layers in three stages of n blocks.

    ``final_bn_momentum``: the published code has 0.99 here and 0.1 in all other layers. So this layer's running
    statistics are ~99 % those of the batch seen last, in PAWS the small views, and evaluation on whole images
    normalises by them. It is kept for agreement; 0.1 gives usual averages.
    """

    def __init__(self, depth: int = 28, width: int = 2, in_channels: int = 3, final_bn_momentum: float = 0.99) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        planes = [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(in_channels, planes[0], 3, padding=1)
        self.layer1 = _stage(planes[0], planes[1], blocks, stride=1)
        self.layer2 = _stage(planes[1], planes[2], blocks, stride=2)
        self.layer3 = _stage(planes[2], planes[3], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(planes[3], momentum=final_bn_momentum)
        self.feature_dim = planes[3]

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))  # (N, C, H, W) -> (N, D, H/4, W/4)
        return F.relu(self.bn1(x), inplace=True).mean((2, 3))  # -> (N, D)


def _stage(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    rest = [Block(planes, planes, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(in_planes, planes, stride), *rest)


def wide_resnet28w2(in_channels: int = 3, final_bn_momentum: float = 0.99) -> WideResNet:
    """WRN-28-2, 128 features, 1.5 M parameters."""
    return WideResNet(28, 2, in_channels, final_bn_momentum)
