"""A ResNet as torch modules, for the exporter to ONNX: the shape of graph that real model files have."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetfea.network.variant import Variant


class ResNet(nn.Module):
    """Modules named as torchvision names them, so that a state dict of those names loads strictly. pool="pad1" only."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        if variant.pool != "pad1":
            raise ValueError(f"pool={variant.pool!r}: this module has pad1 alone")
        self.conv1 = nn.Conv2d(3, variant.stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(variant.stem_channels, eps=variant.bn_eps)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        sizes = zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True)
        stages = []
        for stage, (blocks, entering, leaving) in enumerate(sizes):
            first = Bottleneck(variant, stage, entering, leaving, stride=2 if stage else 1)
            stages.append(
                nn.Sequential(first, *[Bottleneck(variant, stage, leaving, leaving) for _ in range(blocks - 1)])
            )
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to c2, c3, c4, c5."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))  # (N, stem, H/4, W/4)
        c2 = self.layer1(x)  # (N, c, H/4, W/4)
        c3 = self.layer2(c2)  # (N, 2c, H/8, W/8)
        c4 = self.layer3(c3)  # (N, 4c, H/16, W/16)
        c5 = self.layer4(c4)  # (N, 8c, H/32, W/32)
        return c2, c3, c4, c5


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and the shortcut; a projection in the shortcut where the channels or the size change."""

    def __init__(self, variant: Variant, stage: int, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        inner = variant.width_per_group * 2**stage
        reduce_stride, spatial_stride = (stride, 1) if variant.stride_in == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, inner, 1, stride=reduce_stride, bias=False)
        self.bn1 = nn.BatchNorm2d(inner, eps=variant.bn_eps)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=spatial_stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner, eps=variant.bn_eps)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, eps=variant.bn_eps)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs, eps=variant.bn_eps))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut)


def build(variant: Variant, state: OrderedDict[str, Tensor]) -> ResNet:
    """The module with these weights, in evaluation mode. The classifier's are not part of it."""
    net = ResNet(variant)
    net.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, strict=True)
    net.eval()
    return net


def export(net: ResNet, x: Tensor, path: str, keep_norms: bool) -> None:
    """By torch's own exporter: with its BatchNormalization nodes kept, or folded into the convolutions."""
    training = torch.onnx.TrainingMode.PRESERVE if keep_norms else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        net,
        (x,),
        path,
        training=training,
        do_constant_folding=not keep_norms,
        input_names=["x"],
        output_names=["c2", "c3", "c4", "c5"],
        dynamo=False,
    )
