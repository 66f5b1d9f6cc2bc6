"""ONNX by structure: walk the graph from its input and see which ResNet it computes, whatever its names are.

Everything is read from the nodes: stride place, pooling, paddings, eps, and whether norms are folded into the
convolutions. A node that a plain ResNet does not have refuses the file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import BLOCKS, Variant
from resnetfea.weights.canonical import NORM_PARTS
from resnetfea.weights.onnx_graph import Graph, load

SAME = "same"  # a padding counted so that the output has ceil(n / stride) pixels, more of it behind than in front
MAX_UNITS = 155  # convolutions of a ResNet-152; a graph that goes in a circle ends here
NONE = (0, 0, 0, 0)  # top, left, bottom, right
_POOLS: dict[
    tuple[tuple[int, ...], str | tuple[int, ...], bool], str
] = {  # (a Pad node in front, the pool's own padding, ceil_mode) -> Variant.pool
    (NONE, SAME, False): "same",
    (NONE, (0, 0, 1, 1), False): "same",  # as tf2onnx writes SAME for an even size
    (NONE, (1, 1, 1, 1), False): "pad1",
    ((1, 1, 1, 1), NONE, False): "pad1",
    (NONE, NONE, True): "ceil",
    ((0, 0, 1, 1), NONE, False): "ceil",
}


@dataclass(frozen=True)
class Read:
    """The backbone of a graph: canonical tensors, how it computes, and the initialisers that it does not use."""

    tensors: dict[str, NDArray[Any]]
    variant: Variant
    unused: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Unit:
    """One convolution with its norm: where its output goes, and how it is set."""

    output: str
    kernel: int
    stride: int
    padding: str | tuple[int, ...]
    eps: float  # 0 where the norm is folded


def read(data: bytes) -> Read:
    """The ResNet that this model computes."""
    return _Walk(load(data)).backbone()


class _Walk:
    """Goes through the graph once, taking weights on the way."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, NDArray[Any]] = {}
        self.taken: set[str] = set()
        self.units: dict[str, Unit] = {}

    def backbone(self) -> Read:
        value, pool = self._stem()
        stages: list[list[str]] = []  # the blocks of each stage, as their prefixes
        while self.graph.users(value, "Conv"):
            projected = len(self.graph.users(value, "Conv")) == 2
            if len(stages) > len(BLOCKS[152]) or len(self.units) > MAX_UNITS:
                raise ResnetFeaError("it has more blocks than a ResNet-152")
            if projected:
                stages.append([])
            elif not stages:
                raise ResnetFeaError("its first block has no projection, so it is not a bottleneck ResNet")
            prefix = f"layer{len(stages)}.{len(stages[-1])}"
            stages[-1].append(prefix)
            value = self._block(value, prefix, projected)
        counts = tuple(len(stage) for stage in stages)
        depth = next((depth for depth, blocks in BLOCKS.items() if blocks == counts), None)
        if depth is None:
            raise ResnetFeaError(f"its stages have {counts} blocks; ResNet-50 has (3, 4, 6, 3)")
        initialisers = self.graph.initialisers
        return Read(
            tensors=self.tensors,
            variant=replace(self._variant(pool), depth=depth),
            unused=tuple(sorted(initialisers.keys() - self.taken)),
            count=len(initialisers),
        )

    def _stem(self) -> tuple[str, str]:
        """Behind the max pool, and the pool's name."""
        value = self.graph.skip(self.graph.input)
        stem = self._unit(value, self.graph.only_user(value, "Conv"), "conv1", "bn1", kernel=7)
        value = self.graph.only_user(stem.output, "Relu").output[0]
        front: tuple[int, ...] = NONE
        if pads := self.graph.users(value, "Pad"):
            front, value = self.graph.pads_of(pads[0]), pads[0].output[0]
        pool = self.graph.only_user(value, "MaxPool")
        attributes = self.graph.attributes(pool)
        if list(attributes.get("kernel_shape", ())) != [3, 3] or list(attributes.get("strides", ())) != [2, 2]:
            raise ResnetFeaError("its stem does not end in a 3x3/2 max pool")
        kind = _POOLS.get((front, _padding(attributes), bool(attributes.get("ceil_mode", 0))))
        if kind is None:
            raise ResnetFeaError(f"its max pool is padded by {front} and {attributes}, which no ResNet does")
        return pool.output[0], kind

    def _block(self, value: str, prefix: str, projected: bool) -> str:
        """Behind the block's last ReLU."""
        graph = self.graph
        convs = graph.users(value, "Conv")
        main = [conv for conv in convs if graph.users(self._behind_norm(conv), "Relu")]
        if len(main) != 1 or len(convs) != 1 + projected:
            raise ResnetFeaError(f"what follows {value!r} is not a bottleneck block")
        first = self._unit(value, main[0], f"{prefix}.conv1", f"{prefix}.bn1", kernel=1)
        value_in = graph.only_user(first.output, "Relu").output[0]
        second = self._unit(value_in, graph.only_user(value_in, "Conv"), f"{prefix}.conv2", f"{prefix}.bn2", kernel=3)
        value_in = graph.only_user(second.output, "Relu").output[0]
        third = self._unit(value_in, graph.only_user(value_in, "Conv"), f"{prefix}.conv3", f"{prefix}.bn3", kernel=1)
        shortcut = value
        if projected:
            (conv,) = [conv for conv in convs if conv is not main[0]]
            names = f"{prefix}.downsample.0", f"{prefix}.downsample.1"
            projection = self._unit(value, conv, *names, kernel=1)
            if projection.stride != first.stride * second.stride:
                raise ResnetFeaError(f"{prefix}: its projection has another stride than its convolutions")
            shortcut = projection.output
        add = graph.only_user(third.output, "Add")
        if set(add.input) != {third.output, shortcut} or third.stride != 1:
            raise ResnetFeaError(f"{prefix}: its last convolution is not added to its shortcut")
        return str(graph.only_user(add.output[0], "Relu").output[0])

    def _behind_norm(self, conv: onnx.NodeProto) -> str:
        norms = self.graph.users(conv.output[0], "BatchNormalization")
        return str(norms[0].output[0] if norms else conv.output[0])

    def _unit(self, value: str, conv: onnx.NodeProto, name: str, norm_name: str, kernel: int) -> Unit:
        """Takes the weights of this convolution and of the norm behind it, kept or folded."""
        graph, attributes = self.graph, self.graph.attributes(conv)
        weight = self._take(conv.input[1])
        strides = set(attributes.get("strides", (1,)))
        plain = attributes.get("group", 1) == 1 and set(attributes.get("dilations", (1,))) == {1} and len(strides) == 1
        if conv.input[0] != value or weight.ndim != 4 or weight.shape[2:] != (kernel, kernel) or not plain:
            raise ResnetFeaError(
                f"{name}: not a plain {kernel}x{kernel} convolution (shape {weight.shape}, {attributes})"
            )
        channels = len(weight)
        bias = self._take(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else np.zeros(channels, np.float32)
        if bias.shape != (channels,):
            raise ResnetFeaError(f"{name}: its bias has the shape {bias.shape}, not {(channels,)}")
        self.tensors[f"{name}.weight"] = weight
        norms = graph.users(conv.output[0], "BatchNormalization")
        if norms:
            parts = [self._take(part) for part in norms[0].input[1:5]]
            if bias.any() and parts[2].shape == bias.shape:
                parts[2] = parts[2] - bias  # BN(y + b) = BN with the mean lowered by b
            eps = float(graph.attributes(norms[0]).get("epsilon", 1e-5))  # the operator's default
            if not 0 <= eps < 1:
                raise ResnetFeaError(f"{norm_name}: its epsilon is {eps}")
        else:
            one, zero = np.ones(channels, np.float32), np.zeros(channels, np.float32)
            parts, eps = [one, bias, zero, one], 0.0
        self.tensors |= {f"{norm_name}.{part}": array for part, array in zip(NORM_PARTS, parts, strict=True)}
        unit = Unit(self._behind_norm(conv), kernel, strides.pop(), _padding(attributes), eps)
        self.units[name] = unit
        return unit

    def _take(self, name: str) -> NDArray[Any]:
        self.taken.add(name)
        return self.graph.array(name)

    def _variant(self, pool: str) -> Variant:
        """How the units seen were set; two that contradict each other refuse the file."""
        strided = {name.rsplit(".", 1)[1] for name, unit in self.units.items() if unit.stride == 2 and ".conv" in name}
        paddings = {self._conv_padding(name, unit) for name, unit in self.units.items() if unit.kernel > 1} - {None}
        epsilons = {unit.eps for unit in self.units.values()}
        if len(strided) != 1 or len(paddings) != 1 or len(epsilons) != 1 or self.units["conv1"].stride != 2:
            raise ResnetFeaError(
                f"its layers differ among themselves: strides in {sorted(strided)}, "
                f"paddings {sorted(map(str, paddings))}, eps {sorted(epsilons)}"
            )
        return Variant(
            stride_in="1x1" if strided == {"conv1"} else "3x3",
            pool=pool,  # type: ignore[arg-type]
            conv_pad=paddings.pop(),  # type: ignore[arg-type]
            bn_eps=float(f"{epsilons.pop():.7g}"),  # stored as float32: 1e-5 is there as 9.99999975e-6
        )

    def _conv_padding(self, name: str, unit: Unit) -> str | None:
        """ "symmetric" or "same", None where the two are one (stride 1)."""
        half = unit.kernel // 2
        if unit.stride == 1 and unit.padding in (SAME, (half,) * 4):
            return None
        if unit.padding == (half,) * 4:
            return "symmetric"
        if unit.padding in (SAME, (half - 1, half - 1, half, half)):
            return "same"
        raise ResnetFeaError(f"{name}: pads by {unit.padding}, which no ResNet does")


def _padding(attributes: dict[str, Any]) -> str | tuple[int, ...]:
    """(top, left, bottom, right), or SAME."""
    match attributes.get("auto_pad", b"NOTSET"):
        case b"SAME_UPPER":
            return SAME
        case b"NOTSET" | b"VALID":
            return tuple(attributes.get("pads", (0, 0, 0, 0)))
        case other:
            raise ResnetFeaError(f"a layer pads by {other!r}, which no ResNet does")
