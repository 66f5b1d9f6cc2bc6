"""The ResNet once more, in PyTorch and as plain functions: what the MindSpore network must equal number for number.

Nothing here comes from resnetfea but the table of variants, so that a mistake there cannot repeat itself here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetfea.network.variant import Variant

State = Mapping[str, Tensor]


def features(state: State, variant: Variant, x: Tensor) -> dict[str, Tensor]:
    """c2 to c5 of images x (N, 3, H, W), float32, by torchvision's tensor names."""
    with torch.inference_mode():
        x = spatial_conv(x, state["conv1.weight"], 2, variant.conv_pad)  # (N, 64, H/2, W/2)
        x = F.relu(batch_norm(state, "bn1", variant.bn_eps, x))
        x = max_pool(x, variant.pool)  # (N, 64, H/4, W/4)
        maps = {}
        for stage, blocks in enumerate(variant.layer_nums, start=1):
            for index in range(blocks):
                stride = 2 if stage > 1 and index == 0 else 1
                x = bottleneck(state, f"layer{stage}.{index}", variant, stride, x)
            maps[f"c{stage + 1}"] = x  # (N, 256 * 2^(stage-1), H / 2^(stage+1), W / 2^(stage+1))
        return maps


def bottleneck(state: State, name: str, variant: Variant, stride: int, x: Tensor) -> Tensor:
    """One block. The first of a stage has a projection in its shortcut, which the tensors' names tell."""
    eps = variant.bn_eps
    reduce_stride, spatial_stride = {"1x1": (stride, 1), "3x3": (1, stride)}[variant.stride_in]
    y = F.conv2d(x, state[f"{name}.conv1.weight"], stride=reduce_stride)  # (N, out/4, ...)
    y = F.relu(batch_norm(state, f"{name}.bn1", eps, y))
    y = spatial_conv(y, state[f"{name}.conv2.weight"], spatial_stride, variant.conv_pad)  # (N, out/4, H/stride, ...)
    y = F.relu(batch_norm(state, f"{name}.bn2", eps, y))
    y = F.conv2d(y, state[f"{name}.conv3.weight"])  # (N, out, H/stride, W/stride)
    y = batch_norm(state, f"{name}.bn3", eps, y)
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)  # (N, out, H/stride, W/stride)
        x = batch_norm(state, f"{name}.downsample.1", eps, x)
    return F.relu(x + y)


def spatial_conv(x: Tensor, weight: Tensor, stride: int, conv_pad: str) -> Tensor:
    """7x7 or 3x3: half the window on every side, or SAME by its definition."""
    window = weight.shape[2]
    if conv_pad == "symmetric":
        return F.conv2d(x, weight, stride=stride, padding=window // 2)
    top, bottom = same_padding(x.shape[2], window, stride)
    left, right = same_padding(x.shape[3], window, stride)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, stride=stride)


def batch_norm(state: State, name: str, eps: float, x: Tensor) -> Tensor:
    """With stored statistics. F.batch_norm refuses eps 0, so that case is maskrcnn-benchmark's formula, spelt out."""
    gamma, beta = state[f"{name}.weight"], state[f"{name}.bias"]
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if eps:
        return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=eps)
    scale = gamma * variance.rsqrt()
    shift = beta - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def max_pool(x: Tensor, pool: str) -> Tensor:
    """3x3 with stride 2: each of the three paddings by its own definition."""
    if pool == "pad1":
        return F.max_pool2d(x, 3, stride=2, padding=1)
    if pool == "ceil":
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)
    top, bottom = same_padding(x.shape[2], 3, 2)
    left, right = same_padding(x.shape[3], 3, 2)
    x = F.pad(x, (left, right, top, bottom), value=-torch.inf)
    return F.max_pool2d(x, 3, stride=2)


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: output ceil(size/stride), and the odd pixel goes behind."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
