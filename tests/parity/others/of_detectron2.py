"""detectron2: its model zoo's networks from its own configurations, saved by its Checkpointer.

Not on PyPI under its name. pb1-detectron2 0.6 there is a copy: its modeling/backbone/resnet.py and fpn.py, its
layers/wrappers.py and batch_norm.py are byte for byte files of facebookresearch/detectron2's own history.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import detectron2
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from torch import Tensor, nn

from parity.others.case import SMALL, Case, Model, Shape
from parity.others.torch_models import Maps, fill, fill_pyramid, made
from resnetfea.network.variant import Variant

LIBRARY = "pb1-detectron2"


def detector(config: str, folder: Path, *, options: tuple[object, ...] = (), depth: int = 50) -> Model:
    """Of a configuration of the zoo, changed by options."""
    settings = get_cfg()
    settings.merge_from_file(str(Path(detectron2.__file__).parent / f"model_zoo/configs/COCO-{config}.yaml"))
    settings.merge_from_list(["MODEL.DEVICE", "cpu", *options])
    model = build_model(settings).eval()
    body = getattr(model.backbone, "bottom_up", model.backbone)
    fill(body, Variant(depth=depth))
    if body is not model.backbone:
        fill_pyramid_of(model.backbone)
    DetectionCheckpointer(model, str(folder)).save("model_final", iteration=3)
    return made(folder / "model_final.pth", partial(run, model.backbone, body))


def fill_pyramid_of(backbone: nn.Module) -> None:
    """The pyramid holds its body, which must keep what it has."""
    fill_pyramid(nn.ModuleList(child for name, child in backbone.named_children() if name != "bottom_up"))


def run(backbone: nn.Module, body: nn.Module, x: Tensor) -> Maps:
    """res2 to res5 as c2 to c5, and p2 to p6 under their own names."""
    found = backbone(x) if body is backbone else body(x) | backbone(x)
    return {name.replace("res", "c"): value for name, value in found.items()}


OF_32: tuple[Shape, ...] = ((1, 3, 224, 224), (1, 3, 192, 352))  # its pyramid takes only these; images get padded
ALL = ("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"])
CASES = (
    Case(
        name="mask_rcnn_R_50_FPN", build=partial(detector, "InstanceSegmentation/mask_rcnn_R_50_FPN_1x"), inputs=OF_32
    ),
    Case(
        name="mask_rcnn_R_101_FPN",
        build=partial(detector, "InstanceSegmentation/mask_rcnn_R_101_FPN_3x", depth=101),
        inputs=OF_32[1:],
    ),
    Case(
        name="torchvision-stride",
        build=partial(detector, "Detection/faster_rcnn_R_50_FPN_1x", options=("MODEL.RESNETS.STRIDE_IN_1X1", False)),
        inputs=OF_32[1:],
        told={"stride_in": "3x3"},
    ),
    Case(
        name="faster_rcnn_R_50_DC5",
        build=partial(detector, "Detection/faster_rcnn_R_50_DC5_1x", options=ALL),
        inputs=SMALL,
        told={"dilation": 2},
    ),
)
