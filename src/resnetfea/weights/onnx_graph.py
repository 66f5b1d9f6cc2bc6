"""Questions to an ONNX graph: who uses this value, what are a node's settings."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import onnx
from onnx import numpy_helper

from resnetfea.errors import ResnetFeaError

PASSES_THROUGH = ("Transpose", "Identity", "Cast")  # what may stand between the input and the first convolution


class Graph:
    """One graph, indexed by value name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.initialisers = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.initialisers[node.output[0]] = node.attribute[0].t
        inputs = [value.name for value in graph.input if value.name not in self.initialisers]
        if len(inputs) != 1:
            raise ResnetFeaError(f"its graph has {len(inputs)} inputs; a ResNet has one, the image")
        self.input = inputs[0]
        self._users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._users[name].append(node)

    def users(self, value: str, operator: str) -> list[onnx.NodeProto]:
        """The nodes of this kind that take the value."""
        return [node for node in self._users[value] if node.op_type == operator]

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

    def pads_of(self, pad: onnx.NodeProto) -> tuple[int, int, int, int]:
        """A Pad node's (top, left, bottom, right): an attribute up to opset 10, an input since."""
        pads = self.attributes(pad).get("pads")
        if pads is None:
            tensor = self.initialisers.get(pad.input[1])
            pads = [] if tensor is None else numpy_helper.to_array(tensor).tolist()
        if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)):
            raise ResnetFeaError("it pads something other than height and width")
        return pads[2], pads[3], pads[6], pads[7]

    @staticmethod
    def attributes(node: onnx.NodeProto) -> dict[str, Any]:
        """The node's settings by name."""
        return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
