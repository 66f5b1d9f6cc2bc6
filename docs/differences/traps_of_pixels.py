"""How a photo becomes a wrong input."""

from __future__ import annotations

from differences import changes
from differences.trap import Trap
from resnetfea.weights.recipe import DETECTRON, DETECTRON2, KERAS, OPEN_NSFW, TORCHVISION

STD = (57.375, 57.12, 58.395)  # ImageNet's, of pixels up to 255, in BGR


TRAPS = (
    Trap(
        key="color.rgb",
        en="RGB instead of BGR, each channel with its own mean",
        zh="BGR 用成 RGB，均值跟着通道走",
        recipe={"color": "rgb", "mean": OPEN_NSFW.mean[::-1]},
    ),
    Trap(
        key="scale.pixels",
        en="pixels up to 1 instead of 255, means as they were",
        zh="像素量程用成 0 到 1（应为 0 到 255），均值不变",
        recipe={"scale": 1 / 255},
    ),
    Trap(
        key="scale.all",
        en="pixels and means up to 1 instead of 255",
        zh="像素和均值的量程都用成 0 到 1（应为 0 到 255）",
        recipe={"scale": 1 / 255, "mean": tuple(mean / 255 for mean in OPEN_NSFW.mean)},
    ),
    Trap(key="mean.none", en="none subtracted", zh="没有减均值", recipe={"mean": (0.0, 0.0, 0.0)}),
    Trap(
        key="mean.reversed",
        en="in RGB's order beside BGR pixels",
        zh="像素是 BGR，均值却按 RGB 的顺序",
        recipe={"mean": OPEN_NSFW.mean[::-1]},
    ),
    Trap(
        key="mean.detectron",
        en="Detectron's instead of Caffe's 104, 117, 123",
        zh="Caffe 的均值 104、117、123 用成 Detectron 的",
        recipe={"mean": DETECTRON.mean},
    ),
    Trap(
        key="mean.detectron2",
        en="detectron2's instead of Caffe's",
        zh="Caffe 的均值用成 detectron2 的",
        recipe={"mean": DETECTRON2.mean},
    ),
    Trap(
        key="mean.keras",
        en="Keras' instead of Caffe's",
        zh="Caffe 的均值用成 Keras 的",
        recipe={"mean": KERAS.mean},
    ),
    Trap(
        key="std.imagenet",
        en="ImageNet's, where none is wanted",
        zh="本不该除以标准差，却除以了 ImageNet 的",
        recipe={"std": STD},
    ),
    Trap(
        key="color.torchvision",
        en="torchvision's recipe instead of Caffe's: colours, scale, mean and std",
        zh="Caffe 的 recipe 用成 torchvision 的：颜色、量程、均值、标准差",
        recipe={name: getattr(TORCHVISION, name) for name in ("color", "scale", "mean", "std")},
    ),
    Trap(
        key="pad.before",
        en="before normalising instead of behind it",
        zh="先补边后归一化（应为先归一化后补边）",
        network="padded",
        prepare=changes.padded_first,
    ),
    Trap(
        key="pad.before_photo",
        en="before normalising, seen only where the photo is",
        zh="先补边后归一化，只看照片所在的区域",
        network="padded, photo",
        prepare=changes.padded_first,
    ),
    Trap(
        key="pad.none",
        en="not at all, seen only where the photo is",
        zh="完全不补边，只看照片所在的区域",
        network="padded, photo",
        prepare=changes.by_recipe,
    ),
    Trap(
        key="interpolation.bicubic",
        en="bicubic instead of bilinear",
        zh="bilinear 用成 bicubic",
        recipe={"interpolation": "bicubic"},
    ),
    Trap(
        key="interpolation.lanczos",
        en="lanczos instead of bilinear",
        zh="bilinear 用成 lanczos",
        recipe={"interpolation": "lanczos"},
    ),
    Trap(
        key="interpolation.nearest",
        en="nearest instead of bilinear",
        zh="bilinear 用成 nearest",
        recipe={"interpolation": "nearest"},
    ),
    Trap(
        key="antialias.off",
        en="off: cv2, tensors",
        zh="关闭：cv2、张量缩放",
        prepare=changes.not_antialiased,
    ),
    Trap(
        key="antialias.small",
        en="off, for a picture half as large",
        zh="关闭，目标图缩小一半",
        network="small",
        prepare=changes.not_antialiased,
    ),
    Trap(
        key="antialias.corners",
        en="off, and pixels counted from their corners",
        zh="关闭，且像素坐标从角点算起",
        prepare=changes.from_corners,
    ),
    Trap(
        key="resize.squashed",
        en="the whole photo to 224x224, no crop",
        zh="整张照片直接缩到 224x224，不裁剪",
        recipe={"resize": (224, 224), "crop": None},
    ),
    Trap(
        key="resize.short",
        en="the short side to 256 instead of both",
        zh="只把短边缩到 256（应为两边都缩到 256）",
        recipe={"resize": 256},
    ),
)
