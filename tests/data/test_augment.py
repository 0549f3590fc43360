"""Every augmentation against torchvision's functional kernel at the same parameters."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from paws.data import colour, geometry
from paws.data.views import MultiCrop, train_view
from paws.seeds import generator, uniform

N = 6


def pictures(channels: int = 3, size: int = 32, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    smooth = torch.rand(N, channels, 7, 7, generator=generator("pictures"), dtype=dtype)
    images = torch.nn.functional.interpolate(smooth, size=(size, size), mode="bicubic").clamp(0, 1)
    return (images + 0.1 * torch.rand(images.shape, generator=generator("noise"), dtype=dtype)).clamp(0, 1)


def one_by_one(images: torch.Tensor, kernel) -> torch.Tensor:
    return torch.stack([kernel(image, i) for i, image in enumerate(images)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "scale"), [(32, (0.75, 1)), (18, (0.3, 0.75)), (9, (0.05, 0.14)), (48, (0.5, 1)), (200, (0.5, 1))]
)
def test_resized_crop_equals_torchvision(channels, size, scale):
    images = pictures(channels)
    boxes = geometry.crop_boxes(N, 32, 32, scale, (3 / 4, 4 / 3), generator("boxes"))
    flips = torch.arange(N) % 2 == 0

    def reference(image, i):
        top, left, height, width = boxes[i].tolist()
        out = tv.resized_crop(image, top, left, height, width, [size, size], antialias=True)
        return tv.horizontal_flip(out) if flips[i] else out

    expected = one_by_one(images, reference)
    torch.testing.assert_close(geometry.resized_crop(images, boxes, size, flips), expected, rtol=0, atol=1e-5)
    levels = (images * 255).round().byte()
    ours = geometry.resized_crop(levels, boxes, size, flips) * 255
    assert (ours.round() - one_by_one(levels, reference)).abs().max() <= 1


def test_crop_boxes_lie_inside_and_keep_scale_and_ratio():
    boxes = geometry.crop_boxes(2000, 40, 60, (0.2, 0.6), (3 / 4, 4 / 3), generator("many"))
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 40).all() and (left + width <= 60).all()
    share = height * width / 2400
    assert 0.17 < share.min() < 0.25 and 0.55 < share.max() < 0.63 and abs(share.mean() - 0.4) < 0.02
    assert (width / height).min() > 0.7 and (width / height).max() < 1.43
    assert len(boxes.unique(dim=0)) > 1500


def test_crop_boxes_fall_back_to_the_centre():
    boxes = geometry.crop_boxes(3, 10, 100, (0.9, 1.0), (3 / 4, 4 / 3), generator("never fits"))
    assert boxes.tolist() == [[0, 43, 10, 13]] * 3


FACTORS = torch.tensor([0.3, 0.6, 0.9, 1.0, 1.3, 1.6])
SHIFTS = torch.tensor([-0.5, -0.2, -0.01, 0.0, 0.13, 0.5])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (colour.brightness, tv.adjust_brightness, FACTORS),
        (colour.contrast, tv.adjust_contrast, FACTORS),
        (colour.saturation, tv.adjust_saturation, FACTORS),
        (colour.hue, tv.adjust_hue, SHIFTS),
        (colour.solarize, tv.solarize, FACTORS / 2),
    ],
)
def test_colour_kernels_equal_torchvision(ours, theirs, values, channels):
    images = pictures(channels)
    expected = one_by_one(images, lambda image, i: theirs(image, values[i].item()))
    torch.testing.assert_close(ours(images, values), expected, rtol=0, atol=1e-5)


def test_hue_of_grey_black_and_pure_colours():
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1]]).float().view(N, 3, 1, 1)
    expected = one_by_one(colours, lambda image, i: tv.adjust_hue(image, SHIFTS[i].item()))
    torch.testing.assert_close(colour.hue(colours, SHIFTS), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_equalize_equals_torchvision_on_levels(channels):
    levels = (pictures(channels) * 255).round().byte()
    levels[0] = 7  # a single level stays
    levels[1, :, :2] = 255
    ours = (colour.equalize(levels.float() / 255) * 255).round().byte()
    assert torch.equal(ours, torch.stack([tv.equalize(image) for image in levels]))


@pytest.mark.parametrize("widest", [0.1, 0.6, 1.1, 2.0])  # taps that are next to nothing are left out
def test_blur_equals_torchvision(widest):
    images, sigmas = pictures(), torch.tensor([0.1, 0.5, 0.9, 1.3, 1.7, 2.0]).clamp(max=widest)
    expected = one_by_one(images, lambda image, i: tv.gaussian_blur(image, [13, 13], [sigmas[i].item()] * 2))
    torch.testing.assert_close(colour.blur(images, sigmas), expected, rtol=0, atol=1e-5)


def test_grayscale_equals_torchvision():
    images = pictures()
    expected = one_by_one(images, lambda image, _: tv.rgb_to_grayscale(image, 3))
    torch.testing.assert_close(colour.grayscale(images.clone(), 1.0, generator=generator(0)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [8, 31])
def test_affine_equals_torchvision(size):
    images = pictures(1, size)
    degrees, scale = torch.tensor([0.0, 10, -15, 90, 3, -40]), torch.tensor([1.0, 0.8, 1.2, 1, 0.6, 1.1])
    shift = torch.tensor([[0.0, 0], [1, -2], [0, 2], [-1, 0], [2, 2], [-2, 1]])

    def reference(image, i):
        moves = shift[i].tolist()
        return tv.affine(image, degrees[i].item(), moves, scale[i].item(), [0.0, 0.0], tv.InterpolationMode.BILINEAR)

    torch.testing.assert_close(geometry.affine(images, degrees, shift, scale), one_by_one(images, reference), rtol=0, atol=1e-4)


def test_colour_jitter_draws_an_order_and_factors_for_every_image():
    images = pictures()[:1].repeat(64, 1, 1, 1)
    out = colour.colour_jitter(images.clone(), 0.5, generator=generator("jitter"))
    untouched = (out == images).all(dim=3).all(dim=2).all(dim=1).sum()
    assert 4 <= untouched <= 24  # a fifth of 64 on average
    assert len(out.flatten(1).unique(dim=0)) == 64 - untouched + 1


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_applies_what_it_draws_in_the_order_it_draws(channels):
    images, strength = pictures(channels).repeat(8, 1, 1, 1), 0.5
    out = colour.colour_jitter(images.clone(), strength, generator=generator("orders"))
    draws = generator("orders")  # the same draws, applied image by image
    factors = [uniform(len(images), 0.6, 1.4, draws) for _ in range(3)]
    factors.append(uniform(len(images), -0.1, 0.1, draws))
    orders = torch.rand(len(images), 4, generator=draws).argsort(1).tolist()
    jittered = torch.rand(len(images), generator=draws) < 0.8
    kernels = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    assert len(set(map(tuple, orders))) > 12

    def reference(image, i):
        for operation in orders[i] if jittered[i] else []:
            image = kernels[operation](image, factors[operation][i].item())
        return image

    torch.testing.assert_close(out, one_by_one(images, reference), rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", ["imagenet", "cifar", "grey", "digits"])
def test_views_are_a_function_of_the_generator(preset):
    channels = 1 if preset in ("grey", "digits") else 3
    statistics = ((0.5,) * channels, (0.25,) * channels)
    large, small = (train_view(preset, size, (0.5, 1), 0.5, *statistics) for size in (32, 18))
    images = (pictures(channels) * 255).byte()
    views = MultiCrop(large, small, 2, 3)
    first, again, other = (views(images, generator(key)) for key in ("a", "a", "b"))
    assert [tuple(view.shape) for view in first] == [(N, channels, 32, 32)] * 2 + [(N, channels, 18, 18)] * 3
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[0], first[1])
    assert all(view.isfinite().all() and view.abs().max() < 2 + 1e-4 for view in first)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_the_same_by_operation_and_in_order(channels):
    images = torch.rand(40, channels, 9, 9, generator=generator("jittered"))
    order = torch.rand(40, 4, generator=generator("order")).argsort(1)
    order[:7] = 4  # no operation at all
    factors = [uniform(40, 0.5, 1.5, generator("factor", place)) for place in range(3)]
    factors = torch.stack([*factors, uniform(40, -0.2, 0.2, generator("hue"))], 1)
    found = colour._in_order(images.clone(), order, factors)
    assert torch.equal(found, colour._by_operation(images, order, factors))
    assert torch.equal(found[:7], images[:7]) and not torch.equal(found, images)


def test_images_are_the_same_alone_and_among_many():
    images = torch.rand(2 * colour.BLOCK // 300, 3, 10, 10, generator=generator("many"))  # a CPU works on parts of them
    rows, factors = torch.arange(1, len(images)), uniform(len(images), 0.5, 1.5, generator("factors"))
    found = colour._on_some(images.clone(), rows, colour.contrast, factors[rows])
    for image in (0, 1, len(images) // 2, len(images) - 1):
        alone = images[image : image + 1]
        expected = colour.contrast(alone.clone(), factors[image : image + 1]) if image else alone
        torch.testing.assert_close(found[image : image + 1], expected)
