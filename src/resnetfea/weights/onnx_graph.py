"""Questions to an ONNX graph: who uses this value, in which layout, behind which padding; what is constant."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any, NamedTuple

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.onnx_constants import Constants
from resnetfea.weights.onnx_data import DataFiles
from resnetfea.weights.onnx_model import Model, Node

LEAST_INPUTS = {
    "Conv": 2, "BatchNormalization": 5, "Relu": 1, "MaxPool": 1, "Pad": 1, "Add": 2, "Sum": 2, "Mul": 2, "Sub": 2,
    "Identity": 1, "Transpose": 1, "Cast": 1, "Dropout": 1,
}  # fmt: skip
FLOATS = (1, 10, 11, 16)  # TensorProto.DataType: float32, float16, float64, bfloat16
MAX_PADS = 8  # Pad nodes one behind the other; exporters write one, and the way is kept for each use of its end
Padding = tuple[int, int, int, int]  # top, left, bottom, right
NONE: Padding = (0, 0, 0, 0)


class Spot(NamedTuple):
    """A value of the graph and what its axes are: "NCHW", or "NHWC" in graphs of TensorFlow."""

    value: str
    layout: str


class Use(NamedTuple):
    """A node that takes a value, as which of its inputs, in which layout, and the Pad nodes on the way there."""

    node: Node
    place: int
    layout: str
    pads: tuple[tuple[Node, str], ...]

    @property
    def output(self) -> Spot:
        """What the node gives, for nodes that keep the layout."""
        return Spot(self.node.outputs[0], self.layout)


class Graph:
    """One graph, indexed by value name."""

    def __init__(self, model: Model, data: DataFiles) -> None:
        self._users: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in model.nodes:
            if not node.outputs or len(node.inputs) < LEAST_INPUTS.get(node.operator, 0):
                raise ResnetFeaError(f"its node {node.name!r} ({node.operator}) lacks inputs or outputs")
            for index, value in enumerate(node.inputs):
                self._users[value].append((node, index))
        self.nodes = model.nodes
        self.constants = Constants(model, data)
        self.input = self._image(model)

    def users(self, spot: Spot, *operators: str, padded: bool = False) -> list[Use]:
        """The nodes of these kinds that take the value, looking through what only moves, renames or retypes it.

        padded: look through Pad nodes too.
        """
        found: list[Use] = []
        todo: deque[tuple[Spot, tuple[tuple[Node, str], ...]]] = deque([(spot, ())])
        seen = set()
        while todo:
            (value, layout), pads = todo.popleft()
            if value in seen:  # a graph that goes in a circle ends here
                continue
            seen.add(value)
            for node, index in self._users.get(value, []):
                if node.operator in operators:
                    found.append(Use(node, index, layout, pads))
                elif index == 0 and (behind := self._behind(node, layout)):
                    todo.append((Spot(node.outputs[0], behind), pads))
                elif index == 0 and padded and node.operator == "Pad" and len(pads) < MAX_PADS:
                    todo.append((Spot(node.outputs[0], layout), (*pads, (node, layout))))
        return found

    def only_user(self, spot: Spot, *operators: str, padded: bool = False) -> Use:
        """The one node of these kinds that takes the value.

        Raises:
            ResnetFeaError: there is none, or there are several.
        """
        found = self.users(spot, *operators, padded=padded)
        if len(found) != 1:
            others = sorted({node.operator or "foreign node" for node, _ in self._users.get(spot.value, [])}) or [
                "nothing"
            ]
            raise ResnetFeaError(
                f"behind {spot.value!r} a plain ResNet has one {operators[0]}; this graph has {', '.join(others)}"
            )
        return found[0]

    def _behind(self, node: Node, layout: str) -> str | None:
        """The layout behind a node that changes no number; None behind any other."""
        match node.operator:
            case "Identity":
                return layout
            case "Dropout" if len(node.inputs) < 3:  # with three it may be told to train
                return layout
            case "Cast" if node.attributes().get("to") in FLOATS:
                return layout
            case "Transpose":
                order = node.attributes().get("perm", list(reversed(range(len(layout)))))
                if sorted(order) == list(range(len(layout))):
                    return "".join(layout[axis] for axis in order)
        return None

    def padding(self, use: Use, *, least: float = 0.0) -> Padding:
        """(top, left, bottom, right) of the Pad nodes on the way to this use. They fill with 0, or from `least` on."""
        total = NONE
        for pad, layout in use.pads:
            top, left, bottom, right = self._pads_of(pad, layout, least)
            total = (total[0] + top, total[1] + left, total[2] + bottom, total[3] + right)
        return total

    def _pads_of(self, pad: Node, layout: str, least: float) -> Padding:
        """The sizes are an attribute up to opset 10, an input since; since opset 18 they may be for some axes only."""
        attributes = pad.attributes()
        sizes = attributes.get("pads")
        if sizes is None and len(pad.inputs) > 1:
            sizes = self.array(pad.inputs[1]).ravel().tolist()
        filling = attributes.get("value", 0.0)
        if len(pad.inputs) > 2 and pad.inputs[2]:
            filling = float(self.array(pad.inputs[2]).ravel().sum())
        axes = list(range(4))
        if len(pad.inputs) > 3 and pad.inputs[3]:
            axes = [axis % 4 for axis in self.array(pad.inputs[3]).ravel().tolist()]
        if sizes is None or len(sizes) != 2 * len(axes) or len(set(axes)) != len(axes):
            raise ResnetFeaError("it pads by no sizes, or for other axes than it has")
        around = {layout[axis]: (sizes[place], sizes[place + len(axes)]) for place, axis in enumerate(axes)}
        others = [size for name, pair in around.items() if name not in "HW" for size in pair]
        (top, bottom), (left, right) = around.get("H", (0, 0)), around.get("W", (0, 0))
        if any(others) or min(top, bottom, left, right) < 0 or attributes.get("mode", "constant") != "constant":
            raise ResnetFeaError("it pads something other than height and width by zeros")
        if not (filling == 0 or least <= filling <= 0):
            raise ResnetFeaError(f"it pads with {filling}, not with zeros")
        return top, left, bottom, right

    def array(self, name: str) -> NDArray[Any]:
        """The constant of this name, stored or worked out from stored ones."""
        return self.constants.array(name)

    def is_constant(self, name: str) -> bool:
        """Whether it is stored, or computed from stored values alone. A value that nothing makes was stored once."""
        return name != self.input and self.constants.is_constant(name)

    def _image(self, model: Model) -> str:
        """The one input that is not a weight. (Old exporters list weights among the inputs, also one that is lost.)"""

        def is_weight(name: str) -> bool:
            users = self._users.get(name, [])
            return bool(users) and all(
                node.operator in ("Conv", "BatchNormalization") and index > 0 for node, index in users
            )

        inputs = [name for name in model.inputs if name not in self.constants.stored]
        if len(inputs) > 1:
            inputs = [name for name in inputs if not is_weight(name)]
        if len(inputs) != 1:
            raise ResnetFeaError(f"its graph has {len(inputs)} inputs; a ResNet has one, the image")
        return inputs[0]
