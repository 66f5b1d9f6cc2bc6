"""The ResNet that a Mask R-CNN takes its features from, as MindSpore cells.

The five names and their signatures are those of the MindSpore port of maskrcnn-benchmark's backbone
(ResNetFea in mindspore-ai/models eab643f, official/cv/MaskRCNN; the network is He et al. 2015, arXiv:1512.03385).
What ResNets of other origin do differently is in Variant, and comes in as one keyword.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from resnetfea import cpu_guard
from resnetfea.network.deform import DeformConv
from resnetfea.network.norm import _BatchNorm2dInit, norm_of
from resnetfea.network.pooling import max_pool
from resnetfea.network.variant import LAYERS, Deform, Variant

cpu_guard.announce()

__all__ = ["ResNetFea", "ResidualBlockUsing", "_BatchNorm2dInit", "_conv", "weight_init_ones"]  # the source's names
SOURCE_VARIANT = Variant()  # what the source document builds


class ResNetFea(nn.Cell):
    """ResNet without its classifier: one image batch in, the maps of its four stages out.

    Weights start as the constant 0.01 of the source, so that activations overflow after a few blocks: load a
    checkpoint, or use resnetfea.resnet50, before believing any number.

    Args:
        block: the block's class, ResidualBlockUsing.
        layer_nums: blocks in each stage, e.g. [3, 4, 6, 3].
        in_channels: channels that enter each stage, e.g. [64, 256, 512, 1024].
        out_channels: channels that leave it, e.g. [256, 512, 1024, 2048].
        weights_update: train stem and layer1 too, whatever variant.freeze_at says. They are frozen by default, and c2
            is behind a stop-gradient.
        variant: how this ResNet computes (stride place, pooling, eps, ...), and which maps come out. The sizes above
            come from the lists; where variant.out ends before c5, so do the stages.

    Raises:
        ValueError: a list is not of length 4.
    """

    def __init__(
        self,
        block: type[ResidualBlockUsing],
        layer_nums: Sequence[int],
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        weights_update: bool = False,
        *,
        variant: Variant = SOURCE_VARIANT,
    ) -> None:
        super().__init__()
        if not len(layer_nums) == len(in_channels) == len(out_channels) == 4:
            raise ValueError("layer_nums, in_channels and out_channels must each have 4 entries, one for each stage")
        self.weights_update = weights_update
        self.out = variant.out
        freeze_at = 0 if weights_update else variant.freeze_at
        self.frozen_layers = LAYERS[: max(freeze_at - 1, 0)]  # 1 is the stem alone
        stem = in_channels[0]
        self.conv1 = _conv(3, stem, kernel_size=7, stride=2, **_padding(3, variant))
        # The source never trains the stem's norm, not even under weights_update; the other norms' ecosystems do.
        self.bn1 = norm_of(stem, variant, trains=freeze_at < 1 and variant.norm != "affine")
        self.relu = nn.ReLU()
        self.maxpool = max_pool(variant.pool)
        _freeze(self, unless=freeze_at < 1)
        sizes = list(zip(layer_nums, in_channels, out_channels, strict=True))
        for stage, (blocks, inputs, outputs) in enumerate(sizes[: variant.stages], 1):
            update = freeze_at <= stage
            setattr(self, f"layer{stage}", _make_layer(block, blocks, inputs, outputs, stage, update, variant))
        self.layers = tuple(zip(LAYERS, ("layer1", "layer2", "layer3", "layer4"), strict=True))[: variant.stages]

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps c2, c3, c4, c5 (those of variant.out) of images x (N, 3, H, W), float32 whatever type x has.

        They are (N, 256, H/4, W/4), (N, 512, H/8, W/8), (N, 1024, H/16, W/16), (N, 2048, H/32, W/32).
        """
        x = self.relu(self.bn1(self.conv1(x)))  # (N, 64, H/2, W/2)
        x = self.maxpool(x)  # (N, 64, H/4, W/4)
        maps: tuple[Tensor, ...] = ()
        for layer, stage in self.layers:
            x = getattr(self, stage)(x)
            if layer in self.frozen_layers:
                x = ops.stop_gradient(x)
            if layer in self.out:
                maps = (*maps, x)
        return maps


def _make_layer(
    block: type[ResidualBlockUsing],
    blocks: int,
    inputs: int,
    outputs: int,
    stage: int,
    weights_update: bool,
    variant: Variant,
    stride: int = 2,
) -> nn.SequentialCell:
    """One stage, 1 to 4: a first block that changes size and channels, the rest that keep them."""
    dilation = variant.dilation if stage == 4 else 1
    stride = 1 if stage == 1 or dilation > 1 else stride  # layer1 and a dilated stage keep the size
    options: dict[str, Any] = {"weights_update": weights_update, "variant": variant}
    options |= {"dilation": dilation, "deform": variant.deform[stage - 1]}
    first = block(inputs, outputs, stride=stride, down_sample=stride != 1 or inputs != outputs, **options)
    return nn.SequentialCell([first] + [block(outputs, outputs, **options) for _ in range(blocks - 1)])


class ResidualBlockUsing(nn.Cell):
    """Bottleneck: 1x1, 3x3, 1x1, added to its input or to a projection of it.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; inside it is a quarter of them, or what the variant's widths say.
        stride: 1, or 2 to halve the size, in the convolution that variant.stride_in names.
        down_sample: project the input (1x1 convolution and norm, of the same stride).
        momentum: of the running statistics; without effect while they are frozen, and norm "batch" has its own.
        training: normalise with the batch's own statistics.
        weights_update: let convolutions, scales and shifts train.
        variant: how this ResNet computes.
        dilation, deform: of the 3x3 convolution, whose numbers of groups are the variant's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        down_sample: bool = False,
        momentum: float = 0.1,
        training: bool = False,
        weights_update: bool = False,
        *,
        variant: Variant = SOURCE_VARIANT,
        dilation: int = 1,
        deform: Deform = "none",
    ) -> None:
        super().__init__()

        def norm(channels: int) -> nn.Cell:
            return norm_of(channels, variant, weights_update, momentum, training)

        width = out_channels * variant.width // variant.res2_channels
        first, second = (stride, 1) if variant.stride_in == "1x1" else (1, stride)
        self.conv1 = _conv(in_channels, width, kernel_size=1, stride=first)
        self.bn1 = norm(width)
        self.conv2 = _conv_3x3(width, second, dilation, deform, variant)
        self.bn2 = norm(width)
        self.conv3 = _conv(width, out_channels, kernel_size=1)
        self.bn3 = norm(out_channels)
        self.relu = nn.ReLU()
        self.add = ops.Add()
        self.down_sample = down_sample
        if down_sample:
            self.conv_down_sample = _conv(in_channels, out_channels, kernel_size=1, stride=stride)
            self.bn_down_sample = norm(out_channels)
        _freeze(self, unless=weights_update)

    def construct(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H/stride, W/stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut = self.bn_down_sample(self.conv_down_sample(x)) if self.down_sample else x
        return self.relu(self.add(y, shortcut))


def _freeze(cell: nn.Cell, *, unless: bool) -> None:
    """Nothing of what it holds so far trains."""
    if not unless:
        for parameter in cell.get_parameters():
            parameter.requires_grad = False


def _conv_3x3(width: int, stride: int, dilation: int, deform: Deform, variant: Variant) -> nn.Cell:
    """The bottleneck's middle, the only convolution that may have groups, holes or offsets."""
    if deform != "none":
        return DeformConv(width, stride, dilation, variant.groups, version=deform, deform_groups=variant.deform_groups)
    return _conv(width, width, 3, stride, **_padding(dilation, variant), dilation=dilation, group=variant.groups)


def _padding(pixels: int, variant: Variant) -> dict[str, Any]:
    """_conv's arguments for so many pixels on every side, or for ModelZoo's SAME, which counts them itself."""
    return {"pad_mode": "same"} if variant.conv_pad == "same" else {"padding": pixels}


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int = 0,
    pad_mode: str = "pad",
    *,
    dilation: int = 1,
    group: int = 1,
) -> nn.Conv2d:
    """A convolution without bias; `padding` pixels on every side. It computes in fp16 on Ascend, in fp32 elsewhere."""
    weight = weight_init_ones((out_channels, in_channels // group, kernel_size, kernel_size))
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        pad_mode=pad_mode,
        dilation=dilation,
        group=group,
        weight_init=weight,
        has_bias=False,
    )
    on_ascend = ms.get_context("device_target") == "Ascend"
    return conv.to_float(ms.float16 if on_ascend else ms.float32)


def weight_init_ones(shape: Sequence[int]) -> Tensor:
    """The constant initial weight of the source: 0.01, float32."""
    return Tensor(np.full(shape, 0.01, np.float32))
