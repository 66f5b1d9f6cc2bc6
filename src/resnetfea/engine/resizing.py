"""A pyramid's resizes in an exported graph: to the size that the lateral has, instead of the one it had when exported.

MindSpore's ONNX export writes shapes as numbers, and has no operator that asks for one (2.10.0: no TensorShape, Range,
CumSum or NonZero). So each resize is to 14x14 for ever, and any other image than 224x224 is refused, unless this
puts the question in.
"""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as ops


def to_the_laterals(model: ov.Model) -> None:
    """Take the size of each resize from the map that its result is added to.

    OpenVINO's nearest pixel is PyTorch's wherever the finer map is as large as the coarser one or twice as large, less
    an odd pixel, as all maps of a ResNet are. The tests hold it to that up to 2200 pixels.
    """
    for resize in model.get_ops():
        if resize.get_type_name() == "Interpolate":
            (consumer,) = resize.output(0).get_target_inputs()
            added = consumer.get_node().input_values()
            (lateral,) = (one for one in added if one.get_node() != resize)
            resize.input(1).replace_source_output(ops.shape_of(lateral).output(0))
