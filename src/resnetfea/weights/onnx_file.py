"""ONNX by structure: walk the graph from its input and see which ResNet it computes, whatever its names are.

Everything is read from the nodes: stride place, pooling, paddings, eps, and whether norms are folded into the
convolutions. A node that a plain ResNet does not have refuses the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import BLOCKS, Variant
from resnetfea.weights import onnx_kind, onnx_model, onnx_norm
from resnetfea.weights.onnx_constants import Absent
from resnetfea.weights.onnx_data import DataFiles
from resnetfea.weights.onnx_graph import NONE, Graph, Padding, Spot, Use

SAME = "same"  # a padding counted so that the output has ceil(n / stride) pixels, more of it behind than in front
MAX_UNITS = 155  # convolutions of a ResNet-152; a graph that goes in a circle ends here
MAX_TAKEN = 600 << 20  # bytes of float32, as matching.MAX_BACKBONE
LOWEST = float("-inf")  # what a pool may be padded with: behind a ReLU nothing below zero wins
_POOLS: dict[tuple[Padding, str | Padding, bool], str] = {
    # (Pad nodes in front, the pool's own padding, ceil_mode) -> Variant.pool
    (NONE, SAME, False): "same",
    (NONE, (0, 0, 1, 1), False): "same",  # as tf2onnx writes SAME for an even size
    (NONE, (1, 1, 1, 1), False): "pad1",
    ((1, 1, 1, 1), NONE, False): "pad1",  # Keras, and MindSpore's export of ours
    (NONE, NONE, True): "ceil",
    ((0, 0, 1, 1), NONE, False): "ceil",
}


@dataclass(frozen=True)
class Read:
    """The backbone of a graph: canonical tensors, how it computes, and the initialisers that it does not use.

    names: the file's own, by canonical name. lost: those of `names` that the file does not have.
    parts: sha256 of the data files by location. size: bytes of the model and its data files.
    """

    tensors: dict[str, NDArray[Any]]
    variant: Variant
    unused: tuple[str, ...]
    count: int
    names: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    size: int = 0


@dataclass(frozen=True)
class Unit:
    """One convolution with its norm: where its output goes, and how it is set."""

    output: Spot
    kernel: int
    stride: int
    padding: str | Padding
    eps: float  # 0 where the norm is folded
    groups: int
    dilation: int


def read(data: bytes, path: Path | None = None, most: int = 1 << 30) -> Read:
    """The ResNet that this model computes.

    Args:
        data: the model's bytes.
        path: the model's file, as the user gave it; without one, data files beside it are not read.
        most: bytes that its data files may have in all.
    """
    files = DataFiles(path, most)
    graph = Graph(onnx_model.load(data), files)
    try:
        found = _Walk(graph).backbone()
    except ResnetFeaError as error:
        if kind := onnx_kind.seems(graph):
            raise ResnetFeaError(f"it seems to be {kind}, not a plain ResNet-50: {error}") from error
        raise
    return replace(found, parts=files.sha256, size=len(data) + files.size)


class _Walk:
    """Goes through the graph once, taking weights on the way."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: dict[str, NDArray[Any]] = {}
        self.names: dict[str, str] = {}
        self.lost: list[str] = []
        self.units: dict[str, Unit] = {}
        self.size = 0

    def backbone(self) -> Read:
        spot, pool = self._stem()
        stages: list[list[str]] = []  # the blocks of each stage, as their prefixes
        while convs := self.graph.users(spot, "Conv", padded=True):
            projected = len(convs) == 2
            if len(stages) > len(BLOCKS[152]) or len(self.units) > MAX_UNITS:
                raise ResnetFeaError("it has more blocks than a ResNet-152")
            if projected:
                stages.append([])
            elif not stages:
                raise ResnetFeaError("its first block has no projection, so it is not a bottleneck ResNet")
            prefix = f"layer{len(stages)}.{len(stages[-1])}"
            stages[-1].append(prefix)
            spot = self._block(spot, convs, prefix)
        counts = tuple(len(stage) for stage in stages)
        depth = next((depth for depth, blocks in BLOCKS.items() if blocks == counts), None)
        if depth is None:
            raise ResnetFeaError(f"its stages have {counts} blocks; ResNet-50 has (3, 4, 6, 3)")
        constants = self.graph.constants
        return Read(
            tensors=self.tensors,
            variant=replace(self._variant(pool), depth=depth),
            unused=tuple(sorted(constants.stored.keys() - constants.taken)),
            count=len(constants.stored),
            names=self.names,
            lost=tuple(self.lost),
        )

    def _stem(self) -> tuple[Spot, str]:
        """Behind the max pool, and the pool's name."""
        graph = self.graph
        order = graph.only_user(Spot(graph.input, "0123"), "Conv", padded=True).layout  # e.g. 0312: NHWC comes in
        layout = "".join("NCHW"[order.index(axis)] for axis in "0123")
        if layout not in ("NCHW", "NHWC"):
            raise ResnetFeaError(f"its image comes in as {layout}, which no ResNet's does")
        stem = self._unit(graph.only_user(Spot(graph.input, layout), "Conv", padded=True), "conv1", "bn1", kernel=7)
        pool = graph.only_user(graph.only_user(stem.output, "Relu").output, "MaxPool", padded=True)
        attributes = pool.node.attributes()
        window = [attributes.get(name) for name in ("kernel_shape", "strides")]
        if window != [[3, 3], [2, 2]] or set(attributes.get("dilations", [1])) != {1} or pool.layout != "NCHW":
            raise ResnetFeaError("its stem does not end in a 3x3/2 max pool")
        front = graph.padding(pool, least=LOWEST)
        kind = _POOLS.get((front, _padding(attributes), bool(attributes.get("ceil_mode", 0))))
        if kind is None:
            raise ResnetFeaError(f"its max pool is padded by {front} and {attributes}, which no ResNet does")
        return pool.output, kind

    def _block(self, spot: Spot, convs: list[Use], prefix: str) -> Spot:
        """Behind the block's last ReLU."""
        graph = self.graph
        main = [conv for conv in convs if graph.users(onnx_norm.behind(graph, conv).output, "Relu")]
        if len(main) != 1 or len(convs) > 2:
            raise ResnetFeaError(f"what follows {spot.value!r} is not a bottleneck block")
        first = self._unit(main[0], f"{prefix}.conv1", f"{prefix}.bn1", kernel=1)
        relu = graph.only_user(first.output, "Relu").output
        second = self._unit(graph.only_user(relu, "Conv", padded=True), f"{prefix}.conv2", f"{prefix}.bn2", kernel=3)
        relu = graph.only_user(second.output, "Relu").output
        third = self._unit(graph.only_user(relu, "Conv", padded=True), f"{prefix}.conv3", f"{prefix}.bn3", kernel=1)
        shortcut = spot
        if len(convs) == 2:
            (conv,) = [conv for conv in convs if conv is not main[0]]
            projection = self._unit(conv, f"{prefix}.downsample.0", f"{prefix}.downsample.1", kernel=1)
            if projection.stride != first.stride * second.stride:
                raise ResnetFeaError(f"{prefix}: its projection has another stride than its convolutions")
            shortcut = projection.output
        # Caffe2 adds by Sum (onnx/models resnet50-caffe2; its graph is listed in ROCm/AMDMIGraphX issue 52)
        ends = {(use.node, use.place, use.layout) for use in graph.users(shortcut, "Add", "Sum")}
        adds = [
            use
            for use in graph.users(third.output, "Add", "Sum")
            if len(use.node.inputs) == 2 and (use.node, 1 - use.place, use.layout) in ends
        ]
        if len(adds) != 1 or third.stride != 1:
            raise ResnetFeaError(f"{prefix}: its last convolution is not added to its shortcut")
        return graph.only_user(adds[0].output, "Relu").output

    def _unit(self, conv: Use, name: str, norm_name: str, kernel: int) -> Unit:
        """Takes the weights of this convolution and of the norm behind it."""
        attributes = conv.node.attributes()
        weight = self._take(conv.node.inputs[1], f"{name}.weight")
        if weight is not None:
            self.tensors[f"{name}.weight"] = weight
        window = attributes.get("kernel_shape") or (list(weight.shape[2:]) if weight is not None else [kernel] * 2)
        strides, dilations = (set(attributes.get(setting, (1,))) for setting in ("strides", "dilations"))
        groups = attributes.get("group", 1)
        plain = len(strides) == len(dilations) == 1 and (kernel == 3 or groups == max(dilations) == 1)
        if conv.place != 0 or conv.layout != "NCHW" or window != [kernel, kernel] or not plain:
            raise ResnetFeaError(f"{name}: not a plain {kernel}x{kernel} convolution of NCHW ({window}, {attributes})")
        norm = onnx_norm.behind(self.graph, conv)
        channels = len(weight) if weight is not None and weight.ndim else 1
        parts = norm.parts(channels, lambda theirs, part: self._take(theirs, f"{norm_name}.{part}"))
        for part, array in parts.items():
            if array is not None:
                self.tensors[f"{norm_name}.{part}"] = array
        padding: str | Padding = _padding(attributes)
        front = self.graph.padding(conv)
        if front != NONE:
            if not isinstance(padding, tuple) or len(padding) != 4:
                raise ResnetFeaError(f"{name}: is padded by {front} and by {padding}")
            padding = tuple(map(sum, zip(front, padding, strict=True)))  # type: ignore[assignment]
        unit = Unit(norm.output, kernel, strides.pop(), padding, norm.eps, groups, dilations.pop())
        self.units[name] = unit
        return unit

    def _take(self, theirs: str, canonical: str) -> NDArray[Any] | None:
        """The constant of this name in the file; None where the file has lost it."""
        try:
            array = self.graph.array(theirs)
        except Absent as error:
            self.names[canonical] = error.name
            self.lost.append(canonical)
            return None
        self.size += 4 * array.size  # as float32; many layers may name one tensor
        if self.size > MAX_TAKEN:
            raise ResnetFeaError(f"its backbone would need more than {MAX_TAKEN:,} bytes; no ResNet's does")
        self.names.setdefault(canonical, self.graph.constants.origin(theirs))
        return array

    def _variant(self, pool: str) -> Variant:
        """How the units seen were set; two that contradict each other refuse the file."""
        strided = {name.rsplit(".", 1)[1] for name, unit in self.units.items() if unit.stride == 2 and ".conv" in name}
        paddings = {_conv_padding(name, unit) for name, unit in self.units.items()} - {None}
        epsilons = {unit.eps for unit in self.units.values()}
        if len(strided) != 1 or len(paddings) != 1 or len(epsilons) != 1 or self.units["conv1"].stride != 2:
            raise ResnetFeaError(
                f"its layers differ among themselves: strides in {sorted(strided)}, "
                f"paddings {sorted(map(str, paddings))}, eps {sorted(epsilons)}"
            )
        middles = {name: unit for name, unit in self.units.items() if name.endswith(".conv2")}
        groups = {unit.groups for unit in middles.values()}
        dilations = [{unit.dilation for name, unit in middles.items() if name[5] == stage} for stage in "1234"]
        if len(groups) != 1 or dilations[:3] != [{1}] * 3 or len(dilations[3]) != 1:
            raise ResnetFeaError(f"its 3x3 convolutions have groups {sorted(groups)} and, by stage, holes {dilations}")
        dilation = dilations[3].pop()
        strides = [self.units[f"layer{n}.0.conv1"].stride * self.units[f"layer{n}.0.conv2"].stride for n in range(1, 5)]
        if strides != [1, 2, 2, 2 if dilation == 1 else 1]:
            raise ResnetFeaError(f"its stages have the strides {strides} and the last one's dilation is {dilation}")
        return Variant(
            groups=groups.pop(),
            dilation=dilation,
            stride_in="1x1" if strided == {"conv1"} else "3x3",
            pool=pool,  # type: ignore[arg-type]
            conv_pad=paddings.pop(),  # type: ignore[arg-type]
            bn_eps=epsilons.pop(),
        )


def _conv_padding(name: str, unit: Unit) -> str | None:
    """ "symmetric" or "same", None where the two are one (stride 1, or a single pixel)."""
    half = unit.kernel // 2 * unit.dilation
    both = unit.padding in (SAME, (half,) * 4)
    if both and (unit.stride == 1 or half == 0):
        return None
    if unit.padding == (half,) * 4:
        return "symmetric"
    if unit.padding in (SAME, (half - 1, half - 1, half, half)) and half:
        return "same"
    raise ResnetFeaError(f"{name}: pads by {unit.padding}, which no ResNet does")


def _padding(attributes: dict[str, Any]) -> str | Padding:
    """(top, left, bottom, right), or SAME."""
    match attributes.get("auto_pad", "NOTSET"):
        case "SAME_UPPER":
            return SAME
        case "NOTSET" | "VALID":
            return tuple(attributes.get("pads", NONE))
        case other:
            raise ResnetFeaError(f"a layer pads by {other!r}, which no ResNet does")
