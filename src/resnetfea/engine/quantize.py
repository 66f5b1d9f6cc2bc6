"""A graph with 8-bit convolutions: which numbers are rounded, and to which steps.

Quantised are a convolution's input (one step for the whole map) and its weights (one step for each output channel).
Nothing else: what the blocks add up stays as it is. Rounding that too, as NNCF does by default, costs more than all
convolutions together (docs/precision.md), since each block's error goes on into all later ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

Ranges = dict[str, tuple[float, float]]  # by convolution: the smallest and the largest number of its input
STEM = "conv1"
BLOCK = re.compile(r"layer\d+\.\d+")
INPUT_LEVELS, WEIGHT_LEVELS = 256, 255  # unsigned inputs, and weights from -127 to 127


def fold_norms(graph: ov.Model) -> None:
    """Take batch norms into the weights of the convolutions in front of them, so that these are rounded as they act."""
    for norm in list(graph.get_ordered_ops()):
        if norm.get_type_name() != "BatchNormInference":
            continue
        convolution = norm.input_value(0).get_node()
        gamma, beta, mean, variance = (norm.input_value(i).get_node().data.astype(np.float64) for i in range(1, 5))
        scale = gamma / np.sqrt(variance + norm.get_attributes()["epsilon"])  # (C,)
        old, shape = _weight(convolution), tuple(convolution.input_value(1).get_shape())
        outputs = shape[:-3]  # (C,), or (groups, C / groups) of a grouped convolution
        weight = ops.constant((old.data.reshape(shape) * scale.reshape(*outputs, 1, 1, 1)).astype(np.float32))
        weight.set_friendly_name(old.get_friendly_name())
        convolution.input(1).replace_source_output(weight.output(0))
        shift = ops.constant((beta - mean * scale).astype(np.float32).reshape(1, -1, 1, 1))
        shifted = ops.add(convolution, shift)
        for consumer in list(norm.output(0).get_target_inputs()):
            if consumer.get_node() != shifted:
                consumer.replace_source_output(shifted.output(0))


def blocks(graph: ov.Model) -> list[str]:
    """The stem and the bottlenecks that the graph has, in order: conv1, layer1.0, layer1.1, ..."""
    return list(dict.fromkeys(_block(one) for one in convolutions(graph)))


def with_range_outputs(graph: ov.Model) -> tuple[ov.Model, list[str]]:
    """A copy that gives the smallest and largest number of each convolution's input, and the convolutions' names."""
    copy = graph.clone()
    axes = ops.constant(np.array([0, 1, 2, 3], np.int64))
    names, ends = [], []
    for one in convolutions(copy):
        names.append(name_of(one))
        ends += [reduce(one.input_value(0), axes, False) for reduce in (ops.reduce_min, ops.reduce_max)]
    return ov.Model(ends, copy.get_parameters()), names


def ranges(names: list[str], found: Iterable[list[NDArray[np.float32]]]) -> Ranges:
    """Of what a graph with range outputs gave for each picture, the widest."""
    values = np.array([[float(end) for end in outputs] for outputs in found])  # (pictures, 2 * convolutions)
    low, high = values.min(axis=0), values.max(axis=0)
    return {name: (float(low[2 * i]), float(high[2 * i + 1])) for i, name in enumerate(names)}


def quantized(graph: ov.Model, of_inputs: Ranges, *, kept: Iterable[str]) -> ov.Model:
    """A copy whose convolutions work on 8 bits.

    Args:
        graph: with folded norms.
        of_inputs: what `ranges` gave.
        kept: stem and bottlenecks that stay in floating point.
    """
    copy, left = graph.clone(), set(kept)
    rounded: dict[str, Any] = {}  # by producer: a block's input has two readers
    for one in list(convolutions(copy)):
        if _block(one) in left:
            continue
        source = _before_pool(one.input(0))
        producer = source.get_source_output()
        if producer.get_node().get_type_name() != "FakeQuantize":  # a pool's two readers share its input
            key = f"{producer.get_node().get_friendly_name()}:{producer.get_index()}"
            if key not in rounded:
                low, high = (_scalar(value) for value in of_inputs[name_of(one)])
                rounded[key] = ops.fake_quantize(producer, low, high, low, high, INPUT_LEVELS)
            source.replace_source_output(rounded[key].output(0))
        weight = one.input_value(1)
        largest = np.abs(weight.get_node().data).max(axis=(1, 2, 3), keepdims=True)  # (C, 1, 1, 1)
        high = ops.constant(np.maximum(largest, np.float32(1e-30)))  # a dead channel's step must not be 0
        low = ops.constant(-np.maximum(largest, np.float32(1e-30)))
        one.input(1).replace_source_output(ops.fake_quantize(weight, low, high, low, high, WEIGHT_LEVELS).output(0))
        _end_steps(one)
    return copy


def convolutions(graph: ov.Model) -> Iterator[Any]:
    """The ResNet's, in order. Grouped ones are not among them: they have no fast 8-bit form."""
    for one in graph.get_ordered_ops():
        if one.get_type_name() == "Convolution" and (name_of(one) == STEM or BLOCK.search(name_of(one))):
            yield one


def _weight(convolution: Any) -> Any:
    """The constant. Of a grouped convolution a Reshape, which puts the groups into its shape, stands behind it."""
    node = convolution.input_value(1).get_node()
    return node.input_value(0).get_node() if node.get_type_name() == "Reshape" else node


def _end_steps(convolution: Any) -> None:
    """In front of a group norm, let OpenVINO multiply by the steps at once. It would carry them on past the norm's
    means, and wrongly where the picture's size is open (2026.4.1: cosines of 0.9). It carries nothing past a minimum.
    """
    readers = list(convolution.output(0).get_target_inputs())
    if any(reader.get_node().get_type_name() == "ReduceMean" for reader in readers):
        same = ops.minimum(convolution, ops.constant(np.finfo(np.float32).max))
        for reader in readers:
            reader.replace_source_output(same.output(0))


def _before_pool(reader: Any) -> Any:
    """The input to round: the pool's in front of a convolution, if there is one. The largest of rounded numbers is the
    rounded largest, and the stem writes 8 bits at once."""
    node = reader.get_source_output().get_node()
    alone = node.get_type_name() == "MaxPool" and all(
        one.get_node().get_type_name() == "Convolution" for one in node.output(0).get_target_inputs()
    )
    return node.input(0) if alone else reader


def name_of(convolution: Any) -> str:
    """layer1.0.conv1, or conv1."""
    return str(convolution.input_value(1).get_node().get_friendly_name()).removesuffix(".weight").split("backbone.")[-1]


def _block(convolution: Any) -> str:
    found = BLOCK.search(name_of(convolution))
    return found[0] if found else STEM


def _scalar(value: float) -> Any:
    return ops.constant(np.full((1, 1, 1, 1), value, np.float32))
