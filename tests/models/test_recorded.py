"""Networks written down as they run: they give what torch gives, for any number of images, or say that they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from paws.models import runtime
from paws.models.frozen import Frozen, Held, PixelBackbone, timm_network
from paws.models.recorded import UnknownOperation, recorded
from paws.models.sources import LAYERS, LITE


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    """EfficientNet-Lite0 with random weights, and statistics of batch norm that are not those it starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm_network(LITE)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return network


def images(count: int, size: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def around(network: nn.Module, layers: tuple[str, ...] = ()) -> PixelBackbone:
    return PixelBackbone(network, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), layers).eval().requires_grad_(False)


def run(model: nn.Module, given: Tensor, example: Tensor) -> Tensor:
    network = runtime.session(recorded(model, example).SerializeToString())
    return torch.from_numpy(network.run(["features"], {"images": given.numpy()})[0])


@pytest.mark.parametrize("size", [33, 64])
def test_efficientnet_lite_gives_the_same_as_in_torch_for_any_number_of_images(lite: nn.Module, size: int) -> None:
    model = around(lite, LAYERS[LITE])
    for count in (1, 5):
        given = images(count, size)
        torch.testing.assert_close(run(model, given, images(2, size)), model(given), rtol=1e-4, atol=1e-5)


def test_what_the_features_do_not_depend_on_is_left_out(lite: nn.Module) -> None:
    network = recorded(around(lite, LAYERS[LITE]), images(2, 32))
    assert (
        len(network.SerializeToString())
        < 4 * sum(p.numel() for name, p in lite.named_parameters() if "head" not in name) * 1.05
    )
    assert "Pad" not in {node.op_type for node in network.graph.node}


def test_its_export_does_without_torchs_exporter(lite: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWS_CACHE", str(tmp_path))
    monkeypatch.setattr(runtime, "to_onnx", None)
    frozen = Frozen(LITE, 32, (0.5,) * 3, (0.5,) * 3, "bicubic", 704, Held(lite.state_dict()), layers=LAYERS[LITE])
    torch.testing.assert_close(runtime.Runtime(frozen)(images(3, 32)), frozen.model(images(3, 32)), rtol=1e-4, atol=1e-5)


KERNEL = torch.linspace(-1, 1, 6 * 6 * 2 * 2).view(6, 6, 2, 2)


class Small(nn.Module):
    """A convolution, what ``then`` makes of it, and the means over positions."""

    def __init__(self, then: Callable[[Tensor], Tensor], **options: int) -> None:
        super().__init__()
        self.convolution, self.then = nn.Conv2d(3, 6, 3, **options), then  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.convolution(x)).mean((2, 3))


@pytest.mark.parametrize(
    "then",
    [
        lambda x: x,
        lambda x: nn.functional.hardtanh(x, -0.5, 0.5),
        lambda x: nn.functional.conv2d(nn.functional.pad(x, (0, 1, 2, 3)), KERNEL),
        lambda x: nn.functional.pad(x, (0, 1, 2, 3)),
        lambda x: torch.cat([x, x + x], 1),
    ],
)
def test_what_is_known_is_the_same_as_in_torch(then: Callable[[Tensor], Tensor]) -> None:
    model, given = around(Small(then, padding=1, stride=2, dilation=2, groups=3)), images(3, 16)
    torch.testing.assert_close(run(model, given, images(2, 16)), model(given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "then",
    [
        torch.sin,
        lambda x: x * 2,
        lambda x: torch.add(x, x, alpha=2),
        lambda x: x.split(3, 1)[1],
        lambda x: x - x.mean(0, keepdim=True),
        lambda x: x + x.mean(-4, keepdim=True),
        lambda x: torch.cat([x, x])[: len(x)],
        lambda x: nn.functional.pad(x, (0, 1), value=1.0),
        lambda x: nn.functional.conv_transpose2d(x, KERNEL),
        lambda x: nn.functional.batch_norm(x, None, None, KERNEL[:, 0, 0, 0], KERNEL[:, 0, 0, 0], training=True),
        lambda x: x.double().float(),
        lambda x: x + torch.zeros_like(x),
        lambda x: x.mul_(x),
    ],
)
def test_what_is_not_known_is_refused(then: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnknownOperation):
        recorded(around(Small(then)), images(2, 16))
