"""Pictures for the page: any file of the folder as a small upright JPEG."""

from __future__ import annotations

import io

from PIL import Image

from paws.data.images import ImageFile

SMALL, LARGE = 288, 1200  # pixels of the longer side
QUALITY = 86


def jpeg(path: str, size: int) -> bytes:
    """The picture in a file, its longer side at most ``size`` pixels. Raises InputError where it cannot be read."""
    file = ImageFile(path)
    pixels = file.decode(max_reduction=max(file.height, file.width) / (2 * size))  # (3, H, W)
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
