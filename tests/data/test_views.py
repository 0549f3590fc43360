"""Views: what each preset does, how often, to which images, and what evaluation sees."""

from functools import partial

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from paws.data import colour, geometry
from paws.data.views import EvalView, MultiCrop, View, basic_view, eval_view, train_view
from paws.seeds import generator

GREY = ((0.0,), (1.0,))
RGB = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def levels(count: int, channels: int, size: int) -> torch.Tensor:
    return torch.randint(256, (count, channels, size, size), generator=generator("levels"), dtype=torch.uint8)


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return ((before - after).abs() > 1e-5).flatten(1).any(1)


def test_presets_are_the_published_pipelines():
    def probabilities(view: View) -> tuple[float, ...]:
        return view.flip, view.jitter, view.grayscale, view.blur, view.solarize, view.equalize

    imagenet, cifar = (train_view(preset, 32, (0.14, 1), 0.5, *RGB) for preset in ("imagenet", "cifar"))
    assert probabilities(imagenet) == (0.5, 0.5, 0.2, 0.5, 0, 0)
    assert probabilities(cifar) == (0.5, 0.5, 0, 0, 0.2, 0.2)
    assert basic_view("imagenet", 224, *RGB).scale == (0.08, 1) and basic_view("cifar", 32, *RGB).scale is None
    assert eval_view("imagenet", 224, *RGB).resize == 256 and eval_view("cifar", 32, *RGB).resize == 32


@pytest.mark.parametrize(
    ("operation", "probability"),
    [(colour.grayscale, 0.2), (partial(colour.gaussian_blur, sigma=(0.5, 2.0)), 0.5), (colour.random_equalize, 0.2)],
)
def test_operations_apply_to_their_share_of_the_images(operation, probability):
    images = levels(1000, 3, 17).float() / 255  # equalising needs more than 255 pixels
    shares = [changed(images, operation(images.clone(), generator=generator(seed))).float().mean() for seed in (0, 1)]
    assert all(abs(share - probability) < 0.05 for share in shares)  # three standard deviations
    certain = operation(images.clone(), 1.0, generator=generator(0))
    assert changed(images, certain).all() and not changed(images, operation(images.clone(), 0.0, generator=generator(0))).any()


def test_solarize_thresholds_cover_the_levels():
    ramp = torch.arange(256).view(1, 1, 16, 16).repeat(1000, 1, 1, 1) / 255
    out = colour.random_solarize(ramp.clone(), 1.0, generator=generator("thresholds"))
    inverted = (out != ramp).flatten(1)  # every level but none equals its own inverse
    thresholds = torch.where(inverted.any(1), inverted.int().argmax(1), 256).float()
    assert thresholds.quantile(torch.tensor([0.1, 0.5, 0.9])).sub(torch.tensor([25.6, 128, 230.4])).abs().max() < 12
    assert torch.equal(out[inverted.any(1)][:, 0, 15, 15], torch.zeros(int(inverted.any(1).sum())))


@pytest.mark.parametrize("scale", [None, (1.0, 1.0)])
def test_half_of_the_views_are_mirrored(scale):
    images = levels(1000, 1, 6)
    out = View(6, *GREY, scale=scale, flip=0.5).geometry(images, generator("flips"))
    images = images.float() / 255
    if scale is None:
        mirrored, same = changed(images, out), changed(images.flip(3), out)
        out[mirrored] = out[mirrored].flip(3)
        torch.testing.assert_close(out, images)
        assert (mirrored | same).all() and 0.45 < mirrored.float().mean() < 0.55
    else:
        closer = (out - images).abs().sum((1, 2, 3)) > (out - images.flip(3)).abs().sum((1, 2, 3))
        assert 0.45 < closer.float().mean() < 0.55


def test_digits_are_never_mirrored_and_all_are_moved():
    view = train_view("digits", 8, (0.9, 1.1), 0.0, *GREY)
    assert view.flip == 0 and basic_view("digits", 8, *GREY).flip == 0
    left = torch.zeros(200, 1, 8, 8)
    left[..., 2:6, :4] = 1.0  # mass on the left stays on the left
    out = view(left, generator("digits"))
    assert (out[..., :4].sum((1, 2, 3)) > out[..., 4:].sum((1, 2, 3))).all()
    assert len(out.flatten(1).unique(dim=0)) == 200


def test_views_of_many_images_keep_their_order():
    images = levels(geometry.BLOCK // 16 + 3, 1, 4)  # a CPU crops some after the others
    first, second, small = MultiCrop(View(4, *GREY), View(2, *GREY), 2, 1)(images, generator(0))
    torch.testing.assert_close(first, images.float() / 255)
    assert torch.equal(first, second)
    torch.testing.assert_close(small, tv.resize(images.float() / 255, [2, 2], antialias=True))


@pytest.mark.parametrize("preset", ["imagenet", "cifar", "grey", "digits"])
@pytest.mark.parametrize("channels", [1, 3])
def test_float64_stays_and_the_images_are_not_changed(preset, channels):
    images = levels(12, channels, 20).double() / 255
    before = images.clone()
    views = train_view(preset, 16, (0.5, 1), 0.5, (0.5,) * channels, (0.25,) * channels)
    out = views(images, generator("double"))
    assert out.dtype == torch.float64 and torch.equal(images, before)
    torch.testing.assert_close(out.float(), views(images.float(), generator("double")), rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(40, 40), (40, 57), (61, 44)])
@pytest.mark.parametrize(("size", "resize"), [(28, 32), (32, 32), (48, 55)])
def test_evaluation_equals_resize_and_centre_crop(shape, size, resize):
    images = torch.randint(256, (3, 3, *shape), generator=generator("eval"), dtype=torch.uint8)
    expected = tv.center_crop(tv.resize(images.double() / 255, [resize], antialias=True), [size, size])
    expected = tv.normalize(expected, list(RGB[0]), list(RGB[1])).float()
    torch.testing.assert_close(EvalView(size, resize, *RGB)(images), expected, rtol=0, atol=1e-4)


def test_evaluation_leaves_the_images_as_they_are():
    images = levels(2, 3, 8).float() / 255
    before = images.clone()
    EvalView(8, 8, *RGB)(images)
    assert torch.equal(images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("preset", ["imagenet", "cifar", "digits"])
def test_views_on_a_gpu_equal_those_on_the_cpu_and_never_wait_for_it(preset):
    images = levels(64, 3, 32)
    views = MultiCrop(*(train_view(preset, size, (0.5, 1), 0.5, *RGB) for size in (32, 18)), 2, 3)
    there = images.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = views(there, generator("gpu"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for view, expected in zip(out, views(images, generator("gpu")), strict=True):
        # a value at a threshold may fall to either side
        assert (view.cpu() - expected).abs().gt(1e-3).float().mean() < 0.01
