"""Any image file becomes the same uint8 pixels, and a broken one is named."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from paws.data.formats import decoders, find_images, scan_images
from paws.data.images import ImageFile, as_pixels, inspect_images, read_image
from paws.data.levels import range_of
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


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["png", "tif", "tif of 32 bits"])
def test_images_of_more_than_8_bits_are_as_bright_as_the_bits_they_use(tmp_path, bits, kind):
    ramp = np.tile(np.arange(256) << (bits - 8), (4, 1))
    path = save(tmp_path / f"a.{kind[:3]}", Image.fromarray(ramp.astype(np.int32 if "32" in kind else np.uint16)))
    assert (pixels(path, 1)[..., 0] == np.arange(256)).all()
    dark = read_image(path, 1, values=(0, 2 ** (bits + 2) - 1))  # of a folder with brighter images
    assert (dark[0].numpy() == np.arange(256) // 4).all()
    assert ImageFile(path).extremes == (0, 255 << (bits - 8))


def test_values_below_zero_and_beyond_the_range_of_the_folder(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array([[-1024, -1000, 0, 3071]], np.int32)))
    limits = range_of([ImageFile(path).extremes])
    assert limits == (-1024, 4095)
    assert pixels(path, 1)[0, :, 0].tolist() == [0, 1, 51, 204]
    assert read_image(path, 1, values=(0, 255)).flatten().tolist() == [0, 0, 0, 255]
    assert range_of([]) is None and range_of([(0, 0)]) == (0, 255) and range_of([(5, 256)]) == (0, 511)


FORMATS = [
    "avif",
    "bmp",
    "dds",
    "gif",
    "ico",
    "jfif",
    "jp2",
    "jpe",
    "jpeg",
    "jpg",
    "pbm",
    "pcx",
    "pgm",
    "png",
    "ppm",
    "qoi",
    "sgi",
    "tga",
    "tif",
    "tiff",
    "webp",
]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_raster_format_is_found_and_read_whatever_its_name(tmp_path, kind):
    image = Image.fromarray(gradient(48, 48)).convert("1" if kind == "pbm" else "L" if kind == "pgm" else "RGB")
    path = save(tmp_path / f"a.{kind.upper()}", image, **({"format": "JPEG"} if kind in ("jfif", "jpe") else {}))
    assert find_images(tmp_path) == [path.name]
    near = np.abs(pixels(path).astype(int) - np.asarray(image.convert("RGB"))).mean()
    assert near < 12
    path.rename(tmp_path / "a.png")  # the name does not decide how it is read; of TGA it must, as the file does not say
    assert pixels(tmp_path / "a.png").shape == (48, 48, 3)


@pytest.mark.parametrize("kind", ["bmp", "png", "jpg", "gif", "webp", "avif"])
def test_a_file_without_a_suffix_is_a_picture_where_it_begins_as_one(tmp_path, kind):
    save(tmp_path / f"a.{kind}", Image.fromarray(gradient(48, 48))).rename(tmp_path / "a")
    (tmp_path / "b").write_text("BMW, VW and others\n")
    listing = scan_images(tmp_path)
    assert listing.images == ["a"] and listing.passed_over == {"": 1}


def test_formats_that_start_programs_or_draw_are_never_opened(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.eps")
    Image.new("RGB", (20, 20)).save(tmp_path / "b.pdf")
    (tmp_path / "c.wmf").write_bytes(b"\xd7\xcd\xc6\x9a" + bytes(100))
    (tmp_path / "notes").write_text("P3 is no picture\n")
    listing = scan_images(tmp_path)
    assert listing.images == [] and listing.passed_over == {".eps": 1, ".pdf": 1, ".wmf": 1, "": 1}
    assert listing.told() == "4 files were passed over: .eps 1, .pdf 1, .wmf 1, without a suffix 1"
    for path in list(tmp_path.iterdir()):
        disguised = path.rename(tmp_path / f"{path.stem}.png")
        with pytest.raises(InputError, match="cannot be read as an image"):
            read_image(disguised)
    assert not set(decoders()) & {"EPS", "WMF", "PDF", "FITS", "GRIB", "HDF5", "BUFR"}


def test_a_file_without_a_suffix_is_an_image_if_it_begins_as_one(tmp_path):
    for kind in ("jpeg", "png", "gif", "webp", "avif", "jpeg2000"):
        save(tmp_path / kind, Image.fromarray(gradient()), format=kind.upper())
    save(tmp_path / "picture.bak", Image.fromarray(gradient()), format="PNG")
    assert find_images(tmp_path) == ["avif", "gif", "jpeg", "jpeg2000", "png", "webp"]
    assert scan_images(tmp_path).told() == "1 file was passed over: .bak 1"
    (tmp_path / "gone.png").symlink_to("elsewhere.png")
    (tmp_path / "gone too").symlink_to("elsewhere")
    assert scan_images(tmp_path).told() == "3 files were passed over: links to nothing 2, .bak 1"


def test_heic_names_the_package_that_opens_it(tmp_path):
    if "HEIF" in decoders():
        pytest.skip("pillow-heif is installed")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    assert scan_images(tmp_path).told() == "1 file was passed over: .heic 1 (pip install pillow-heif reads HEIC)"
    with pytest.raises(InputError, match=r"a\.heic.*pip install pillow-heif"):
        read_image(tmp_path / "a.heic")


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
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp", "avif", "tif lzw"])
def test_orientation_is_applied_once(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"compression": "tiff_lzw"} if "lzw" in kind else {}
    path = save(tmp_path / f"a.{kind[:4].strip()}", Image.fromarray(gradient()), exif=exif, **more)
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((60, 40, 3) if orientation > 4 else (40, 60, 3))
    np.testing.assert_array_equal(pixels(path), expected)
    with Image.open(path) as image:
        np.testing.assert_array_equal(as_pixels(image).permute(1, 2, 0), expected)
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
    with pytest.raises(InputError, match=r"bomb\.png: .*too many pixels; make the image smaller"):
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
    with pytest.raises(InputError, match=r"gone\.jpg: cannot be read as an image \(No such file or directory\)"):
        read_image(tmp_path / "gone.jpg")
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
    found = inspect_images([*good[:2], str(tmp_path / "bad.jpg"), *good[2:], str(tmp_path / "empty.png")], workers)
    assert [i for i, told in enumerate(found) if told.fault] == [2, 6]
    assert "bad.jpg" in found[2].fault and "empty" in found[6].fault


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
