"""A network for images of 32 to 64 pixels that a few thousand of them train from random weights on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

WIDTHS = (1, 2, 2, 4, 4, 4)  # of the convolutions, in units of ``width``
POOLED = (0, 2, 4)  # convolutions with a max-pool behind them


class PlainCNN(nn.Module):
    """(N, in_channels, H, W) -> (N, 4 * width): six 3x3 convolutions, three max-pools and an average."""

    def __init__(self, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        planes = in_channels
        for i, factor in enumerate(WIDTHS):
            layers += [nn.Conv2d(planes, factor * width, 3, padding=1, bias=False), nn.BatchNorm2d(factor * width)]
            layers += [nn.ReLU(inplace=True), *([nn.MaxPool2d(2)] if i in POOLED else [])]
            planes = factor * width
        self.layers = nn.Sequential(*layers)
        self.feature_dim = planes

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean((2, 3))  # (N, 4w, H/8, W/8) -> (N, 4w)
