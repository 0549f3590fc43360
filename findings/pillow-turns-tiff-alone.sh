#!/usr/bin/env bash
# Pillow 13.0.0 turns a TIFF by its orientation tag and drops the tag; JPEG, PNG and WebP stay as stored and keep it.
# Code that turns pictures by the tag it finds is right for all of them; code that turns by a tag it read by another way, or
# that reads `size` before it decodes, treats a TIFF otherwise: `size` is that of the turned picture already at opening.
#
# Seen: a picture of 6 x 2 pixels stored with orientation 6 (turn by 90 degrees)
#   TIFF  size at opening (2, 6), after load (2, 6), tag None
#   JPEG  size at opening (6, 2), after load (6, 2), tag 6      PNG and WebP as JPEG
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.3.5
cd "$folder"
venv/bin/python - <<'PY'
import io

import numpy as np
from PIL import Image

pixels = np.zeros((2, 6, 3), np.uint8)
pixels[:, :2] = 255
found = {}
for kind in ("TIFF", "JPEG", "PNG", "WEBP"):
    exif = Image.Exif()
    exif[274] = 6
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind, exif=exif)
    picture = Image.open(stored)
    opened = picture.size
    picture.load()
    found[kind] = opened, picture.size, picture.getexif().get(274)
    print(kind, *found[kind])
assert found["TIFF"] == ((2, 6), (2, 6), None), "a TIFF is no longer turned by Pillow itself"
assert all(found[kind] == ((6, 2), (6, 2), 6) for kind in ("JPEG", "PNG", "WEBP")), "another format is turned too"
PY
