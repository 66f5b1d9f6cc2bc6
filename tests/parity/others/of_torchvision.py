"""torchvision: classifiers, and detectors with their feature pyramids, saved as its own references do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN, RetinaNet, retinanet_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from parity.others.case import CLASSES, SMALL, Case, Model
from parity.others.torch_models import Maps, fill, fill_pyramid, numbered, saved, watched
from resnetfea.network.variant import Variant

LIBRARY = "torchvision"
VARIANTS = {
    "resnet50": Variant(),
    "resnet101": Variant(depth=101),
    "resnet152": Variant(depth=152),
    "resnext50_32x4d": Variant(groups=32, width_per_group=4),
    "wide_resnet50_2": Variant(width_per_group=128),
}
NO_WEIGHTS: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}


def classifier(name: str, folder: Path) -> Model:
    """vision/references/classification/train.py saves so: the state under "model", the epoch beside it."""
    model = getattr(tv, name)(weights=None, num_classes=CLASSES)
    fill(model, VARIANTS[name])
    return saved(model, folder, lambda x: watched(model, model, x)[0], epoch=3)


def mask_rcnn(folder: Path, eps: float = 1e-5) -> Model:
    """Frozen norms, as with weights from ImageNet; the published COCO_V1 files compute with an eps of 0."""
    norm = partial(FrozenBatchNorm2d, eps=eps)
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=norm)
    return detector(MaskRCNN(backbone, CLASSES), folder)


def retinanet(folder: Path) -> Model:
    """The pyramid from c3 on, p6 on p5."""
    options: dict[str, Any] = {"returned_layers": [2, 3, 4], "extra_blocks": LastLevelP6P7(256, 256)}
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, **options)
    return detector(RetinaNet(backbone, CLASSES), folder, first=3)


def retinanet_v2(folder: Path) -> Model:
    """The same with p6 on c5."""
    return detector(retinanet_resnet50_fpn_v2(**NO_WEIGHTS), folder, first=3)


def detector(model: nn.Module, folder: Path, *, first: int = 2) -> Model:
    """The whole detector's file, with RPN and heads in it."""
    fill(model.backbone.body, Variant())
    fill_pyramid(model.backbone.fpn)

    def run(x: Tensor) -> Maps:
        maps, pyramid = watched(model.backbone.body, model.backbone, x)
        return maps | numbered(pyramid.values(), "p", first)

    return saved(model, folder, run)


CASES = (
    Case(name="resnet50", build=partial(classifier, "resnet50")),
    Case(name="resnet101", build=partial(classifier, "resnet101"), inputs=SMALL),
    Case(name="resnet152", build=partial(classifier, "resnet152"), inputs=SMALL),
    Case(name="resnext50_32x4d", build=partial(classifier, "resnext50_32x4d")),
    Case(name="wide_resnet50_2", build=partial(classifier, "wide_resnet50_2"), inputs=SMALL),
    Case(name="maskrcnn-fpn", build=mask_rcnn),
    Case(name="maskrcnn-fpn-eps0", build=partial(mask_rcnn, eps=0.0), inputs=SMALL, told={"bn_eps": 0.0}),
    Case(name="retinanet-fpn", build=retinanet, inputs=SMALL),
    Case(name="retinanet-fpn-v2", build=retinanet_v2, inputs=SMALL),
)
