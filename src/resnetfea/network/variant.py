"""All in which plain ResNets differ, as one frozen table of numbers. Importable without mindspore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

BLOCKS: dict[int, tuple[int, int, int, int]] = {  # bottlenecks in layer1..layer4
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
Layer = Literal["c2", "c3", "c4", "c5"]
LAYERS: tuple[Layer, ...] = ("c2", "c3", "c4", "c5")
Norm = Literal["affine", "frozen", "batch", "group"]
Deform = Literal["none", "v1", "v2"]
SIZES = ("stem_channels", "res2_channels", "groups", "width_per_group", "norm_groups", "dilation", "deform_groups")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How one ResNet computes. The default is what the source document's ResNetFea builds.

    Attributes:
        depth: 50, 101 or 152 (He et al. 2015, table 1). Only the number of blocks changes.
        stem_channels: channels behind the 7x7 convolution; 64 everywhere.
        res2_channels: channels of c2; c3 to c5 have 2, 4, 8 times as many. 256; open_nsfw's thin ResNet-50 has 128.
        groups: of the 3x3 convolutions. 1; ResNeXt has 32 (32x4d, 32x8d) or 64 (64x4d). A file of another number has
            other shapes, and does not load.
        width_per_group: channels of one group inside layer1's bottlenecks, doubled by every stage. 64; open_nsfw has
            32, a wide ResNet 128, a ResNeXt 4 or 8.
        stride_in: which convolution of a stage's first block carries the stride. "3x3" is torchvision, timm, MindSpore
            ModelZoo; "1x1" is MSRA/Caffe, maskrcnn-benchmark, detectron2's default, Keras. The shapes agree either way,
            every value from c3 on does not.
        pool: padding of the 3x3/2 max pool. "same" (TensorFlow's SAME: even sizes get 0 in front and 1 behind) is
            ModelZoo, mindcv, SimCLR, open_nsfw; "pad1" is PyTorch and Keras; "ceil" (none, the size rounded up) is
            Caffe. On even sizes "pad1" looks one pixel earlier than the other two, so all of c2 to c5 is off.
        conv_pad: padding of the 7x7 and the strided 3x3 convolutions. "symmetric" everywhere but "same" in ModelZoo's
            ImageNet ResNet, whose even sizes get one pixel less in front than behind.
        bn_eps: added to the variance, group norm's as well. 1e-5 is PyTorch; 1.001e-5 Keras; 1e-4 ModelZoo's ImageNet
            ResNet; 0 is maskrcnn-benchmark's FrozenBatchNorm2d and every file whose norms are folded into its
            convolutions.
        norm: what normalises, and what of it trains. The first two give the same numbers, and so does the third
            outside of training. A file of batch norms does not tell which of them trained it.
            "affine": the stored statistics always, scale and shift train: the source document, mmdetection's norm_eval.
            "frozen": nothing of it trains: FrozenBatchNorm2d of maskrcnn-benchmark, detectron2, torchvision's
            detectors. Trained as "affine" instead, 106 tensors move that the original keeps.
            "batch": the batch's own statistics in training, at PyTorch's momentum: torchvision, timm, mmpretrain.
            "group": group norm (maskrcnn-benchmark's and detectron2's *-GN): other numbers, no running statistics.
        norm_groups: of group norm. 32 in every published file; nothing in a file tells, and c2 to c5 are off by it.
        norm_channels: of each group of group norm, where that is the same everywhere instead of norm_groups
            (maskrcnn-benchmark's GROUP_NORM.DIM_PER_GP); 0 where norm_groups counts.
        dilation: of the last stage's 3x3 convolutions; above 1 that stage keeps its input's size. 1; 2 is RES5_DILATION
            of maskrcnn-benchmark and detectron2 (DC5). c5 has twice the height and width. (torchvision's segmentation
            models dilate two stages, each but in its first block; that is not expressed here.)
        deform: for layer1 to layer4, whether the 3x3 convolutions are deformable, and by which paper: "v1" (offsets,
            arXiv:1703.06211) or "v2" (offsets and a mask, arXiv:1811.11168). detectron2's and mmdetection's dconv
            files have layer2 to layer4. Run without, their kernels look at other pixels from c3 on.
        deform_groups: of channels with offsets of their own. 1 in every published file.
        freeze_at: how much of the front does not train, as maskrcnn-benchmark's FREEZE_CONV_BODY_AT counts it: 0
            nothing, 1 the stem, 2 layer1 too, up to 5, all. 2 there, in detectron2 and in the source document (126 of
            265 tensors train); 0 where group norm trains from scratch. A frozen stage never uses batch statistics.
        out: which of c2 to c5 come out. What stands behind the last of them is not built: ("c4",) is
            maskrcnn-benchmark's C4 body of three stages, ("c5",) its C5, all four what an FPN takes.
    """

    depth: int = 50
    stem_channels: int = 64
    res2_channels: int = 256
    groups: int = 1
    width_per_group: int = 64
    stride_in: Literal["3x3", "1x1"] = "3x3"
    pool: Literal["same", "pad1", "ceil"] = "same"
    conv_pad: Literal["symmetric", "same"] = "symmetric"
    bn_eps: float = 1e-5
    norm: Norm = "affine"
    norm_groups: int = 32
    norm_channels: int = 0
    dilation: int = 1
    deform: tuple[Deform, Deform, Deform, Deform] = ("none", "none", "none", "none")
    deform_groups: int = 1
    freeze_at: int = 2
    out: tuple[Layer, ...] = LAYERS

    def __post_init__(self) -> None:
        object.__setattr__(self, "deform", tuple(self.deform))  # lists, as JSON has them
        object.__setattr__(self, "out", tuple(self.out))
        sizes = {name: getattr(self, name) for name in SIZES}
        if min(sizes.values()) > 0:  # later stages have multiples of layer1's channels
            normed = [self.stem_channels, self.width, self.res2_channels] if self.norm == "group" else []
            divided = all(channels % (self.norm_channels or self.norm_groups) == 0 for channels in normed)
            parted = not self.deforms or self.width % self.deform_groups == 0
        else:
            divided = parted = True  # told below as what it is
        ordered = tuple(layer for layer in LAYERS if layer in self.out)
        problems = [
            f"{name} is {getattr(self, name)!r}, not {allowed}"
            for name, allowed, right in (
                ("depth", "50, 101 or 152", self.depth in BLOCKS),
                *((name, "a number above 0", size > 0) for name, size in sizes.items()),
                ("stride_in", '"3x3" or "1x1"', self.stride_in in ("3x3", "1x1")),
                ("pool", '"same", "pad1" or "ceil"', self.pool in ("same", "pad1", "ceil")),
                ("conv_pad", '"symmetric" or "same"', self.conv_pad in ("symmetric", "same")),
                ("bn_eps", "0 or more, below 1", 0 <= self.bn_eps < 1),
                ("norm", '"affine", "frozen", "batch" or "group"', self.norm in get_args(Norm)),
                ("norm_channels", "0 or more", self.norm_channels >= 0),
                (
                    "norm_channels" if self.norm_channels else "norm_groups",
                    "a divisor of the stem's, layer1's and c2's channels",
                    divided,
                ),
                (
                    "deform",
                    'four of "none", "v1", "v2"',
                    len(self.deform) == 4 and {*self.deform} <= {*get_args(Deform)},
                ),
                ("deform_groups", "a divisor of layer1's channels", parted),
                ("conv_pad", '"symmetric", as deformable needs', not self.deforms or self.conv_pad == "symmetric"),
                ("freeze_at", "0 to 5", self.freeze_at in range(6)),
                ("out", "some of c2, c3, c4, c5 in this order", self.out and self.out == ordered),
            )
            if not right
        ]
        if problems:
            raise ValueError("Variant: " + "; ".join(problems))

    @property
    def width(self) -> int:
        """Channels inside layer1's bottlenecks; layer2 to layer4 have 2, 4, 8 times as many."""
        return self.groups * self.width_per_group

    def groups_of_norm(self, channels: int) -> int:
        """Of a group norm of so many channels."""
        return channels // self.norm_channels if self.norm_channels else self.norm_groups

    @property
    def deforms(self) -> bool:
        """Whether any stage's convolutions do, which no ONNX export expresses."""
        return any(version != "none" for version in self.deform)

    @property
    def stages(self) -> int:
        """How many are built: 4, or as many as the last map needs."""
        return LAYERS.index(self.out[-1]) + 1

    @property
    def maps(self) -> dict[Layer, tuple[int, int]]:
        """Channels and stride of each map that comes out, in their order."""
        strides = (4, 8, 16, 32 if self.dilation == 1 else 16)
        all_four = dict(zip(LAYERS, zip(self.out_channels, strides, strict=True), strict=True))
        return {layer: all_four[layer] for layer in self.out}

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
