"""Questions to an ONNX graph: who uses this value, what are a node's settings."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto, numpy_helper

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK, from_bytes, is_possible
from resnetfea.weights.protobuf import fields

LEAST_INPUTS = {"Conv": 2, "BatchNormalization": 5}  # nodes whose weights are taken
KINDS: dict[str, int] = {  # of the settings that are read
    "strides": AttributeProto.INTS, "dilations": AttributeProto.INTS, "kernel_shape": AttributeProto.INTS,
    "pads": AttributeProto.INTS, "group": AttributeProto.INT, "ceil_mode": AttributeProto.INT,
    "epsilon": AttributeProto.FLOAT, "auto_pad": AttributeProto.STRING,
}  # fmt: skip
DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "f4", TensorProto.FLOAT16: "f2", TensorProto.BFLOAT16: BFLOAT16, TensorProto.DOUBLE: "f8",
    TensorProto.INT64: "i8", TensorProto.INT32: "i4",
}  # fmt: skip
MAX_STRUCTURE = 8 << 20  # a ResNet-152 has 0.2 MB, with every node's Python stack 2 MB
PASSES_THROUGH = ("Transpose", "Identity", "Cast")  # what may stand between the input and the first convolution


def load(data: bytes) -> Graph:
    """The graph of a model."""
    _check_structure(memoryview(data))
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; onnx has no narrower promise
        raise ResnetFeaError(f"it is not an ONNX model: {error}") from error
    return Graph(model.graph)


class Graph:
    """One graph, indexed by value name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        stored = [(tensor.name, tensor) for tensor in graph.initializer]
        for node in graph.node:
            if not node.output or len(node.input) < LEAST_INPUTS.get(node.op_type, 0):
                raise ResnetFeaError(f"its node {node.name!r} ({node.op_type}) lacks inputs or outputs")
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                stored.append((node.output[0], node.attribute[0].t))
        self.initialisers = dict(stored)
        if len(self.initialisers) != len(stored):
            raise ResnetFeaError("two of its stored tensors have one name")
        self._arrays: dict[str, NDArray[Any]] = {}
        inputs = [value.name for value in graph.input if value.name not in self.initialisers]
        if len(inputs) != 1:
            raise ResnetFeaError(f"its graph has {len(inputs)} inputs; a ResNet has one, the image")
        self.input = inputs[0]
        self._users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._users[name].append(node)

    def users(self, value: str, operator: str) -> list[onnx.NodeProto]:
        """The nodes of this kind (ONNX's own, not another vendor's of that name) that take the value."""
        return [node for node in self._users[value] if node.op_type == operator and node.domain in ("", "ai.onnx")]

    def only_user(self, value: str, operator: str) -> onnx.NodeProto:
        """The one node of this kind that takes the value.

        Raises:
            ResnetFeaError: there is none, or there are several.
        """
        found = self.users(value, operator)
        if len(found) != 1:
            others = sorted({node.op_type for node in self._users[value]}) or ["nothing"]
            raise ResnetFeaError(
                f"behind {value!r} a plain ResNet has one {operator}; this graph has {', '.join(others)}"
            )
        return found[0]

    def skip(self, value: str) -> str:
        """The value behind what only moves or retypes it."""
        for _ in range(len(self._users)):  # a graph that goes in a circle ends here
            users = self._users[value]
            if len(users) != 1 or users[0].op_type not in PASSES_THROUGH:
                break
            value = users[0].output[0]
        return value

    def array(self, name: str) -> NDArray[Any]:
        """The stored tensor of this name, one array however often it is asked for.

        Raises:
            ResnetFeaError: it is computed, lies in another file, or its numbers are not dtype x shape.
        """
        if name not in self.initialisers:
            raise ResnetFeaError(f"{name!r} is computed, not stored, so that it can't be taken as a weight")
        if name not in self._arrays:
            try:
                self._arrays[name] = _array(self.initialisers[name])
            except ResnetFeaError as error:
                raise ResnetFeaError(f"{name!r}: {error}") from error
        return self._arrays[name]

    def pads_of(self, pad: onnx.NodeProto) -> tuple[int, int, int, int]:
        """A Pad node's (top, left, bottom, right): an attribute up to opset 10, an input since."""
        pads = self.attributes(pad).get("pads")
        if pads is None and len(pad.input) > 1:
            pads = self.array(pad.input[1]).ravel().tolist()
        if pads is None or len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)):
            raise ResnetFeaError("it pads something other than height and width")
        return pads[2], pads[3], pads[6], pads[7]

    @staticmethod
    def attributes(node: onnx.NodeProto) -> dict[str, Any]:
        """The node's settings by name, those of KINDS only."""
        found = {}
        for attribute in node.attribute:
            if attribute.name not in KINDS:
                continue
            if attribute.type != KINDS[attribute.name] or attribute.ref_attr_name or attribute.name in found:
                raise ResnetFeaError(f"its node {node.name!r} has a {attribute.name} of a wrong kind, or two")
            found[attribute.name] = onnx.helper.get_attribute_value(attribute)
        return found


def _array(tensor: TensorProto) -> NDArray[Any]:
    """Never reads another file, which numpy_helper would."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ResnetFeaError("lies in another file; save the model with its data inside")
    dtype, shape = DTYPES.get(tensor.data_type), tuple(tensor.dims)
    if dtype is None or tensor.HasField("segment"):
        raise ResnetFeaError(f"is stored as type {tensor.data_type}, which no ResNet's weights are")
    if tensor.HasField("raw_data"):
        return from_bytes(dtype, shape, tensor.raw_data)
    numbers = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    if len(shape) > MAX_RANK or not is_possible(shape) or math.prod(shape) != numbers:
        raise ResnetFeaError(f"{numbers} numbers are there for {len(shape)} dimensions {shape[:MAX_RANK]}")
    return numpy_helper.to_array(tensor)


def _check_structure(data: memoryview) -> None:
    """Refuses what would be much larger in memory than in the file: an empty node has 2 bytes here and 100 there.

    Only the numbers of tensors (of the graph, and of its Constant nodes) may be large.
    """
    inside = {
        "model": {7: "graph"},
        "graph": {1: "node", 5: "tensor"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor"},
    }
    numbers = (4, 9, 10)  # TensorProto's float_data, raw_data, double_data: as long in memory
    left = MAX_STRUCTURE

    def count(message: memoryview, kind: str) -> None:
        nonlocal left
        for number, value in fields(message):
            left -= 16  # what it costs as an object, at least, and what it takes to look at it here
            if isinstance(value, memoryview):
                if number in inside.get(kind, ()):
                    count(value, inside[kind][number])
                elif kind != "tensor" or number not in numbers:
                    left -= len(value)
            if left < 0:
                raise ResnetFeaError(
                    f"it has more than {MAX_STRUCTURE:,} bytes beside its weights; no ResNet needs that"
                )

    count(data, "model")
