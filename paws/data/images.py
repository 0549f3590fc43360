"""Decoding image files of any raster format to uint8 RGB or grey.

Grey, palette, CMYK and 16-bit images are converted, transparent pixels become white, of an animation the first picture is
used, and the orientation that a camera noted is applied. Large JPEG files are decoded at a reduced scale where the caller
needs no more, which costs a fraction of the time.
"""

from __future__ import annotations

import hashlib
import io
import os
import reprlib
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader

from paws.data.formats import HEIC_HINT, decoders, is_heic
from paws.data.levels import Range, extremes, range_of, to_levels
from paws.errors import InputError

MAX_PIXELS = 100_000_000  # decoded pixels of one image: 300 MB
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (5, 6, 7, 8)  # orientations that swap width and height


def content_of(data: bytes) -> str:
    """Names the bytes of a file: 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class ImageFile:
    """An image file. Of a JPEG only the header is decoded at first, so that it can be decoded at a reduced scale.

    ``height`` and ``width`` are those of the upright image, ``content`` names the bytes of the file. Whatever is wrong with
    the file is an InputError naming it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        with _reading(path):
            data = file_bytes(path)
            if not data:
                raise ValueError("the file is empty")
            self.content = content_of(data)
            # Image.open refuses huge images by their header, before a JPEG could be decoded at a reduced scale
            jpeg = data[:2] == b"\xff\xd8"
            self._image = JpegImagePlugin.JpegImageFile(io.BytesIO(data)) if jpeg else _opened(data)
            if not jpeg:  # before the orientation is read: of TIFF Pillow turns the pixels itself as it decodes them
                _check_size(self._image)
                self._image.load()
            self._orientation = _orientation(self._image)
            width, height = self._image.size
            self.height, self.width = (width, height) if self._orientation in LYING else (height, width)

    @property
    def extremes(self) -> Range | None:
        """The least and the largest value of pixels of more than 8 bits; None where they have 8 or less."""
        return extremes(np.asarray(self._image)) if _is_wide(self._image) else None

    def decode(self, channels: int = 3, max_reduction: float = 1.0, values: Range | None = None) -> Tensor:
        """The pixels upright, uint8 (channels, h, w) laid out channels last; ``channels`` is 3 (RGB) or 1 (grey).

        The sides may be up to ``max_reduction`` times smaller than ``width`` and ``height`` (JPEG only). ``values`` of pixels
        of more than 8 bits become black and white; without it the bits that this image uses decide. Call it once.
        """
        with _reading(self.path):
            image: Image.Image = self._image
            if isinstance(image, JpegImagePlugin.JpegImageFile):
                shrink = max(_allowed(max_reduction), _needed(image.width * image.height))
                if shrink > 1:
                    image.draft(None, (max(1, image.width // shrink), max(1, image.height // shrink)))
                _check_size(image)
            return _upright(image, self._orientation, channels, values)


def file_bytes(path: str | Path) -> bytes:
    """What a plain file holds; of a pipe or a device nobody knows when it ends. Raises OSError, ValueError where it is none."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no plain file")
    return Path(path).read_bytes()


def read_image(path: str | Path, channels: int = 3, values: Range | None = None) -> Tensor:
    """The image in a file at full size: uint8 (channels, H, W). Raises InputError naming a file that is not readable."""
    return ImageFile(path).decode(channels, values=values)


def as_pixels(image: Image.Image | np.ndarray, values: Range | None = None) -> Tensor:
    """A Pillow image, or a uint8 array (H, W), (H, W, 1) or (H, W, 3), as uint8 RGB (3, H, W); the image stays as it is.

    ``values``: as in `ImageFile.decode`.

    Raises:
        InputError: an array of another dtype or shape, or an image that is not readable.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
            raise InputError(f"an array of {image.dtype} {image.shape}: an image is uint8 (H, W), (H, W, 1) or (H, W, 3)")
        if not image.size:
            raise InputError(f"an array of shape {image.shape} holds no pixel")
        return torch.from_numpy(np.array(image)).view(*image.shape[:2], -1).permute(2, 0, 1).expand(3, -1, -1)
    if not isinstance(image, Image.Image):
        raise InputError(f"{reprlib.repr(image)}: expected a path, a Pillow image or a uint8 array (H, W[, 3])")
    if not all(image.size):
        raise InputError(f"a Pillow image of {image.width} x {image.height} holds no pixel")
    with _reading(getattr(image, "filename", "") or "a Pillow image"):
        image.load()  # of TIFF Pillow turns the pixels as it decodes them, and drops the note about the orientation
        return _upright(image, _orientation(image), 3, values)


def size_of(picture: str | Path | Image.Image | np.ndarray) -> tuple[int, int]:
    """Width and height of a file, by its header alone and before it is turned upright, of a Pillow image or an array.

    Raises:
        InputError: it is not readable.
    """
    if not isinstance(picture, str | Path):
        height, width = as_pixels(picture).shape[1:]
        return width, height
    with _reading(picture), Image.open(picture, formats=decoders()) as image:
        return image.size


@dataclass(frozen=True)
class Inspected:
    """What one decode of a file tells: ``fault``, a message, where it cannot be read."""

    fault: str | None = None
    content: str = ""  # names the bytes of the file
    extremes: Range | None = None  # least and largest value of its pixels, where they have more than 8 bits


def inspect_images(
    paths: Sequence[str], workers: int = 0, advance: Callable[[int], None] = lambda count: None
) -> list[Inspected]:
    """Decode every file once (JPEG at an eighth of its size). ``advance`` is told how many more were decoded."""
    loader: DataLoader[list[Inspected]] = DataLoader(_Files(paths), batch_size=64, collate_fn=list, num_workers=workers)  # type: ignore[arg-type]
    found: list[Inspected] = []
    for batch in loader:
        found += batch
        advance(len(batch))
    return found


class _Files:
    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Inspected:
        try:
            file = ImageFile(self.paths[index])
            file.decode(max_reduction=8)
        except InputError as error:
            return Inspected(str(error))
        return Inspected(None, file.content, file.extremes)


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; what matters is whether pixels come out
            yield
    except UnidentifiedImageError:
        raise InputError(f"{path}: cannot be read as an image (unknown or broken format)") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: cannot be read as an image (it has too many pixels; make the image smaller)") from None
    except Exception as error:  # decoders raise almost anything on broken data
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read as an image ({why})") from None


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=decoders())
    except UnidentifiedImageError:
        if is_heic(data):
            raise ValueError(f"a HEIC picture; {HEIC_HINT}") from None
        raise


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are too many; make the image smaller")


def _upright(image: Image.Image, orientation: int, channels: int, values: Range | None) -> Tensor:
    image = _to_mode(image, "RGB" if channels == 3 else "L", values)
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
    return torch.from_numpy(np.array(image)).view(image.height, image.width, channels).permute(2, 0, 1)


def _allowed(max_reduction: float) -> int:
    """The JPEG decoder can divide the sides by 1, 2, 4 or 8."""
    return next((n for n in (8, 4, 2) if n <= max_reduction), 1)


def _needed(pixels: int) -> int:
    return next((n for n in (1, 2, 4) if pixels <= MAX_PIXELS * n * n), 8)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken note about the orientation is no note
        return 1


def _is_wide(image: Image.Image) -> bool:
    return image.mode.startswith("I")  # 16 bits of grey, in a 16 or 32-bit mode, or 32


def _to_mode(image: Image.Image, mode: str, limits: Range | None) -> Image.Image:
    """``image`` decoded, as "RGB" or "L"."""
    if _is_wide(image):
        values = np.asarray(image)
        image = Image.fromarray(to_levels(values, limits or range_of([extremes(values)]) or (0, 255)))
    elif image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; convert the image to 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return image if image.mode == mode else image.convert(mode)


def open_image(path: str | Path, side: int) -> Image.Image:
    """The picture in a file, a large JPEG decoded at a reduced scale, whose shorter side is ``side`` pixels or more.

    Raises InputError when it cannot be read.
    """
    file = ImageFile(path)
    pixels = file.decode(max_reduction=min(file.height, file.width) / side)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
