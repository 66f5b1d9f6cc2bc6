"""How a network computes wrongly, or with wrong weights."""

from __future__ import annotations

from differences import changes
from differences.trap import Trap


def _at_sizes() -> list[Trap]:
    ways = {"pool.pad1": {"pool": "pad1"}, "pool.ceil": {"pool": "ceil"}, "conv_pad.same": {"conv_pad": "same"}}
    return [
        Trap(key=f"{key}@{side}", en="", zh="", network=f"at {side}", variant=variant)
        for side in (225, 226, 227)
        for key, variant in ways.items()
    ]


TRAPS = (
    Trap(key="pool.pad1", en="`pad1` instead of `same`", zh="`same` 用成了 `pad1`", variant={"pool": "pad1"}),
    Trap(
        key="pool.ceil",
        en="`ceil` instead of `same`, at this even size",
        zh="`same` 用成了 `ceil`，此处尺寸为偶数",
        variant={"pool": "ceil"},
    ),
    Trap(
        key="conv_pad.same",
        en="`same` instead of `symmetric`, in the stem",
        zh="stem 里 `symmetric` 用成了 `same`",
        variant={"conv_pad": "same"},
    ),
    Trap(
        key="conv_pad.modelzoo",
        en="`symmetric` instead of `same`, in the stem and three 3x3",
        zh="stem 和三个 3x3 卷积里 `same` 用成了 `symmetric`",
        network="as ModelZoo",
        variant={"conv_pad": "symmetric"},
    ),
    Trap(
        key="conv_pad.random",
        en="ModelZoo's ImageNet weights in its Mask R-CNN: `symmetric`",
        zh="ModelZoo 的 ImageNet 权重用进它的 Mask R-CNN：`symmetric`",
        network="random as ModelZoo",
        variant={"conv_pad": "symmetric"},
    ),
    Trap(
        key="conv_pad.random_eps",
        en="ModelZoo's ImageNet weights in its Mask R-CNN: `symmetric`, and eps 1e-5 instead of 1e-4",
        zh="ModelZoo 的 ImageNet 权重用进它的 Mask R-CNN：`symmetric`，eps 也由 1e-4 变成 1e-5",
        network="random as ModelZoo",
        variant={"conv_pad": "symmetric", "bn_eps": 1e-5},
    ),
    Trap(
        key="stride_in.3x3",
        en="in the 3x3 instead of the 1x1",
        zh="步长由 1x1 挪到 3x3",
        variant={"stride_in": "3x3"},
    ),
    Trap(key="dilation.2", en="2 instead of 1 in layer4", zh="layer4 的空洞率由 1 变成 2", variant={"dilation": 2}),
    Trap(
        key="bn_eps.folded_1e-5",
        en="folded norms: 1e-5 instead of 0",
        zh="已折叠的归一化：0 变成 1e-5",
        variant={"bn_eps": 1e-5},
    ),
    Trap(
        key="bn_eps.folded_1e-4",
        en="folded norms: 1e-4 instead of 0",
        zh="已折叠的归一化：0 变成 1e-4",
        variant={"bn_eps": 1e-4},
    ),
    Trap(
        key="bn_eps.folded_1e-3",
        en="folded norms: 1e-3 instead of 0",
        zh="已折叠的归一化：0 变成 1e-3",
        variant={"bn_eps": 1e-3},
    ),
    *(
        Trap(
            key=f"bn_eps.{wrong}",
            en=f"{wrong} instead of 1e-5",
            zh=f"1e-5 变成 {wrong}",
            network="random",
            variant={"bn_eps": float(wrong)},
        )
        for wrong in ("0", "1.001e-5", "1e-4", "1e-3")
    ),
    Trap(
        key="bn_statistics.batch",
        en="training mode, one photo at a time",
        zh="训练模式，每次一张照片",
        run="batch statistics",
    ),
    Trap(
        key="bn_statistics.identity",
        en="not loaded in layer3",
        zh="layer3 的统计量没有加载",
        network="random",
        tensors=changes.norms_not_loaded("layer3.", "running_mean", "running_var"),
    ),
    Trap(
        key="bn_statistics.other",
        en="bn1 and bn2 exchanged in one block, layer3.1",
        zh="layer3.1 这一个块里 bn1 和 bn2 的统计量互换",
        network="random",
        tensors=changes.swapped("layer3.1.bn1", "layer3.1.bn2", "running_mean", "running_var"),
    ),
    Trap(
        key="bn_affine.all",
        en="all norms left as they start",
        zh="所有归一化都停在初始值",
        tensors=changes.norms_not_loaded(""),
    ),
    Trap(
        key="bn_affine.layer3",
        en="shifts not loaded in layer3",
        zh="layer3 的平移项没有加载",
        tensors=changes.norms_not_loaded("layer3.", "weight", "bias"),
    ),
    Trap(
        key="bn_affine.random",
        en="scales and shifts not loaded in layer3",
        zh="layer3 的缩放和平移都没有加载",
        network="random",
        tensors=changes.norms_not_loaded("layer3.", "weight", "bias"),
    ),
    Trap(key="weights.layer4", en="layer4 not loaded", zh="layer4 没有加载", tensors=changes.not_loaded("layer4.")),
    Trap(
        key="weights.projections",
        en="the four projections not loaded",
        zh="四个投影没有加载",
        tensors=changes.not_loaded("downsample"),
    ),
    Trap(
        key="weights.kernels",
        en="rows and columns of all kernels exchanged",
        zh="所有卷积核的行与列互换",
        tensors=changes.kernels_transposed,
    ),
    Trap(
        key="weights.channels",
        en="inputs and outputs of the 3x3 kernels exchanged",
        zh="3x3 卷积核的输入与输出通道互换",
        tensors=changes.channels_transposed,
    ),
    Trap(
        key="weights.projection_swapped",
        en="layer1.0's projection exchanged with its conv3 and bn3",
        zh="layer1.0 的投影与 conv3、bn3 互换",
        network="random",
        tensors=changes.projection_swapped,
    ),
    Trap(
        key="weights.norm_swapped",
        en="layer2.0's bn3 exchanged with its projection's norm",
        zh="layer2.0 的 bn3 与投影的归一化互换",
        network="random",
        tensors=changes.swapped("layer2.0.bn3", "layer2.0.downsample.1"),
    ),
    Trap(
        key="precision.weights",
        en="weights rounded to float16",
        zh="权重舍入到 float16",
        tensors=changes.all_tensors(changes.float16),
    ),
    Trap(
        key="precision.float16",
        en="computed in float16",
        zh="用 float16 计算",
        tensors=changes.all_tensors(changes.float16),
        rounding=changes.float16,
    ),
    Trap(
        key="precision.bfloat16",
        en="computed in bfloat16",
        zh="用 bfloat16 计算",
        tensors=changes.all_tensors(changes.bfloat16),
        rounding=changes.bfloat16,
    ),
    Trap(
        key="nothing.batch",
        en="one photo at a time instead of four together",
        zh="每次一张照片，而不是四张一批",
        run="alone",
    ),
    Trap(key="nothing.openvino", en="OpenVINO instead of MindSpore", zh="用 OpenVINO 而不是 MindSpore", run="compiled"),
    *_at_sizes(),
)
