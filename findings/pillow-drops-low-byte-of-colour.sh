#!/usr/bin/env bash
# Pillow 13.0.0 opens a PNG of 16 bits a channel and three channels as 8-bit RGB without a word, keeping the high byte alone: a
# colour picture whose values end at 255 or 1023, as cameras of 8 to 10 bits write it, arrives black or nearly so. A grey PNG of
# 16 bits keeps all of them (mode I;16).
#
# Seen: brightest value stored -> mode and brightest value read
#   colour 255 -> RGB 0, colour 1023 -> RGB 3, colour 65535 -> RGB 255, grey 255 -> I;16 255
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PY'
import io
import struct
import zlib

import numpy as np
from PIL import Image


def png(pixels):
    """A PNG of uint16 pixels (H, W, 3) or (H, W), written from the format's description."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


found = []
for shape, brightest in (((4, 4, 3), 255), ((4, 4, 3), 1023), ((4, 4, 3), 65535), ((4, 4), 255)):
    picture = Image.open(io.BytesIO(png(np.full(shape, brightest, np.uint16))))
    found.append((picture.mode, int(np.asarray(picture).max())))
    print(shape, brightest, "->", *found[-1])
assert found == [("RGB", 0), ("RGB", 3), ("RGB", 255), ("I;16", 255)], "16-bit colour is read otherwise now"
PY
