"""Grey pixels of more than 8 bits as 8-bit levels.

Cameras and microscopes store 8 to 12 bits in files of 16, others 16 bits in files of 32: what is black and what is white is
not said by the file. It is taken from the bits that the values use, over all images of a folder where there is one, so that
its images stay comparable.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

Range = tuple[int, int]  # values that become level 0 and level 255


def extremes(values: np.ndarray) -> Range:
    """The least and the largest of the values."""
    return int(values.min()), int(values.max())


def range_of(found: Iterable[Range]) -> Range | None:
    """The range of whole bits that holds the extremes of all images; None where there are none.

    Black is 0, or where there are negative values the power of two below them; white is ``2 ** bits - 1``, with 8 bits or more.
    """
    pairs = list(found)
    if not pairs:
        return None
    low, high = min(low for low, _ in pairs), max(high for _, high in pairs)
    black = 0 if low >= 0 else -(1 << (-low - 1).bit_length())
    return black, (1 << max(8, high.bit_length() if high > 0 else 0)) - 1


def to_levels(values: np.ndarray, limits: Range) -> np.ndarray:
    """Whole numbers as uint8 levels of equal width between the two limits; what lies outside becomes black or white."""
    black, white = limits
    return ((values.astype(np.int64) - black) * 256 // (white - black + 1)).clip(0, 255).astype(np.uint8)
