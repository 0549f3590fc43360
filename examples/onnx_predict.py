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
enough = 2 * about["backbone"]["size"]
for path in sys.argv[2:]:
    image = Image.open(path)
    image.draft(None, (enough, enough))  # a large JPEG is decoded at a reduced scale; other images stay as they are
    pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[None]  # uint8 (1, height, width, 3)
    probabilities, neighbours, weights, unfamiliar = session.run(None, {"images": pixels})
    best, nearest = probabilities[0].argmax(), neighbours[0, 0]
    print(path, about["classes"][best], f"{probabilities[0, best]:.4f}", f"unfamiliar {unfamiliar[0]:.4f}", end=" ")
    print("because of", about["support_files"][nearest], f"{weights[0, 0]:.4f}")
