"""Predict images with an exported bundle: python onnx_predict.py model.onnx IMAGE...

Needs onnxruntime, Pillow and numpy; neither paws nor torch.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1])
about = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}


def pixels(path):  # uint8 RGB (1, height, width, 3), as paws predict decodes an image
    image = Image.open(path)
    image.draft(None, (2 * about["backbone"]["size"],) * 2)  # a large JPEG at a reduced scale; others stay as they are
    image = ImageOps.exif_transpose(image)  # upright
    if image.mode.startswith("I"):  # grey of 16 or 32 bits: what is black and white is the model's, or the bits that are used
        grey = np.asarray(image).astype("int64")
        low, high = min(0, int(grey.min())), max(255, int(grey.max()))
        own = -(1 << (-low - 1).bit_length()) if low else 0, (1 << high.bit_length()) - 1
        black, white = about["backbone"].get("values", own)
        image = Image.fromarray(((grey - black) * 256 // (white - black + 1)).clip(0, 255).astype("uint8"))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))[None]


for path in sys.argv[2:]:
    probabilities, neighbours, weights, unfamiliar, none = session.run(None, {"images": pixels(path)})
    best, nearest = probabilities[0].argmax(), neighbours[0, 0]
    print(path, about["classes"][best], f"{probabilities[0, best]:.4f}", f"unfamiliar {unfamiliar[0]:.4f}", end=" ")
    print("because of", about["support_files"][nearest], f"{weights[0, 0]:.4f}")
