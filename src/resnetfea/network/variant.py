"""All in which plain ResNets differ, as one frozen table of numbers. Importable without mindspore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BLOCKS: dict[int, tuple[int, int, int, int]] = {  # bottlenecks in layer1..layer4
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How one ResNet computes. The default is what the source document's ResNetFea builds.

    Attributes:
        depth: 50, 101 or 152 (He et al. 2015, table 1). Only the number of blocks changes.
        stem_channels: channels behind the 7x7 convolution; 64 everywhere.
        res2_channels: channels of c2; c3 to c5 have 2, 4, 8 times as many. 256; open_nsfw's thin ResNet-50 has 128.
        width_per_group: channels inside layer1's bottlenecks, doubled by every stage. 64; open_nsfw has 32.
        stride_in: which convolution of a stage's first block carries the stride. "3x3" is torchvision, timm, MindSpore
            ModelZoo; "1x1" is MSRA/Caffe, maskrcnn-benchmark, detectron2's default, Keras. The shapes agree either way,
            every value from c3 on does not.
        pool: padding of the 3x3/2 max pool. "same" (TensorFlow's SAME: even sizes get 0 in front and 1 behind) is
            ModelZoo, mindcv, SimCLR, open_nsfw; "pad1" is PyTorch and Keras; "ceil" (none, the size rounded up) is
            Caffe. On even sizes "pad1" looks one pixel earlier than the other two, so all of c2 to c5 is off.
        conv_pad: padding of the 7x7 and the strided 3x3 convolutions. "symmetric" everywhere but "same" in ModelZoo's
            ImageNet ResNet, whose even sizes get one pixel less in front than behind.
        bn_eps: added to the variance. 1e-5 is PyTorch; 1.001e-5 Keras; 1e-4 ModelZoo's ImageNet ResNet; 0 is
            maskrcnn-benchmark's FrozenBatchNorm2d and every file whose norms are folded into its convolutions.
    """

    depth: int = 50
    stem_channels: int = 64
    res2_channels: int = 256
    width_per_group: int = 64
    stride_in: Literal["3x3", "1x1"] = "3x3"
    pool: Literal["same", "pad1", "ceil"] = "same"
    conv_pad: Literal["symmetric", "same"] = "symmetric"
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        problems = [
            f"{name}={getattr(self, name)!r}: use {wanted}"
            for name, wanted, right in (
                ("depth", "50, 101 or 152", self.depth in BLOCKS),
                ("stem_channels", "a number above 0", self.stem_channels > 0),
                ("res2_channels", "a number above 0", self.res2_channels > 0),
                ("width_per_group", "a number above 0", self.width_per_group > 0),
                ("stride_in", '"3x3" or "1x1"', self.stride_in in ("3x3", "1x1")),
                ("pool", '"same", "pad1" or "ceil"', self.pool in ("same", "pad1", "ceil")),
                ("conv_pad", '"symmetric" or "same"', self.conv_pad in ("symmetric", "same")),
                ("bn_eps", "0 or more, below 1", 0 <= self.bn_eps < 1),
            )
            if not right
        ]
        if problems:
            raise ValueError("Variant: " + "; ".join(problems))

    @property
    def layer_nums(self) -> tuple[int, int, int, int]:
        """Blocks in layer1..layer4, ResNetFea's second argument."""
        return BLOCKS[self.depth]

    @property
    def in_channels(self) -> tuple[int, int, int, int]:
        """Channels that enter layer1..layer4."""
        c2, c3, c4, _ = self.out_channels
        return (self.stem_channels, c2, c3, c4)

    @property
    def out_channels(self) -> tuple[int, int, int, int]:
        """Channels of c2..c5."""
        c2 = self.res2_channels
        return (c2, 2 * c2, 4 * c2, 8 * c2)
