"""What is rounded to 8 bits, to which steps, and what is left alone; on a network of one bottleneck."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from engine.graphs import bottleneck, images, kinds, outputs
from resnetfea.engine import quantize

BLOCKS = ["conv1", "layer1.0"]
ROUNDED = {"layer1.0.conv1", "layer1.0.conv3", "layer1.0.conv_down_sample"}  # the 3x3 one has groups


@pytest.fixture
def folded() -> ov.Model:
    graph = bottleneck()
    quantize.fold_norms(graph)
    return graph


def quantized(graph: ov.Model, *, kept: list[str]) -> ov.Model:
    with_ranges, names = quantize.with_range_outputs(graph)
    found = quantize.ranges(names, [outputs(with_ranges, images())])
    return quantize.quantized(graph, found, kept=kept)


@pytest.mark.parametrize("variance", [1.0, 1e-8, 1e-20])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_folded_norms_compute_the_same(eps: float, variance: float) -> None:
    graph = bottleneck(eps=eps, variance=variance)
    (before,) = outputs(graph, images())
    assert kinds(graph).count("GroupConvolution") == 1
    quantize.fold_norms(graph)
    (after,) = outputs(graph, images())
    assert "BatchNormInference" not in kinds(graph)
    assert len({tuple(part) for part in before[0].reshape(12, -1)}) > 6  # it is no map of zeros
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()


def test_folding_keeps_the_names_and_happens_once(folded: ov.Model) -> None:
    assert quantize.blocks(folded) == BLOCKS
    assert [quantize.name_of(one) for one in quantize.convolutions(folded)] == [
        name for name in order(folded) if name != "layer1.0.conv2"
    ]
    before = kinds(folded)
    quantize.fold_norms(folded)
    assert kinds(folded) == before


def test_a_graph_without_batch_norms_is_left_alone() -> None:
    x = ops.parameter([1, 3, 8, 8], np.float32)
    weight = np.ones((2, 3, 1, 1), np.float32)
    graph = ov.Model([ops.relu(ops.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1]))], [x])
    before = kinds(graph)
    quantize.fold_norms(graph)
    assert kinds(graph) == before


def test_ranges_are_what_goes_in(folded: ov.Model) -> None:
    with_ranges, names = quantize.with_range_outputs(folded)
    x = images()
    found = quantize.ranges(names, [outputs(with_ranges, x)])
    assert set(found) == {"conv1", *ROUNDED}
    assert found["conv1"] == (float(x.min()), float(x.max()))
    inputs = {quantize.name_of(one): one.input_value(0) for one in quantize.convolutions(folded)}
    for name in ROUNDED:
        (going_in,) = outputs(ov.Model([inputs[name]], folded.get_parameters()), x)
        assert found[name] == (float(going_in.min()), float(going_in.max()))
    assert len(folded.outputs) == 1  # it was a copy


def test_the_widest_range_of_all_pictures_counts() -> None:
    found = [[np.array(end, np.float32) for end in ends] for ends in ((0, 3), (-2, 1), (0, 2))]
    assert quantize.ranges(["a"], found) == {"a": (-2.0, 3.0)}


def test_only_inputs_and_weights_of_convolutions_are_rounded(folded: ov.Model) -> None:
    graph = quantized(folded, kept=["conv1"])
    for one in fakes(graph):
        readers = [reader.get_node() for reader in one.output(0).get_target_inputs()]
        pools = [node for node in readers if node.get_type_name() == "MaxPool"]
        behind = [reader.get_node() for pool in pools for reader in pool.output(0).get_target_inputs()]
        assert {node.get_type_name() for node in [*readers, *behind]} - {"MaxPool"} == {"Convolution"}
    convolutions = {quantize.name_of(one): one for one in quantize.convolutions(with_weights_bare(graph))}
    assert {name for name, one in convolutions.items() if is_rounded(one.input_value(0))} == ROUNDED
    assert len(list(fakes(graph))) == 3 + 2  # three weights; the pool's two readers share its input's
    assert len(list(fakes(folded))) == 0


@pytest.mark.parametrize("kept", [["conv1"], ["layer1.0"], BLOCKS, []])
def test_what_is_kept_is_not_rounded(folded: ov.Model, kept: list[str]) -> None:
    graph = quantized(folded, kept=kept)
    rounded = {
        str(one.input_value(0).get_node().get_friendly_name())
        for one in fakes(graph)
        if one.input_value(0).get_node().get_type_name() == "Constant"
    }
    wanted = {"conv1"} | ROUNDED
    assert {name.removesuffix(".weight").removeprefix("backbone.") for name in rounded} == {
        name for name in wanted if not any(name.startswith(block) for block in kept)
    }
    inputs = [one for one in fakes(graph) if one.input_value(0).get_node().get_type_name() != "Constant"]
    assert bool(inputs) == (kept != BLOCKS)
    if kept == BLOCKS:
        assert np.array_equal(outputs(graph, images())[0], outputs(folded, images())[0])


def test_weights_have_255_levels_around_zero_and_inputs_256(folded: ov.Model) -> None:
    graph = quantized(folded, kept=[])
    for one in fakes(graph):
        source = one.input_value(0).get_node()
        if source.get_type_name() != "Constant":
            (values,) = outputs(ov.Model([one.output(0)], graph.get_parameters()), images())
            assert len(np.unique(values)) <= 256
            continue
        (values,) = outputs(ov.Model([one.output(0)], []))
        for channel, given in zip(values, source.data, strict=True):
            step = np.abs(given).max() / 127
            levels = channel / step
            assert np.abs(levels - np.rint(levels)).max() < 1e-3
            assert np.abs(levels).max() < 127.001
            assert np.abs(channel - given).max() <= step * 0.501
            assert np.abs(levels).max() > 126.999  # all levels are used


def test_rounding_costs_a_little(folded: ov.Model) -> None:
    before, after = outputs(folded, images())[0], outputs(quantized(folded, kept=["conv1"]), images())[0]
    error = np.abs(after - before).max() / np.abs(before).max()
    assert 1e-4 < error < 0.05


def test_a_dead_channel_stays_dead() -> None:
    graph = bottleneck()
    quantize.fold_norms(graph)
    first = next(one for one in quantize.convolutions(graph) if quantize.name_of(one) == "layer1.0.conv1")
    values = first.input_value(1).get_node().data.copy()
    values[3] = 0
    weight = ops.constant(values)
    weight.set_friendly_name("layer1.0.conv1.weight")
    first.input(1).replace_source_output(weight.output(0))
    (found,) = outputs(quantized(graph, kept=["conv1"]), images())
    assert np.isfinite(found).all()
    assert np.abs(found - outputs(graph, images())[0]).max() < 0.05 * np.abs(found).max()


def fakes(graph: ov.Model) -> Iterator[Any]:
    return (one for one in graph.get_ordered_ops() if one.get_type_name() == "FakeQuantize")


def is_rounded(output: Any) -> bool:
    """Straight, or through the pool."""
    node = output.get_node()
    if node.get_type_name() == "MaxPool":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "FakeQuantize")


def with_weights_bare(graph: ov.Model) -> ov.Model:
    """Without the rounding of weights, so that convolutions have their names again."""
    copy = graph.clone()
    for one in list(copy.get_ordered_ops()):
        node: Any = one.input_value(1).get_node() if one.get_type_name() == "Convolution" else None
        if node is not None and node.get_type_name() == "FakeQuantize":
            one.input(1).replace_source_output(node.input_value(0))
    return copy


def order(graph: ov.Model) -> list[str]:
    """The names of all convolutions, grouped ones too, in order."""
    found = []
    for one in graph.get_ordered_ops():
        if one.get_type_name().endswith("Convolution"):
            found.append(quantize.name_of(one))
    return found
