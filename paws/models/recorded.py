"""A convolutional network as an ONNX graph, written down operation by operation while torch runs it.

torch.onnx.export takes many seconds for any network; this a fraction of one, for networks of the operations in `NODES` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

OPSET, IR_VERSION = 20, 10  # of ONNX, as onnxruntime 1.20 reads it


class UnknownOperation(ValueError):
    """The network does something that is not in `NODES`."""


def recorded(model: nn.Module, images: Tensor) -> Any:
    """``model`` as an onnx.ModelProto: ``images`` uint8 (B, 3, H, W) -> ``features`` float32 (B, D), with any B.

    Raises:
        UnknownOperation: features that depend on another operation.
    """
    from onnx import TensorProto, helper

    with torch.no_grad(), _Recorder(images) as recorder:
        features = model(images)
    nodes, constants = recorder.needed(recorder.name(features))
    ends = [("images", TensorProto.UINT8, images), ("features", TensorProto.FLOAT, features)]
    images_info, features_info = (helper.make_tensor_value_info(n, kind, ["batch", *t.shape[1:]]) for n, kind, t in ends)
    nodes.append(helper.make_node("Identity", [recorder.name(features)], ["features"]))
    graph = helper.make_graph(nodes, "network", [images_info], [features_info], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


class _Recorder(TorchDispatchMode):
    """Knows every tensor that the network works on by a name: what no operation has given is a constant."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.padded: dict[str, tuple[str, list[int]]] = {}  # of a tensor of zeros around another: that one, and how many
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._names: dict[int, str | None] = {id(images): "images"}
        self._alive: list[Any] = [images]  # so that no other tensor gets the id of one that has a name

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """What torch asks; yes would import its compiler, which takes over a second and is not used here."""
        return False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = operation(*args, **(kwargs or {}))
        results = given if isinstance(given, tuple | list) else [given]
        name = None
        if operation in NODES and (not kwargs or kwargs == {"dtype": torch.float32}):
            with suppress(UnknownOperation):
                name = NODES[operation](self, *args)
        self._names |= {**dict.fromkeys(map(id, results)), id(results[0]): name}  # None: nobody knows how they came about
        self._alive.append(results)
        return given

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write down a node; the name of what it gives."""
        from onnx import helper

        name = f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def name(self, tensor: Any) -> str:
        """Of a tensor in the graph; raises UnknownOperation for anything else."""
        if not isinstance(tensor, Tensor):
            raise UnknownOperation
        if id(tensor) not in self._names:
            self._names[id(tensor)] = self.constant(tensor.numpy())
            self._alive.append(tensor)
        found = self._names[id(tensor)]
        if found is None:
            raise UnknownOperation
        return found

    def constant(self, numbers: np.ndarray | np.generic) -> str:
        """The name of further numbers."""
        from onnx import numpy_helper

        name = f"constant{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(numbers, order="C"), name)
        return name

    def needed(self, output: str) -> tuple[list[Any], list[Any]]:
        """The nodes, in order, and the constants that the tensor ``output`` is made from."""
        wanted, kept = {output}, []
        for node in reversed(self._nodes):
            if node.output[0] in wanted:
                wanted.update(node.input)
                kept.append(node)
        return kept[::-1], [value for name, value in self._constants.items() if name in wanted]


def _convolution(
    recorder: _Recorder,
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> str:
    if transposed:
        raise UnknownOperation
    name, pads = recorder.name(images), [*padding, *padding]
    if name in recorder.padded and not any(padding):  # which onnxruntime runs faster than two operations
        name, pads = recorder.padded[name]
    inputs = [name, recorder.name(weight), *([] if bias is None else [recorder.name(bias)])]
    return recorder.node("Conv", *inputs, strides=stride, pads=pads, dilations=dilation, group=groups)


def _padded(recorder: _Recorder, images: Tensor, sides: list[int], value: float = 0.0) -> str:
    if len(sides) != 4 or value:
        raise UnknownOperation
    left, right, top, bottom = sides
    widths = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    name = recorder.node("Pad", recorder.name(images), recorder.constant(widths))
    recorder.padded[name] = recorder.name(images), [top, left, bottom, right]
    return name


def _batch_norm(
    recorder: _Recorder,
    images: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    momentum: float,
    epsilon: float,
) -> str:
    if training:
        raise UnknownOperation
    return recorder.node("BatchNormalization", *map(recorder.name, (images, weight, bias, mean, variance)), epsilon=epsilon)


def _clipped(recorder: _Recorder, tensor: Tensor, low: float, high: float) -> str:
    limits = (recorder.constant(np.float32(limit)) for limit in (low, high))
    return recorder.node("Clip", recorder.name(tensor), *limits)


def _mean(recorder: _Recorder, tensor: Tensor, dimensions: list[int], keep: bool = False) -> str:
    if 0 in (dimension % tensor.ndim for dimension in dimensions):  # of all images
        raise UnknownOperation
    axes = recorder.constant(np.array(dimensions, np.int64))
    return recorder.node("ReduceMean", recorder.name(tensor), axes, keepdims=int(keep))


def _float(recorder: _Recorder, tensor: Tensor) -> str:
    from onnx import TensorProto

    return recorder.node("Cast", recorder.name(tensor), to=TensorProto.FLOAT)


def _cat(recorder: _Recorder, tensors: Sequence[Tensor], dimension: int = 0) -> str:
    if dimension < 1:
        raise UnknownOperation
    return recorder.node("Concat", *map(recorder.name, tensors), axis=dimension)


def _of_two(kind: str) -> Callable[..., str]:
    def node(recorder: _Recorder, a: Tensor, b: Tensor) -> str:
        return recorder.node(kind, recorder.name(a), recorder.name(b))

    return node


ATEN = torch.ops.aten
NODES: dict[Any, Callable[..., str]] = {
    ATEN.convolution.default: _convolution,
    ATEN.constant_pad_nd.default: _padded,
    ATEN.native_batch_norm.default: _batch_norm,
    ATEN.hardtanh.default: _clipped,
    ATEN.hardtanh_.default: _clipped,
    ATEN.mean.dim: _mean,
    ATEN._to_copy.default: _float,
    ATEN.cat.default: _cat,
    ATEN.add.Tensor: _of_two("Add"),
    ATEN.mul.Tensor: _of_two("Mul"),
}
