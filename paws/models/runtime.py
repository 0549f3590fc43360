"""The fastest way through a frozen backbone on this machine: onnxruntime on a CPU, compiled half precision on a GPU."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from paws.errors import InputError
from paws.models.frozen import FROM_PYTHON, Frozen
from paws.models.recorded import UnknownOperation, recorded
from paws.runs.files import write_bytes
from paws.runs.keys import content_key

BATCH = {"cpu": 32, "mps": 64, "cuda": 256}  # images at a time, at most
FEW, PIXELS = 4, 8 * 160**2  # on a CPU at least, and pixels from which on there are no more: activations stay in its cache


class Runtime:
    """uint8 images (B, 3, size, size) -> features (B, D) float32 on the CPU, within 1e-3 cosine of the network in fp32."""

    def __init__(self, frozen: Frozen, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.batch = BATCH.get(self.device.type, 64)
        if self.device.type == "cpu":
            self.batch = min(self.batch, max(FEW, PIXELS // frozen.size**2))
        self.feature_dim = frozen.feature_dim
        make = {"cpu": _onnx, "cuda": _compiled}.get(self.device.type, _eager) if frozen.source != FROM_PYTHON else _eager
        self._features: Callable[[Tensor], Tensor] = make(frozen, self.device)

    def __call__(self, images: Tensor) -> Tensor:
        """Features of any number of images, in order."""
        if not len(images):
            return torch.empty(0, self.feature_dim)
        return torch.cat([self._features(part) for part in images.split(self.batch)])


def cache_folder() -> Path:
    """Where exported networks are kept: ``$PAWS_CACHE``, or ~/.cache/paws."""
    return Path(os.environ.get("PAWS_CACHE") or "~/.cache/paws").expanduser()


def exported(frozen: Frozen) -> bytes:
    """The network as an ONNX model: uint8 (batch, 3, size, size) -> (batch, D); kept in the cache from the first call on.

    A cached file goes by what it was made from, weights included as they were read, and by its own digest: a damaged one is
    made anew.

    Raises:
        InputError: the cache cannot be written.
    """
    import onnx

    key = content_key(frozen.config(), str(torch.__version__), str(onnx.__version__))
    folder = cache_folder() / "onnx"
    name = f"{frozen.name.replace(os.sep, '-')}-{frozen.size}-{key}"
    for path in folder.glob(f"{glob.escape(name)}-*.onnx"):
        with suppress(OSError):
            if path.name == f"{name}-{_digest(found := path.read_bytes())}.onnx":
                return found
            path.unlink()
    images = torch.zeros(2, 3, frozen.size, frozen.size, dtype=torch.uint8)
    try:
        model = recorded(frozen.model, images)
    except UnknownOperation:
        model = to_onnx(frozen.model, images, ({0: torch.export.Dim("batch")},), ("features",))
    network: bytes = model.SerializeToString()
    path = folder / f"{name}-{_digest(network)}.onnx"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, network)
    except (OSError, InputError) as error:
        said = str(error) if isinstance(error, InputError) else f"{path}: cannot be written ({error.strerror})"
        raise InputError(f"{said}; or set PAWS_CACHE to another folder") from error
    return network


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def to_onnx(model: nn.Module, images: Tensor, free: tuple[dict[int, Any]], outputs: Sequence[str]) -> Any:
    """``model`` as an onnx.ModelProto, traced with ``images``; ``free`` names those of their dimensions that may change."""
    program = torch.onnx.export(
        model, (images,), input_names=["images"], output_names=list(outputs), dynamic_shapes=free, dynamo=True, verbose=False
    )
    assert program is not None
    return program.model_proto


def session(network: bytes) -> Any:
    """An onnxruntime session of an ONNX model on the CPU, with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to who decodes images
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _onnx(frozen: Frozen, device: torch.device) -> Callable[[Tensor], Tensor]:
    network = session(exported(frozen))

    def features(images: Tensor) -> Tensor:
        found: np.ndarray = network.run(None, {"images": np.ascontiguousarray(images.numpy())})[0]
        return torch.from_numpy(found)

    return features


def _compiled(frozen: Frozen, device: torch.device, *, backend: str = "inductor") -> Callable[[Tensor], Tensor]:
    network = torch.compile(frozen.model.to(device).to(memory_format=torch.channels_last), backend=backend)
    batch = BATCH["cuda"]

    @torch.inference_mode()
    def features(images: Tensor) -> Tensor:
        count = len(images)
        if count < batch:  # one shape only, so that it is compiled once
            images = torch.cat([images, images.new_zeros(batch - count, *images.shape[1:])])
        images = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.float16):  # bfloat16 keeps too few digits: 2e-3 off in EfficientNet-Lite0
            found = network(images)[:count].float().cpu()
        if not bool(found.isfinite().all()):
            raise InputError(f"{frozen.name} leaves the range of half precision; use --device cpu")
        return found

    return features


def _eager(frozen: Frozen, device: torch.device) -> Callable[[Tensor], Tensor]:
    network = frozen.model.to(device)

    @torch.inference_mode()
    def features(images: Tensor) -> Tensor:
        return network(images.to(device)).float().cpu()

    return features
