"""Deformable convolution: every point of the kernel looks beside its place, by offsets that are computed as well.

v1 is Dai et al. 2017 (arXiv:1703.06211), v2 with a mask Zhu et al. 2018 (arXiv:1811.11168).
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from resnetfea.network.variant import Deform

POINTS = 9  # of a 3x3 kernel


class DeformConv(nn.Cell):
    """3x3 convolution without bias at points moved by `offset`, a plain 3x3 convolution of the same input.

    What the offset convolution gives is, as the CUDA kernels of mmcv, detectron2 and torchvision read it:
    for each deformable group, for each of the 9 points, dy and dx; then in v2, for each group, for each point, the
    mask before its sigmoid. So with G groups the mask starts behind 18 G channels.

    maskrcnn-benchmark (57eec25, layers/dcn/deform_conv_module.py and layers/misc.py, DFConv2d) takes channels 0 to 17
    and the last 9, whatever G is. That is the same for G = 1 alone; for more, its kernels are given too few channels.
    Here it is split as detectron2 and mmcv do.

    Args:
        channels: of the input and of the output.
        stride, dilation, groups: of both convolutions but groups, which only the moved one has.
        version: "v1" or "v2".
        deform_groups: of channels that move together.
    """

    def __init__(
        self, channels: int, stride: int, dilation: int, groups: int, *, version: Deform, deform_groups: int
    ) -> None:
        super().__init__()
        self.masked = version == "v2"
        self.stride, self.dilation, self.groups, self.deform_groups = stride, dilation, groups, deform_groups
        moves = 2 * POINTS * deform_groups
        # MindSpore's kernel wants all dx, all dy, all masks (its documentation says x and y)
        self.places = Tensor(np.r_[1:moves:2, 0:moves:2].astype(np.int32))
        self.masks = Tensor(np.arange(moves, 3 * POINTS * deform_groups).astype(np.int32))
        self.weight = Parameter(Tensor(np.full((channels, channels // groups, 3, 3), 0.01, np.float32)))
        self.offset = nn.Conv2d(
            channels,
            (3 if self.masked else 2) * POINTS * deform_groups,
            kernel_size=3,
            stride=stride,
            pad_mode="pad",
            padding=dilation,
            dilation=dilation,
            has_bias=True,
            weight_init="zeros",  # as in detectron2 and mmcv: it starts as a plain convolution
            bias_init="zeros",
        ).to_float(ms.float32)
        self.concat = ops.Concat(1)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/stride, W/stride)."""
        offset = self.offset(x)  # (N, 18 G or 27 G, H/stride, W/stride)
        # gather, because the gradient of a strided slice fails on CPU (2.10.0: "5 input memory out of bounds")
        places = ops.gather(offset, self.places, 1)  # (N, 18 G, ...)
        mask = ops.sigmoid(ops.gather(offset, self.masks, 1)) if self.masked else self._ones(places)
        return ops.deformable_conv2d(
            x,
            self.weight,
            self.concat((places, mask)),
            (3, 3),
            (1, 1, self.stride, self.stride),
            (self.dilation,) * 4,
            dilations=(1, 1, self.dilation, self.dilation),
            groups=self.groups,
            deformable_groups=self.deform_groups,
        )

    def _ones(self, places: Tensor) -> Tensor:
        """v1's masks: MindSpore has no convolution without."""
        n, _, height, width = places.shape
        return ops.ones((n, POINTS * self.deform_groups, height, width), places.dtype)
