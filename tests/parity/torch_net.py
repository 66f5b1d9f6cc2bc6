"""The ResNet once more, in PyTorch and as plain functions: what the MindSpore network must equal number for number.

Nothing here comes from resnetfea but the table of variants, so that a mistake there cannot repeat itself here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from resnetfea.network.variant import Variant

State = Mapping[str, Tensor]
Keep = Callable[[str, Tensor], Tensor]  # gets every layer's output by torchvision's module name, and gives it back


def passed(name: str, output: Tensor) -> Tensor:
    """Keeps nothing."""
    return output


def features(
    state: State, variant: Variant, x: Tensor, *, training: bool = False, keep: Keep = passed
) -> dict[str, Tensor]:
    """The maps of variant.out of images x (N, 3, H, W), float32, by torchvision's tensor names."""
    stem_trains = training and variant.freeze_at < 1
    x = keep("conv1", spatial_conv(x, state["conv1.weight"], 2, variant.conv_pad))  # (N, 64, H/2, W/2)
    x = F.relu(keep("bn1", norm(state, "bn1", variant, x, stem_trains)))
    x = keep("maxpool", max_pool(x, variant.pool))  # (N, 64, H/4, W/4)
    maps: dict[str, Tensor] = {}
    for stage, blocks in enumerate(variant.layer_nums, start=1):
        for index in range(blocks):
            if f"layer{stage}.{index}.conv1.weight" not in state:  # a body of three stages
                return {name: value for name, value in maps.items() if name in variant.out}
            stride = 2 if stage > 1 and index == 0 else 1
            dilation = variant.dilation if stage == 4 else 1
            trains = training and variant.freeze_at <= stage
            x = bottleneck(state, f"layer{stage}.{index}", variant, stride, dilation, x, trains, keep)
        maps[f"c{stage + 1}"] = x  # (N, 256 * 2^(stage-1), H / 2^(stage+1), W / 2^(stage+1))
    return {name: value for name, value in maps.items() if name in variant.out}


def bottleneck(
    state: State, name: str, variant: Variant, stride: int, dilation: int, x: Tensor, training: bool, keep: Keep
) -> Tensor:
    """One block. The first of a stage has a projection in its shortcut, which the tensors' names tell."""
    stride = stride if dilation == 1 else 1  # maskrcnn-benchmark: a dilated stage has no stride
    reduce_stride, spatial_stride = {"1x1": (stride, 1), "3x3": (1, stride)}[variant.stride_in]
    y = keep(f"{name}.conv1", F.conv2d(x, state[f"{name}.conv1.weight"], stride=reduce_stride))  # (N, out/4, ...)
    y = F.relu(keep(f"{name}.bn1", norm(state, f"{name}.bn1", variant, y, training)))
    weight = state[f"{name}.conv2.weight"]
    if f"{name}.conv2.offset.weight" in state:
        moved = state[f"{name}.conv2.offset.weight"], state[f"{name}.conv2.offset.bias"]
        y = deform_conv(y, weight, *moved, spatial_stride, dilation, variant.groups, variant.deform_groups)
    else:
        y = spatial_conv(y, weight, spatial_stride, variant.conv_pad, dilation, variant.groups)
    y = keep(f"{name}.conv2", y)  # (N, out/4, H/stride, W/stride)
    y = F.relu(keep(f"{name}.bn2", norm(state, f"{name}.bn2", variant, y, training)))
    y = keep(f"{name}.conv3", F.conv2d(y, state[f"{name}.conv3.weight"]))  # (N, out, H/stride, W/stride)
    y = keep(f"{name}.bn3", norm(state, f"{name}.bn3", variant, y, training))
    if f"{name}.downsample.0.weight" in state:
        weight = state[f"{name}.downsample.0.weight"]
        x = keep(f"{name}.downsample.0", F.conv2d(x, weight, stride=stride))  # (N, out, H/stride, W/stride)
        x = keep(f"{name}.downsample.1", norm(state, f"{name}.downsample.1", variant, x, training))
    return keep(name, F.relu(x + y))


def spatial_conv(x: Tensor, weight: Tensor, stride: int, conv_pad: str, dilation: int = 1, groups: int = 1) -> Tensor:
    """7x7 or 3x3: half the window on every side, or SAME by its definition."""
    reach = dilation * (weight.shape[2] - 1) + 1
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    if conv_pad == "symmetric":
        return F.conv2d(x, weight, padding=reach // 2, **options)
    top, bottom = same_padding(x.shape[2], reach, stride)
    left, right = same_padding(x.shape[3], reach, stride)
    return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, **options)


def deform_conv(
    x: Tensor,
    weight: Tensor,
    offset_weight: Tensor,
    offset_bias: Tensor,
    stride: int,
    dilation: int,
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Dai et al. 2017 and Zhu et al. 2018, from their formulas: out(p) = sum_k w_k m_k x(p + k + dp_k), x bilinear.

    Channels of the offsets as in the authors' kernels: for each deformable group, for each point, dy and dx; then the
    masks of all groups (18 and 27 channels for one group tell v1 from v2).
    """
    moved = F.conv2d(x, offset_weight, offset_bias, stride=stride, padding=dilation, dilation=dilation)
    batch, _, height, width = moved.shape
    places = moved[:, : 18 * deform_groups].reshape(batch, deform_groups, 9, 2, height, width)
    masks = torch.ones_like(places[:, :, :, 0])
    if moved.shape[1] == 27 * deform_groups:
        masks = moved[:, 18 * deform_groups :].sigmoid().reshape(masks.shape)
    rows = torch.arange(height)[:, None] * stride - dilation
    columns = torch.arange(width)[None, :] * stride - dilation
    columns_of_kernel = []
    for point in range(9):
        y = rows + point // 3 * dilation + places[:, :, point, 0]  # (N, G, H', W') in pixels of x
        x_place = columns + point % 3 * dilation + places[:, :, point, 1]
        columns_of_kernel.append(bilinear(x, y, x_place) * _to_channels(masks[:, :, point], x.shape[1]))
    gathered = torch.stack(columns_of_kernel, 2).flatten(1, 2)  # (N, C * 9, H', W')
    return F.conv2d(gathered, weight.reshape(len(weight), -1, 1, 1), groups=groups)


def bilinear(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x (N, C, H, W) at places (N, G, H', W'), each for C/G channels; zero beyond the image's pixels."""
    top, left = row.floor(), column.floor()
    found = torch.zeros(())
    for y, x_place in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - (row - y).abs()) * (1 - (column - x_place).abs())
        inside = (y >= 0) & (y < x.shape[2]) & (x_place >= 0) & (x_place < x.shape[3])
        index = y.clamp(0, x.shape[2] - 1) * x.shape[3] + x_place.clamp(0, x.shape[3] - 1)
        values = x.flatten(2).gather(2, _to_channels(index.long(), x.shape[1]).flatten(2))
        share = _to_channels(share * inside, x.shape[1])
        found = found + values.reshape(share.shape) * share
    return found


def _to_channels(of_groups: Tensor, channels: int) -> Tensor:
    """(N, G, ...) to (N, C, ...): neighbouring channels share a group."""
    return of_groups.repeat_interleave(channels // of_groups.shape[1], 1)


def norm(state: State, name: str, variant: Variant, x: Tensor, training: bool) -> Tensor:
    """Group norm, the batch's own statistics, or the stored ones."""
    gamma, beta, eps = state[f"{name}.weight"], state[f"{name}.bias"], variant.bn_eps
    if variant.norm == "group":
        groups = len(gamma) // variant.norm_channels if variant.norm_channels else variant.norm_groups
        return F.group_norm(x, groups, gamma, beta, eps)
    if variant.norm == "batch" and training:
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)
    return batch_norm(state, name, eps, x)


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
