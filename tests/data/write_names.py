"""Write names.json.gz: names and shapes of the tensors of real libraries' models, those we read and those we refuse.

Usage: python tests/data/write_names.py torch      (torch, torchvision, timm, transformers, mmengine, mmcv-lite, mmdet)
       python tests/data/write_names.py mindspore  (mindspore, mindcv)
Either adds its libraries to the file. Models are built without weights; nothing is downloaded.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

FILE = Path(__file__).with_name("names.json.gz")
Shapes = dict[str, list[int]]

TORCHVISION = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2"]
DETECTORS = ["maskrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn"]
TIMM = [
    *"resnet50 resnet101 wide_resnet50_2 resnet18 resnet26t resnet50d resnet50c resnet50s resnet50t".split(),
    "resnet50_gn",
    *"resnet50_clip resnetaa50 resnetaa50d resnetblur50 seresnet50 ecaresnet50d skresnet50 resnext50_32x4d".split(),
    *"seresnext50_32x4d resnetv2_50 resnetv2_50x1_bit res2net50_26w_4s resnest50d gcresnet50t resnetrs50".split(),
    *"resnet51q cspresnet50 densenet121 vit_tiny_patch16_224".split(),
]
DEFORMABLE = {"deform_groups": 1, "fallback_on_stride": False}
MMDET: dict[str, dict[str, Any]] = {
    "resnet50-gn": {"norm_cfg": {"type": "GN", "num_groups": 32}},
    "resnet50-dcn": {"dcn": DEFORMABLE | {"type": "DCN"}, "stage_with_dcn": (False, True, True, True)},
    "resnet50-mdcn": {"dcn": DEFORMABLE | {"type": "DCNv2"}, "stage_with_dcn": (False, True, True, True)},
}


def main(which: str) -> None:
    """Add one environment's models."""
    found: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes())) if FILE.exists() else {}
    found |= {"torch": of_torch, "mindspore": of_mindspore}[which]()
    FILE.write_bytes(gzip.compress(json.dumps(found, separators=(",", ":"), sort_keys=True).encode(), mtime=0))
    for library, models in found.items():
        print(library, {name: len(shapes) for name, shapes in models.items()})


def of_torch() -> dict[str, dict[str, Shapes]]:
    import torch

    declare_operators(torch)
    for module in ("mmcv._ext", "lazy_importer"):
        sys.modules[module] = MagicMock()  # compiled parts that a list of names does not need
    import timm
    import torchvision.models as tv
    from mmdet.models.backbones.resnet import ResNet as MMResNet
    from mmdet.models.necks.fpn import FPN
    from transformers import ResNetConfig, ResNetForImageClassification

    nothing = {"weights": None, "weights_backbone": None}

    def of_mmdet(**options: Any) -> Shapes:
        return {f"backbone.{name}": size for name, size in shapes(MMResNet(50, **options).state_dict()).items()}

    neck = FPN([256, 512, 1024, 2048], 256, 5).state_dict()
    return {
        key("torchvision"): {name: shapes(getattr(tv, name)().state_dict()) for name in TORCHVISION}
        | {name: shapes(getattr(tv.detection, name)(**nothing).state_dict()) for name in DETECTORS},
        key("timm"): {name: shapes(timm.create_model(name).state_dict()) for name in TIMM},
        key("transformers"): {"resnet-50": shapes(ResNetForImageClassification(ResNetConfig()).state_dict())},
        key("mmdet"): {"resnet50-fpn": of_mmdet() | shapes({f"neck.{name}": part for name, part in neck.items()})}
        | {name: of_mmdet(**MMDET[name]) for name in MMDET},
    }


def declare_operators(torch: Any) -> None:
    """torchvision's models need its operators to be declared when they are imported, and never call them here."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
        for operator in (name, f"_{name}_backward"):
            library.define(f"{operator}(Tensor a) -> Tensor")
    sys.modules[__name__].__dict__["kept"] = library  # an operator lives as long as its library


def of_mindspore() -> dict[str, dict[str, Shapes]]:
    import mindcv

    names = ("resnet50", "resnet101", "seresnet50" if "seresnet50" in mindcv.list_models() else "seresnet18")
    return {key("mindcv"): {name: shapes(mindcv.create_model(name).parameters_dict()) for name in names}}


def key(library: str) -> str:
    return f"{library} {importlib.metadata.version(library)}"


def shapes(state: dict[str, Any]) -> Shapes:
    return {name: list(part.shape) for name, part in state.items()}


if __name__ == "__main__":
    main(sys.argv[1])
