"""Any image file becomes the same uint8 pixels, and a broken one is named."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paws.data.images import ImageFile, check_images, find_images, read_image
from paws.errors import InputError


def gradient(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), 255 - x * 255 // (width - 1)], 2).astype(np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def pixels(path: Path, channels: int = 3) -> np.ndarray:
    return read_image(path, channels).permute(1, 2, 0).numpy()


def test_rgb_png_is_read_exactly(tmp_path):
    rgb = gradient()
    np.testing.assert_array_equal(pixels(save(tmp_path / "a.png", Image.fromarray(rgb))), rgb)


def test_grey_becomes_three_equal_channels_and_rgb_becomes_grey(tmp_path):
    rgb = gradient()
    grey = np.array(Image.fromarray(rgb).convert("L"))
    path = save(tmp_path / "grey.png", Image.fromarray(grey))
    np.testing.assert_array_equal(pixels(path), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(pixels(save(tmp_path / "rgb.png", Image.fromarray(rgb)), 1)[..., 0], grey)


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    wide = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        path = save(tmp_path / name, Image.fromarray(wide))
        np.testing.assert_array_equal(pixels(path, 1)[..., 0], wide >> 8)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGB", "L"])
def test_jpeg_modes(tmp_path, mode):
    image = Image.fromarray(gradient())
    path = save(tmp_path / "a.jpg", image.convert(mode), quality=100, subsampling=0)
    expected = np.array(image.convert("L").convert("RGB") if mode == "L" else image).astype(int)
    assert np.abs(pixels(path).astype(int) - expected).max() <= 6


def test_transparent_pixels_become_white(tmp_path):
    rgba = np.dstack([gradient(), np.full((40, 60), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    found = pixels(save(tmp_path / "a.png", Image.fromarray(rgba)))
    assert (found[:10] == 255).all()
    np.testing.assert_array_equal(found[10:], rgba[10:, :, :3])


def test_palette_with_transparency_and_the_first_frame_of_an_animation(tmp_path):
    red, blue = (Image.new("P", (8, 8), 1) for _ in range(2))
    red.putpalette([0, 0, 0, 255, 0, 0])
    blue.putpalette([0, 0, 0, 0, 0, 255])
    path = tmp_path / "a.gif"
    red.save(path, save_all=True, append_images=[blue], transparency=0, duration=100)
    assert (pixels(path) == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_orientation_is_applied(tmp_path, orientation, kind):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{kind}", Image.fromarray(gradient()), exif=exif)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(pixels(path), expected)
    file = ImageFile(path)
    assert (file.height, file.width) == expected.shape[:2]


@pytest.mark.parametrize(("allowed", "side"), [(1, 801), (1.9, 801), (2, 401), (5, 201), (8, 101), (100, 101)])
def test_jpeg_is_reduced_as_far_as_allowed(tmp_path, allowed, side):
    path = save(tmp_path / "a.jpg", Image.fromarray(gradient(801, 801)), quality=95)
    reduced = ImageFile(path).decode(max_reduction=allowed)
    assert reduced.shape == (3, side, side)
    full = read_image(path).float()
    shrunk = torch.nn.functional.interpolate(full[None], (side, side), mode="area")[0]
    assert (reduced.float() - shrunk).abs().max() < 8  # 801 is no multiple of 8: shifted by parts of a pixel


def test_huge_jpeg_is_reduced_to_what_memory_allows_and_other_formats_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("paws.data.images.MAX_PIXELS", 10_000)
    image = Image.fromarray(gradient(300, 300))
    assert read_image(save(tmp_path / "a.jpg", image)).shape == (3, 75, 75)
    with pytest.raises(InputError, match=r"a\.png.*too many"):
        read_image(save(tmp_path / "a.png", image))


def test_header_that_promises_a_billion_pixels_is_refused(tmp_path):
    png = io.BytesIO()
    Image.new("L", (4, 4)).save(png, "PNG")
    data = bytearray(png.getvalue())
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(InputError, match=r"bomb\.png"):
        read_image(tmp_path / "bomb.png")


def test_broken_files_are_named(tmp_path):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for name in ("a.jpg", "a.png", "a.gif", "a.webp", "a.bmp", "a.tif"):
        path = save(tmp_path / name, noise)
        whole = path.read_bytes()
        for size in (0, 1, 10, len(whole) // 2):
            path.write_bytes(whole[:size])
            with pytest.raises(InputError, match=name):
                read_image(path)
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.jpg"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(InputError, match=r"absent\.jpg"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(InputError):
        read_image(tmp_path)


def test_floating_point_pixels_are_refused_with_advice(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(InputError, match="8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("workers", [0, 2])
def test_check_lists_the_broken_ones(tmp_path, workers):
    good = [str(save(tmp_path / f"{i}.jpg", Image.fromarray(gradient(9 + i, 5)))) for i in range(5)]
    (tmp_path / "bad.jpg").write_bytes(Path(good[0]).read_bytes()[:-100])
    (tmp_path / "empty.png").touch()
    found = check_images([*good[:2], str(tmp_path / "bad.jpg"), *good[2:], str(tmp_path / "empty.png")], workers)
    assert sorted(found) == [2, 6]
    assert "bad.jpg" in found[2] and "empty" in found[6]


def test_find_images(tmp_path):
    names = ["b/2.JPG", "a/ü ber/x y.png", "a/1.jpeg", "a b/猫.webp", "top.tiff"]
    for name in [*names, "a/readme.txt", "a/.hidden.jpg", ".cache/1.jpg", "b/nosuffix"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "dir.jpg").mkdir()
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/up").symlink_to(tmp_path / "a/ü ber")
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "gone.jpg")
    assert find_images(tmp_path) == sorted(names)


def test_find_follows_links_out_of_the_root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "else/1.jpg").touch()
    (tmp_path / "root/linked").symlink_to(tmp_path / "else")
    assert find_images(tmp_path / "root") == ["linked/1.jpg"]


def test_find_names_a_missing_or_unreadable_root(tmp_path):
    with pytest.raises(InputError, match="gone"):
        find_images(tmp_path / "gone")
    if os.getuid():
        (tmp_path / "shut").mkdir(mode=0)
        with pytest.raises(InputError, match="shut"):
            find_images(tmp_path)
