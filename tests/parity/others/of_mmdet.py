"""MMDetection: whole detectors from its own configurations, with their pyramids. Not those with operators of mmcv."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor

from parity.others.case import SMALL, Case, Model
from parity.others.openmmlab import build, save
from parity.others.torch_models import Maps, fill, fill_pyramid, made, numbered, watched
from resnetfea.network.variant import Variant

LIBRARY = "mmdet"


def detector(config: str, variant: Variant, folder: Path, *, pyramid: bool = True) -> Model:
    """The detector's checkpoint, whose configuration says the style of its body."""
    model, settings = build("mmdet", config)
    fill(model.backbone, variant)
    fill_pyramid(model.neck)

    def run(x: Tensor) -> Maps:
        maps, pyramid_ = watched(model.backbone, model.extract_feat, x)
        return maps | numbered(pyramid_, "p") if pyramid else maps

    return made(save(model, settings, folder), run)


MASK = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
CAFFE = "mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco.py"
RESNEXT = "mask_rcnn/mask-rcnn_x101-32x4d_fpn_1x_coco.py"
GROUP_NORM = "gn/mask-rcnn_r50_fpn_gn-all_2x_coco.py"
RETINANET = "retinanet/retinanet_r50_fpn_1x_coco.py"  # its p6 and p7 have names that could be p4's: not read
CASES = (
    Case(name="mask-rcnn_r50_fpn", build=partial(detector, MASK, Variant())),
    Case(name="mask-rcnn_r50-caffe_fpn", build=partial(detector, CAFFE, Variant())),
    Case(
        name="mask-rcnn_x101-32x4d_fpn",
        build=partial(detector, RESNEXT, Variant(depth=101, groups=32, width_per_group=4)),
        inputs=SMALL,
    ),
    Case(
        name="mask-rcnn_r50_fpn_gn-all",
        build=partial(detector, GROUP_NORM, Variant(norm="group")),
        inputs=SMALL,
    ),
    Case(name="retinanet_r50", build=partial(detector, RETINANET, Variant(), pyramid=False)),
)
