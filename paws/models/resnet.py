"""Residual networks with bottleneck blocks, of any width: torchvision's block in a trunk whose stem widens as well."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

EXPANSION = 4  # of torchvision's Bottleneck


class ResNet(nn.Module):
    """(N, in_channels, H, W) -> (N, 2048 * width); the stride is in the 3x3 convolutions ("v1.5")."""

    def __init__(self, blocks: tuple[int, int, int, int], width: int = 1, in_channels: int = 3) -> None:
        super().__init__()
        planes = 64 * width
        self.conv1 = nn.Conv2d(in_channels, planes, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(planes, planes, blocks[0], stride=1)
        self.layer2 = _stage(planes * EXPANSION, planes * 2, blocks[1], stride=2)
        self.layer3 = _stage(planes * 2 * EXPANSION, planes * 4, blocks[2], stride=2)
        self.layer4 = _stage(planes * 4 * EXPANSION, planes * 8, blocks[3], stride=2)
        self.feature_dim = planes * 8 * EXPANSION
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, C, H, W) -> (N, 64w, H/4, W/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # -> (N, 2048w, H/32, W/32)
        return x.mean((2, 3))  # -> (N, 2048w)


def _stage(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    from torchvision.models.resnet import Bottleneck  # only here, as torchvision takes long to import

    out_planes = planes * EXPANSION
    downsample = nn.Sequential(nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False), nn.BatchNorm2d(out_planes))
    rest = [Bottleneck(out_planes, planes) for _ in range(blocks - 1)]
    return nn.Sequential(Bottleneck(in_planes, planes, stride, downsample), *rest)


resnet50 = partial(ResNet, (3, 4, 6, 3))
resnet101 = partial(ResNet, (3, 4, 23, 3))
resnet152 = partial(ResNet, (3, 8, 36, 3))
resnet200 = partial(ResNet, (3, 24, 36, 3))
resnet50w2 = partial(resnet50, width=2)
resnet50w4 = partial(resnet50, width=4)
