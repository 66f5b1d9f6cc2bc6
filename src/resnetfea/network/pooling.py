"""The stem's 3x3 max pool of stride 2."""

from __future__ import annotations

from mindspore import nn


def max_pool(pool: str, *, exportable: bool = True) -> nn.Cell:
    """What Variant.pool names, for maps behind a ReLU.

    MindSpore's own pad_mode="pad" has no ONNX export, so the padding stands in front of the pool. With zeros, which
    never win behind a ReLU, it has an export, but takes 15 to 24 ms of a CPU at 64x112x112 (MindSpore 2.8 to 2.10).

    exportable: False repeats the outermost pixels instead, which win only where they win anyway: the same bits in
        0.5 ms, without an ONNX export.
    """
    if pool == "same":
        return nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
    front = 1 if pool == "pad1" else 0  # "ceil": one behind makes the last window whole where there is one
    mode = "CONSTANT" if exportable else "SYMMETRIC"  # ops.pad and nn.ZeroPad2d have no ONNX export either
    pad = nn.Pad(((0, 0), (0, 0), (front, 1), (front, 1)), mode=mode)
    return nn.SequentialCell([pad, nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="valid")])
