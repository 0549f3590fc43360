"""A bundle as one file for other programs: ONNX, a torch.export program, or safetensors.

Letters: B images, H x W pixels, C classes, S labelled images, k nearest of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from paws.errors import InputError
from paws.models.runtime import to_onnx
from paws.runs.files import writing

if TYPE_CHECKING:
    from paws.bundle.bundle import Bundle

ENDINGS = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}  # of each format
OUTPUTS = ("probabilities", "neighbours", "weights", "unfamiliar", "none")
NEAREST = 3  # labelled images named for each image
BITS = 22  # of a weight's fraction, at most


class Resize(nn.Module):
    """Images as they are stored, uint8 (B, H, W, 3) -> uint8 levels in float32 (B, 3, size, size), any H and W.

    The plain view of `paws.data.stored_views`: the largest central square, resized with antialiasing. It is written as two
    products with weights that depend on H and W, which every runtime knows, in the arithmetic of torch's resizing of uint8
    (and Pillow's): first across and then down, with weights rounded to fixed-point numbers of 16 bits, each time to whole
    levels. ``interpolation`` is bilinear or bicubic.
    """

    def __init__(self, size: int, interpolation: str) -> None:
        super().__init__()
        self.size, self.bicubic = size, interpolation == "bicubic"

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> float32 (B, 3, size, size) with whole numbers in [0, 255]."""
        first = images[0, :, :, 0]  # (H, W)
        height, width = (torch.ones_like(line, dtype=torch.float64).sum() for line in (first[:, 0], first[0]))
        side = torch.minimum(height, width)
        pixels = images.permute(0, 3, 1, 2).float()  # (B, 3, H, W)
        across, one = self._weights(images.shape[2], width, side)  # (size, W)
        pixels = _levels(pixels @ across.T, one)  # (B, 3, H, size)
        down, one = self._weights(images.shape[1], height, side)  # (size, H)
        return _levels(down @ pixels, one)  # (B, 3, size, size)

    def _weights(self, count: int, length: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        """How much each of ``count`` pixels gives to each pixel of the result: whole numbers (size, count), and what 1 is."""
        scale, start = side / self.size, ((length - side) / 2).floor()
        centre = (torch.arange(self.size, dtype=torch.float64) + 0.5) * scale  # (size,)
        pixel = torch.arange(count, dtype=torch.float64) + 0.5 - start  # (count,) in the square
        distance = (pixel - centre[:, None]).abs() / scale.clamp(min=1.0)  # (size, count)
        if self.bicubic:  # Keys' kernel with a = -0.5
            near = (1.5 * distance - 2.5) * distance * distance + 1
            far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
            weights = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))
        else:
            weights = (1 - distance).clamp(min=0)
        weights = weights * ((pixel > 0) & (pixel < side))  # nothing from outside the square
        weights = weights / weights.sum(1, keepdim=True)
        powers = 2.0 ** torch.arange(1, BITS + 1, dtype=torch.float64)
        one = 2.0 ** ((weights.amax((0, 1)) * powers + 0.5).floor() < 2**15).double().sum()  # the largest weight has 15 bits
        return (weights.sign() * (weights.abs() * one + 0.5).floor()).float(), one.float()


def _levels(sums: Tensor, one: Tensor) -> Tensor:
    return ((sums + one / 2) / one).floor().clamp(0, 255)


class Deployed(nn.Module):
    """A whole bundle as one network: images as they are stored in, what ``paws predict`` says out."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        parts = bundle.frozen.parts
        self.backbones = nn.ModuleList(nn.Sequential(Resize(part.size, part.interpolation), part.model) for part in parts)
        self.classifier = bundle.classifier
        self.k = min(NEAREST, len(bundle.support_files))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """uint8 (B, H, W, 3) -> probabilities (B, C), neighbours (B, k) int64, weights (B, k), unfamiliar and none (B,)."""
        features = torch.cat([backbone(images) for backbone in self.backbones], dim=1)  # (B, D)
        probabilities, weights, novelty, strange = self.classifier(features)
        top = weights.topk(self.k, dim=1)
        return probabilities, top.indices, top.values, novelty, strange


def format_of(path: Path, form: str | None = None) -> str:
    """The format that the ending of ``path`` stands for.

    Raises:
        InputError: ``form`` is none that there is, or another one than the ending says.
    """
    if form is not None and form not in ENDINGS:
        raise InputError(f"--format {form!r} is not one of {', '.join(ENDINGS)}")
    found = next((name for name, ending in ENDINGS.items() if ending == path.suffix), None)
    if found is None or form not in (None, found):
        wanted = ENDINGS[form] if form else ", ".join(f"{ending} ({name})" for name, ending in ENDINGS.items())
        raise InputError(f"{path}: its name must end in {wanted}")
    return found


def export(bundle: Bundle, path: Path) -> None:
    """Write the bundle to ``path`` as one file; it appears whole or not at all.

    Its ending says what it is: .onnx (images in, the OUTPUTS out), .pt2 (the same as a program of torch.export, loaded by
    ``torch.export.load``) or .safetensors (the weights, for those who rebuild the network). Each carries `description`: in the
    ONNX metadata, in the extra file ``description.json`` of the program, in the safetensors metadata.

    Raises:
        InputError: another ending, ``path`` exists, or its folder cannot be written.
    """
    write = {"onnx": _write_onnx, "torch": _write_torch, "safetensors": _write_safetensors}[format_of(path)]
    with writing(path, new=True) as file:
        write(bundle, file)


def description(bundle: Bundle) -> dict[str, str]:
    """What a program needs besides the numbers, each value as JSON: classes, labelled images, threshold, preprocessing."""
    classifier, frozen = bundle.classifier, bundle.frozen
    sizes = " and ".join(str(size) for size in dict.fromkeys(part.size for part in frozen.parts))
    labels = classifier.support_labels.tolist()
    values: dict[str, Any] = {
        "classes": list(classifier.classes),
        "support_files": list(bundle.support_files),
        "support_labels": [classifier.classes[y] for y in labels],
        "method": classifier.predictor.title,
        "threshold": float(classifier.threshold),
        "set_threshold": float(classifier.set_threshold),
        "none_class": classifier.none_class,
        "backbone": frozen.config(),
        "classifier": classifier.config(),
        "preprocessing": "uint8 RGB (batch, height, width, 3) of any size: upright, on white if transparent, grey of more "
        f"than 8 bits as levels from `values` of the backbone; its central square becomes {sizes} pixels",
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _example(bundle: Bundle) -> tuple[Tensor, tuple[dict[int, Any]]]:
    """Two images to trace the network with, and which of their dimensions may change."""
    size = max(part.size for part in bundle.frozen.parts)
    dim = torch.export.Dim
    free = {0: dim("batch"), 1: dim("height", min=2), 2: dim("width", min=2)}
    return torch.zeros(2, size + 8, size + 24, 3, dtype=torch.uint8), (free,)


def _write_onnx(bundle: Bundle, file: IO[bytes]) -> None:
    import onnx

    images, free = _example(bundle)
    model = to_onnx(Deployed(bundle).eval(), images, free, OUTPUTS)
    onnx.helper.set_model_props(model, description(bundle))
    file.write(model.SerializeToString())


def _write_torch(bundle: Bundle, file: IO[bytes]) -> None:
    images, free = _example(bundle)
    program = torch.export.export(Deployed(bundle).eval(), (images,), dynamic_shapes=free)
    torch.export.save(program, file, extra_files={"description.json": json.dumps(description(bundle))})


def _write_safetensors(bundle: Bundle, file: IO[bytes]) -> None:
    from safetensors.torch import save

    parts = {"backbone": bundle.frozen.weights(), "classifier": bundle.classifier.state_dict()}
    tensors = {f"{part}.{name}": t.detach().clone().contiguous() for part, state in parts.items() for name, t in state.items()}
    file.write(save(tensors, metadata=description(bundle)))
