"""FPN: the feature pyramid (Lin et al. 2016, arXiv:1612.03144, section 3) on a ResNet's stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeUniform

from resnetfea.network.norm import GroupNorm

Norm = Literal["none", "group", "batch"]
Top = Literal["pool", "c5", "p5"]
FIRST = 6  # without levels: c5 is always the last, so that four are c2 to c5, three are c3 to c5
STRIDES = (4, 8, 16, 32)  # of c2 to c5
NORM_EPS = 1e-5  # torch's default, detectron2's, and maskrcnn-benchmark's GROUP_NORM.EPSILON


class FPN(nn.Cell):
    """Maps c2 to c5 in; p2 to p6 out, all equally wide, each with what the coarser levels know.

    The defaults are torchvision's pyramid under Mask R-CNN, and give detectron2's and maskrcnn-benchmark's numbers too
    (these two double the size instead, and accept only inputs where that is the same).

    | whose | needs |
    |---|---|
    | torchvision 0.29.2, ops/feature_pyramid_network.py | the defaults; norm="batch" for `_v2` Faster and Mask R-CNN |
    | its RetinaNet, FCOS (models/detection) | three levels; top="p5" (v1), top="c5" (RetinaNet v2) |
    | maskrcnn-benchmark 57eec25, modeling/backbone/fpn.py | the defaults; norm="group" under FPN.USE_GN |
    | its RetinaNet (backbone.py) | three levels; top="c5", top="p5" where RETINANET.USE_C5 is off |
    | detectron2 02b5c4e, modeling/backbone/fpn.py | the defaults; norm="group" for NORM GN, fuse="avg" for FUSE_TYPE |
    | its RetinaNet | three levels; top="c5" |
    | mmdet 3.3.0, models/necks/fpn.py | the defaults; for its RetinaNet three levels, top="c5", top_relu=False |
    | MindSpore ModelZoo eab643f, .../fpn_neck.py | resize="bilinear" for Mask R-CNN, the defaults for Faster R-CNN |

    Args:
        in_channels: of each map that comes in, finest first, c5 last: [256, 512, 1024, 2048], or three for c3 to c5.
        out_channels: of every map that goes out.
        top: "pool": p6 is every second pixel of p5 (a max pool of one pixel). "c5", "p5": RetinaNet's p6 and p7, by
            3x3/2 convolutions, the first on that map.
        top_relu: a ReLU between p6 and p7's convolution.
        fuse: what a lateral and the coarser level's map become: their "sum", or their "avg".
        norm: behind each convolution: "none" (then they have biases), "group", or "batch" with its stored statistics.
        norm_groups: of "group".
        resize: of the coarser map, to the lateral's size: "nearest" (F.interpolate's), or "bilinear" as
            MindSpore's ResizeBilinear was: align_corners=False *without* the half pixel that PyTorch's bilinear
            has, so that no PyTorch setting gives these numbers. It has no ONNX export.
        in_strides: of the maps that come in; None where the ResNet is not dilated.

    Raises:
        ValueError: fewer than two or more than four maps, or an option that is none of these.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        *,
        top: Top = "pool",
        top_relu: bool = True,
        fuse: Literal["sum", "avg"] = "sum",
        norm: Norm = "none",
        norm_groups: int = 32,
        resize: Literal["nearest", "bilinear"] = "nearest",
        in_strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        levels = len(in_channels)
        if not 2 <= levels <= len(STRIDES):
            raise ValueError(f"in_channels={list(in_channels)}: one for each of c2 to c5, c3 to c5, or c4 and c5")
        in_strides = tuple(in_strides or STRIDES[-levels:])
        if len(in_strides) != levels:
            raise ValueError(f"in_strides={in_strides}: one for each of {levels} maps")
        for name, value, choice in (
            ("top", top, ("pool", "c5", "p5")),
            ("fuse", fuse, ("sum", "avg")),
            ("norm", norm, ("none", "group", "batch")),
            ("resize", resize, ("nearest", "bilinear")),
        ):
            if value not in choice:
                raise ValueError(f"{name}={value!r}: use one of {choice}")
        self.top, self.top_relu, self.fuse, self.resize = top, top_relu, fuse, resize
        extra = 1 if top == "pool" else 2
        names = [f"p{FIRST - levels + index}" for index in range(levels + extra)]
        self._strides = dict(
            zip(names, (*in_strides, *(in_strides[-1] * 2 ** (1 + i) for i in range(extra))), strict=True)
        )
        self._channels = dict.fromkeys(names, out_channels)

        def norms() -> nn.CellList:
            return nn.CellList([_norm(norm, out_channels, norm_groups) for _ in range(levels)])

        bias = norm == "none"
        # ModelZoo's names, as ResNetFea's are. Of four levels, 0 is c2; of three, c3.
        self.lateral_convs_list = nn.CellList([_conv(channels, out_channels, 1, bias=bias) for channels in in_channels])
        self.lateral_norms = norms()
        self.fpn_convs_list = nn.CellList([_conv(out_channels, out_channels, 3, bias=bias) for _ in range(levels)])
        self.fpn_norms = norms()
        if top == "pool":
            self.maxpool = nn.MaxPool2d(kernel_size=1, stride=2)
        else:
            entering = in_channels[-1] if top == "c5" else out_channels
            self.p6 = _conv(entering, out_channels, 3, stride=2)
            self.p7 = _conv(out_channels, out_channels, 3, stride=2)
        self.relu = nn.ReLU()
        self.add, self.mul = ops.Add(), ops.Mul()
        self.bilinear = ops.ResizeBilinearV2(align_corners=False, half_pixel_centers=False)

    @property
    def channels(self) -> dict[str, int]:
        """Of each map that goes out, by its name, in their order."""
        return dict(self._channels)

    @property
    def strides(self) -> dict[str, int]:
        """Pixels of the image between two of the map, for each map that goes out."""
        return dict(self._strides)

    def construct(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps p2 to p6 (or as `channels` says) of c2 to c5; p2 is as large as c2, and so on."""
        last = len(features) - 1
        inner = self.lateral_norms[last](self.lateral_convs_list[last](features[last]))  # (N, out, H/32, W/32)
        maps: tuple[Tensor, ...] = (self.fpn_norms[last](self.fpn_convs_list[last](inner)),)
        for level in range(last - 1, -1, -1):
            lateral = self.lateral_norms[level](self.lateral_convs_list[level](features[level]))
            inner = self.add(lateral, self._resized(inner, lateral))  # twice as large as the one before
            if self.fuse == "avg":
                inner = self.mul(inner, 0.5)
            maps = (self.fpn_norms[level](self.fpn_convs_list[level](inner)), *maps)
        return maps + self._top(features[last], maps[last])

    def _resized(self, x: Tensor, like: Tensor) -> Tensor:
        """x in the height and width of `like`."""
        if self.resize == "bilinear":
            return self.bilinear(x, like.shape[2:])
        return ops.ResizeNearestNeighbor(like.shape[2:])(x)  # ops.interpolate's has no ONNX export

    def _top(self, c5: Tensor, p5: Tensor) -> tuple[Tensor, ...]:
        """What goes on top: p6, or p6 and p7."""
        if self.top == "pool":
            return (self.maxpool(p5),)
        p6 = self.p6(c5 if self.top == "c5" else p5)
        return p6, self.p7(self.relu(p6) if self.top_relu else p6)


class ResNetWithFPN(nn.Cell):
    """Images (N, 3, H, W) in; c2 to c5 and then the pyramid's maps out. Named as ModelZoo's Mask R-CNN names both."""

    def __init__(self, backbone: nn.Cell, fpn: FPN) -> None:
        super().__init__()
        self.backbone, self.fpn_ncek = backbone, fpn
        self.levels = len(fpn.lateral_convs_list)

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        """(c2, c3, c4, c5, p2, ...)."""
        maps: tuple[Tensor, ...] = self.backbone(x)
        return (*maps, *self.fpn_ncek(maps[len(maps) - self.levels :]))


def _conv(inputs: int, outputs: int, size: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, or halves it rounding up. Initialised as torchvision's are, biases 0."""
    conv = nn.Conv2d(
        inputs,
        outputs,
        kernel_size=size,
        stride=stride,
        pad_mode="pad",
        padding=size // 2,
        has_bias=bias,
        weight_init=HeUniform(negative_slope=1),
        bias_init="zeros",
    )
    on_ascend = ms.get_context("device_target") == "Ascend"
    return conv.to_float(ms.float16 if on_ascend else ms.float32)


def _norm(norm: Norm, channels: int, groups: int) -> nn.Cell:
    if norm == "group":
        return GroupNorm(groups, channels, NORM_EPS)
    if norm == "batch":
        return nn.BatchNorm2d(
            channels, eps=NORM_EPS, momentum=0.9
        )  # the old average's weight: torch's 0.1 is the new's
    return nn.Identity()
