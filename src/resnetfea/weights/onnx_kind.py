"""Which network a graph seems to be that is not a plain ResNet, so that its user is told more than where it differs."""

from __future__ import annotations

from collections import Counter

from resnetfea.weights.onnx_graph import Graph, Spot
from resnetfea.weights.onnx_model import Node

QUANTISED = ("QLinearConv", "ConvInteger", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear")
SQUEEZES = ("GlobalAveragePool", "ReduceMean")
GATES = ("Sigmoid", "HardSigmoid")
LEAST_SUMS = 4  # shortcuts of a ResNet: one for each stage at least
LAYOUT = "NCHW"  # any will do: only who uses whom is asked here


def seems(graph: Graph) -> str | None:
    """In words, as far as the structure shows it; None where it shows nothing."""
    operators = Counter(node.operator for node in graph.nodes)
    if any(operators[name] for name in QUANTISED):
        return "an int8-quantised network (export it before it is quantised)"
    convs = [node for node in graph.nodes if node.operator == "Conv"]
    if not convs:
        return "a network without convolutions"
    sums = [node for node in graph.nodes if _is_sum(graph, node)]
    groups = Counter(node.attributes().get("group", 1) for node in convs)
    groups.pop(1, None)
    if len(groups) > 1:
        return "a network of depthwise convolutions (MobileNet, EfficientNet, ...)"
    if len(sums) < LEAST_SUMS:
        return "a network without shortcuts (VGG, DenseNet, ...)"
    if operators["MatMul"] and operators["Softmax"] and operators["AveragePool"] and _is_deep_stem(graph):
        return "CLIP's ResNet (a stem of three convolutions, attention pooling)"
    if sum(operators[name] for name in SQUEEZES) > 1 and any(operators[name] for name in GATES):
        return "an SE-ResNet (squeeze and excitation: channels weighed by a Sigmoid)"
    if _is_deep_stem(graph):
        return "a ResNet with a deep stem (three 3x3 convolutions, ResNet-C or -D)"
    if any(_is_normed(graph, node) for node in sums):
        return "a pre-activation ResNet (v2: norms in front of the convolutions)"
    pool = next((node for node in graph.nodes if node.operator == "MaxPool"), None)
    if pool is not None:
        firsts = [use.node for use in graph.users(Spot(pool.outputs[0], LAYOUT), "Conv", padded=True)]
        if firsts and any(node.attributes().get("kernel_shape") == [3, 3] for node in firsts):
            return "a ResNet-18 or ResNet-34 (basic blocks of two 3x3 convolutions)"
    if operators["AveragePool"] > 1:
        return "a ResNet-D (average pools in its shortcuts)"
    if any(set(node.attributes().get("dilations", [1])) != {1} for node in convs):
        return "a dilated ResNet (as for segmentation)"
    return None


def _is_deep_stem(graph: Graph) -> bool:
    """The convolution that takes the image is 3x3."""
    first = [use.node for use in graph.users(Spot(graph.input, LAYOUT), "Conv", padded=True)]
    return bool(first) and first[0].attributes().get("kernel_shape") == [3, 3]


def _is_sum(graph: Graph, node: Node) -> bool:
    """Of two values that both depend on the image: a shortcut's end."""
    return node.operator in ("Add", "Sum") and not any(graph.is_constant(name) for name in node.inputs)


def _is_normed(graph: Graph, node: Node) -> bool:
    """A norm takes it: BatchNormalization, or a multiplication by constants."""
    uses = graph.users(Spot(node.outputs[0], LAYOUT), "BatchNormalization", "Mul")
    return any(graph.is_constant(use.node.inputs[1 - min(use.place, 1)]) for use in uses)
