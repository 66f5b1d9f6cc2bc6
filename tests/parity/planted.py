"""Ports of a ResNet as people get them wrong, and correct ones: what `diagnose` must name, and no more. numpy only.

What is expected follows from the port's own error: the cases were written without a look at what the search finds easy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from parity.port_edits import (
    Edit,
    affine_lost,
    at_identity,
    copied,
    exchanged,
    hwio_as_oihw,
    not_loaded,
    not_loaded_constant,
    redrawn,
    transposed,
    turned,
)
from parity.references import THIN
from resnetfea.network.variant import Variant

SEED = 41
MULTIPLE = 32  # detectors pad to
PHOTO = 256  # side of the photo that pictures are cut from


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The recipe, as far as a trace shows it: x = (pixel * scale - mean) / std, in the order of `color`."""

    color: Literal["rgb", "bgr"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


# By the originals' own words: src/resnetfea/weights/recipe.py has where they stand
RGB = Pixels(color="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
DETECTRON = Pixels(color="bgr", scale=1.0, mean=(102.9801, 115.9465, 122.7717))
DETECTRON2 = Pixels(color="bgr", scale=1.0, mean=(103.53, 116.28, 123.675))
OPEN_NSFW = Pixels(color="bgr", scale=1.0, mean=(104.0, 117.0, 123.0))


@dataclass(frozen=True, kw_only=True)
class Port:
    """One trace.

    Attributes:
        variant, recipe: what the weights need. Their numbers are drawn from a seed, or, if `trained`, open_nsfw's.
        ecosystem: whose names the file has.
        size: (height, width) of the picture.
        dense: the trace has every layer; otherwise c2 to c5 only, as an ONNX gives or a few hooks.
        picture: it holds the picture, too.
        padded: the picture is padded with black to a multiple of 32, its input with zeros, or after the recipe, or not.
        computes, makes: what the port has otherwise, of the variant and of the recipe.
        edits: what happened to its tensors. rounded: to what type. training: it was left in training mode.
        named: what `diagnose` calls that which is in none of the fields above.
    """

    variant: Variant
    recipe: Pixels = RGB
    trained: bool = False
    ecosystem: str = "torchvision"
    size: tuple[int, int] = (64, 65)
    dense: bool = False
    picture: bool = False
    padded: Literal["", "before normalising", "after normalising"] = ""
    computes: Mapping[str, Any] = field(default_factory=dict)
    makes: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    rounded: Literal["", "float16", "bfloat16"] = ""
    training: bool = False
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, Any]:
        """Setting -> what the reference did."""
        return {**self.computes, **self.makes, **self.named}


PYTORCH = Variant(pool="pad1", **THIN)
FULL = Variant(pool="pad1")
HALF = Variant(pool="pad1", stem_channels=32, res2_channels=128, width_per_group=32)  # stem as wide as layer1
FROZEN = replace(PYTORCH, stride_in="1x1", bn_eps=0.0)  # maskrcnn-benchmark
CAFFE = replace(PYTORCH, stride_in="1x1", pool="ceil")
MODELZOO = replace(PYTORCH, pool="same", conv_pad="same", bn_eps=1e-4)
GROUP_NORM = replace(HALF, norm="group")
NSFW = Variant(res2_channels=128, width_per_group=32, stride_in="1x1", bn_eps=0.0)


def trained(**settings: Any) -> Port:
    """A port of open_nsfw: real weights, norms folded into the convolutions."""
    return Port(variant=NSFW, recipe=OPEN_NSFW, trained=True, **settings)


SINGLE: dict[str, Port] = {
    # Sizes: 112x112 before the pool of a 224x224 picture, odd beside even in others. "ceil" gives what "same" gives
    # where both sides are even; then MindSpore's is meant.
    "pool pad1 for same, full size": trained(size=(224, 224), dense=True, computes={"pool": "pad1"}),
    "pool same for pad1, even": Port(variant=PYTORCH, size=(96, 96), dense=True, computes={"pool": "same"}),
    "pool ceil for pad1": Port(variant=PYTORCH, size=(65, 98), computes={"pool": "ceil"}),
    "pool same for ceil": Port(variant=CAFFE, size=(98, 131), computes={"pool": "same"}),
    "stride 1x1 for 3x3, full size": Port(
        variant=FULL, size=(224, 224), dense=True, picture=True, computes={"stride_in": "1x1"}
    ),
    "stride 3x3 for 1x1": trained(size=(128, 160), computes={"stride_in": "3x3"}),
    "convolutions same for symmetric": Port(variant=PYTORCH, dense=True, computes={"conv_pad": "same"}),
    "convolutions symmetric for same": Port(variant=MODELZOO, size=(96, 96), computes={"conv_pad": "symmetric"}),
    "dilation 2 for 1": Port(variant=PYTORCH, size=(96, 97), dense=True, computes={"dilation": 2}),
    "eps of Keras": Port(variant=PYTORCH, size=(65, 96), dense=True, computes={"bn_eps": 1.001e-5}),
    "no eps": Port(variant=PYTORCH, size=(96, 97), computes={"bn_eps": 0.0}),
    "eps for none": Port(variant=FROZEN, size=(97, 130), dense=True, computes={"bn_eps": 1e-5}),
    "odd eps": Port(variant=PYTORCH, dense=True, computes={"bn_eps": 2.5e-6}),
    "BGR for RGB": Port(variant=PYTORCH, dense=True, picture=True, makes={"color": "bgr"}),
    "RGB for BGR": trained(size=(96, 97), picture=True, makes={"color": "rgb"}),
    "0 to 255 for 0 to 1": Port(variant=PYTORCH, picture=True, makes={"scale": 1.0}),
    "std forgotten": Port(variant=PYTORCH, dense=True, picture=True, makes={"std": (1.0, 1.0, 1.0)}),
    "padded before normalising": Port(
        variant=replace(FROZEN, bn_eps=1e-5),
        recipe=DETECTRON2,
        ecosystem="detectron2",
        size=(75, 108),
        picture=True,
        padded="before normalising",
        named={"pad": "before normalising"},
    ),
    "training mode": Port(variant=PYTORCH, size=(96, 97), dense=True, training=True, named={"bn_statistics": "batch"}),
    "norms of layer3 at identity": Port(
        variant=PYTORCH, size=(96, 97), edits=(at_identity("layer3"),), named={"bn_affine": "layer3"}
    ),
    "statistics of another norm": Port(
        variant=PYTORCH,
        dense=True,
        edits=(copied("layer2.1.bn2", "layer2.2.bn2", "running_mean", "running_var"),),
        named={"weights": "layer2.1.bn2"},
    ),
    "projection exchanged": Port(
        variant=HALF,
        dense=True,
        edits=(exchanged(("layer1.0.conv3", "layer1.0.downsample.0"), ("layer1.0.bn3", "layer1.0.downsample.1")),),
        named={"weights": "layer1.0.conv3, layer1.0.bn3, layer1.0.downsample.0, layer1.0.downsample.1"},
    ),
    "layer3 not loaded": Port(variant=PYTORCH, dense=True, edits=(not_loaded("layer3"),), named={"weights": "layer3"}),
    "layer4 not loaded, constant": trained(
        size=(97, 96), edits=(not_loaded_constant("layer4"),), named={"weights": "layer4"}
    ),
    "one convolution not loaded": trained(
        dense=True, edits=(redrawn("layer3.2.conv1"),), named={"weights": "layer3.2.conv1"}
    ),
    "stem's bytes in TensorFlow's order": Port(
        variant=PYTORCH, dense=True, edits=(hwio_as_oihw("conv1"),), named={"weights": "conv1"}
    ),
    "inputs and outputs exchanged": Port(
        variant=PYTORCH, dense=True, edits=(transposed("layer4.1.conv2"),), named={"weights": "layer4.1.conv2"}
    ),
    "a norm's numbers of another": Port(
        variant=PYTORCH,
        size=(96, 97),
        edits=(copied("layer3.1.bn1", "layer3.2.bn1"),),
        named={"weights": "layer3.1.bn1"},
    ),
    "float16": Port(variant=PYTORCH, dense=True, rounded="float16", named={"precision": "fp16"}),
    "bfloat16": trained(size=(97, 128), rounded="bfloat16", named={"precision": "bf16"}),
}

PAIRS: dict[str, Port] = {
    "pool and eps, as in ModelZoo": Port(variant=PYTORCH, size=(96, 97), computes={"pool": "same", "bn_eps": 1e-4}),
    "stride and colours": trained(
        size=(128, 97), dense=True, picture=True, computes={"stride_in": "3x3"}, makes={"color": "rgb"}
    ),
    "norms of layer1 without affine, and pool": trained(
        size=(96, 97), computes={"pool": "pad1"}, edits=(affine_lost("layer1"),), named={"bn_affine": "layer1"}
    ),
    "kernels turned, and eps": Port(
        variant=PYTORCH,
        dense=True,
        computes={"bn_eps": 1e-3},
        edits=(turned("layer2.0.conv2"),),
        named={"weights": "layer2.0.conv2"},
    ),
    "convolutions same, and stride 1x1": Port(
        variant=PYTORCH, size=(96, 97), computes={"conv_pad": "same", "stride_in": "1x1"}
    ),
    "RGB 0 to 1 for BGR 0 to 255": trained(dense=True, picture=True, makes={"color": "rgb", "scale": 1 / 255}),
    "mean of one half, and pool": Port(
        variant=PYTORCH, size=(97, 128), picture=True, computes={"pool": "ceil"}, makes={"mean": (0.5, 0.5, 0.5)}
    ),
    "training mode, and pool": Port(
        variant=replace(PYTORCH, pool="same"),
        size=(97, 96),
        computes={"pool": "pad1"},
        training=True,
        named={"bn_statistics": "batch"},
    ),
    "float16, and pool": trained(
        size=(96, 97), computes={"pool": "ceil"}, rounded="float16", named={"precision": "fp16"}
    ),
    "statistics of another norm, and stride": Port(
        variant=PYTORCH,
        size=(97, 96),
        computes={"stride_in": "1x1"},
        edits=(copied("layer2.0.bn2", "layer2.1.bn2", "running_mean", "running_var"),),
        named={"weights": "layer2.0.bn2"},
    ),
}

FURTHER: dict[str, Port] = {  # beyond the forty: the same errors where they are harder to see
    "bytes in TensorFlow's order, maps alone": Port(
        variant=PYTORCH,
        size=(96, 97),
        edits=(hwio_as_oihw("layer3.0.conv2"),),
        named={"weights": "layer3.0.conv2"},
    ),
    "eps of group norms": Port(variant=GROUP_NORM, dense=True, computes={"bn_eps": 1e-3}),
    "projection exchanged, maps alone": Port(
        variant=HALF,
        size=(96, 97),
        edits=(exchanged(("layer1.0.conv3", "layer1.0.downsample.0"), ("layer1.0.bn3", "layer1.0.downsample.1")),),
        named={"weights": "layer1.0.conv3, layer1.0.bn3, layer1.0.downsample.0, layer1.0.downsample.1"},
    ),
    "statistics of another norm, and pool, full size": Port(
        variant=FULL,
        size=(224, 224),
        computes={"pool": "same"},
        edits=(copied("layer1.1.bn2", "layer1.2.bn2", "running_mean", "running_var"),),
        named={"weights": "layer1.1.bn2"},
    ),
    "padded after normalising, and pool": Port(
        variant=PYTORCH,
        size=(75, 101),
        picture=True,
        padded="after normalising",
        computes={"pool": "same"},
        named={"pad": "after normalising"},
    ),
    "mean and std in the order of BGR": Port(
        variant=PYTORCH, picture=True, makes={"mean": (0.406, 0.456, 0.485), "std": (0.225, 0.224, 0.229)}
    ),
    "layer3 not loaded, constant, and RGB for BGR": trained(
        size=(96, 97),
        picture=True,
        makes={"color": "rgb"},
        edits=(not_loaded_constant("layer3"),),
        named={"weights": "layer3"},
    ),
    "no eps and pool, ResNet-101": Port(
        variant=replace(PYTORCH, depth=101), size=(97, 96), computes={"pool": "same", "bn_eps": 0.0}
    ),
}

CORRECT: dict[str, Port] = {
    "default": Port(variant=Variant(**THIN), dense=True),
    "torchvision, full size": Port(variant=FULL, size=(224, 224), dense=True, picture=True),
    "maskrcnn-benchmark": Port(
        variant=FROZEN,
        recipe=DETECTRON,
        ecosystem="maskrcnn-benchmark",
        size=(70, 101),
        dense=True,
        picture=True,
        padded="after normalising",
    ),
    "Caffe": Port(variant=CAFFE, size=(98, 131)),
    "ModelZoo": Port(variant=MODELZOO, size=(200, 225), dense=True),
    "dilated": Port(variant=replace(PYTORCH, dilation=2), size=(96, 97)),
    "open_nsfw": trained(size=(224, 224), dense=True, picture=True),
    "ResNet-101": Port(variant=replace(PYTORCH, depth=101), size=(97, 96)),
    "group norm": Port(
        variant=GROUP_NORM,
        dense=True,
        picture=True,
    ),
    "ResNeXt": Port(variant=Variant(pool="pad1", groups=32, width_per_group=4, res2_channels=64), size=(96, 65)),
}

PORTS: dict[str, Port] = SINGLE | PAIRS | FURTHER | CORRECT
