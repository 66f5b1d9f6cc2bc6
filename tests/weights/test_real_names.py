"""Real libraries' models by their tensors' names and shapes (tests/data/names.json.gz): read, or refused by name."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import canonical
from resnetfea.weights.matching import Match, match
from resnetfea.weights.raw import RawFile
from weights.making import DATA

NAMES: dict[str, dict[str, dict[str, list[int]]]] = {
    library.split()[0]: models
    for library, models in json.loads(gzip.decompress((DATA / "names.json.gz").read_bytes())).items()
}
PLAIN = [  # library, model, ecosystem, depth, width, whether it has a classifier and a whole pyramid
    ("torchvision", "resnet50", "torchvision", 50, 64, True, False),
    ("torchvision", "resnet101", "torchvision", 101, 64, True, False),
    ("torchvision", "resnet152", "torchvision", 152, 64, True, False),
    ("torchvision", "wide_resnet50_2", "torchvision", 50, 128, True, False),
    ("torchvision", "maskrcnn_resnet50_fpn", "torchvision-detection", 50, 64, False, True),
    ("torchvision", "fasterrcnn_resnet50_fpn_v2", "torchvision-detection", 50, 64, False, True),
    ("torchvision", "retinanet_resnet50_fpn", "torchvision-detection", 50, 64, False, True),
    ("torchvision", "resnext50_32x4d", "torchvision", 50, 4, True, False),
    ("timm", "resnext50_32x4d", "torchvision", 50, 4, True, False),
    ("timm", "resnet50", "torchvision", 50, 64, True, False),
    ("timm", "resnet101", "torchvision", 101, 64, True, False),
    ("transformers", "resnet-50", "transformers", 50, 64, True, False),
    ("mmdet", "resnet50-fpn", "mmdet", 50, 64, False, True),
    ("mmdet", "resnet50-gn", "mmdet", 50, 64, False, False),
    ("mmdet", "resnet50-dcn", "mmdet", 50, 64, False, False),
    ("mmdet", "resnet50-mdcn", "mmdet", 50, 64, False, False),
    ("mindcv", "resnet50", "mindcv", 50, 64, True, False),
    ("mindcv", "resnet101", "mindcv", 101, 64, True, False),
]
OTHER = {
    "torchvision": {"resnet18": "ResNet-18", "resnet34": "ResNet-18"},
    "timm": {
        "resnet18": "ResNet-18",
        "resnet26t": "ResNet-C",
        "resnet50d": "ResNet-C",
        "resnet50c": "ResNet-C",
        "resnet50s": "ResNet-C",
        "resnet50t": "ResNet-C",
        "resnetaa50d": "ResNet-C",
        "resnet50_gn": "group norm",
        "resnet50_clip": "ResNet-C",
        "seresnet50": "SE-ResNet",
        "seresnext50_32x4d": "SE-ResNet",
        "ecaresnet50d": "SE-ResNet",
        "skresnet50": "SK-Net",
        "resnetv2_50": "ResNet v2",
        "resnetv2_50x1_bit": "ResNet v2",
        "res2net50_26w_4s": "Res2Net",
        "resnest50d": "ResNeSt",
        "gcresnet50t": "",
        "resnetrs50": "SE-ResNet",
        "resnet51q": "",
        "cspresnet50": "",
        "densenet121": "DenseNet",
        "vit_tiny_patch16_224": "vision transformer",
    },
    "mindcv": {"seresnet50": "SE-ResNet"},
}


def matched(library: str, model: str) -> Match:
    """As if a file of this model held nothing but zeros; one piece of memory stands for all of them."""
    shapes = {name: tuple(shape) for name, shape in NAMES[library][model].items()}
    zeros: NDArray[Any] = np.zeros(max(int(np.prod(shape)) for shape in shapes.values()), np.float32)
    tensors = {name: zeros[: int(np.prod(shape))].reshape(shape) for name, shape in shapes.items()}
    return match(RawFile("made up", tensors), 1 << 30)


@pytest.mark.parametrize(("library", "model", "ecosystem", "depth", "width", "classifier", "pyramid"), PLAIN)
def test_read_whole(
    library: str, model: str, ecosystem: str, depth: int, width: int, classifier: bool, pyramid: bool
) -> None:
    found = matched(library, model)
    assert (found.problems, found.missing) == ((), ())
    assert found.ecosystem.name == ecosystem
    assert (found.variant.depth, found.variant.width_per_group, found.variant.res2_channels) == (depth, width, 256)
    assert found.tensors.keys() == canonical.shapes(found.variant).keys()
    assert (bool(found.fc), bool(found.fpn)) == (classifier, pyramid)
    backbone = {name for name in NAMES[library][model] if name not in found.unused}
    assert len(backbone) == len(found.tensors)


@pytest.mark.parametrize(("library", "model"), [(library, model) for library in OTHER for model in OTHER[library]])
def test_refused(library: str, model: str) -> None:
    try:
        problem = matched(library, model).problems[0]
    except ResnetFeaError as error:
        problem = str(error)
    assert OTHER[library][model] in problem
    assert not OTHER[library][model] or "this is " in problem


@pytest.mark.parametrize(
    ("library", "model", "fields"),
    [
        ("torchvision", "resnext50_32x4d", {"groups": 32}),
        ("mmdet", "resnet50-gn", {"norm": "group", "stride_in": "3x3"}),
        ("mmdet", "resnet50-dcn", {"deform": ("none", "v1", "v1", "v1"), "deform_groups": 1}),
        ("mmdet", "resnet50-mdcn", {"deform": ("none", "v2", "v2", "v2"), "deform_groups": 1}),
    ],
)
def test_what_is_not_plain_is_found_from_shapes(library: str, model: str, fields: dict[str, Any]) -> None:
    variant = matched(library, model).variant
    assert {name: getattr(variant, name) for name in fields} == fields


@pytest.mark.parametrize("model", ["resnetaa50", "resnetblur50"])
def test_what_no_file_can_tell(model: str) -> None:
    """timm's antialiased ResNets have exactly a ResNet-50's tensors. The READMEs say so."""
    assert NAMES["timm"][model] == NAMES["timm"]["resnet50"]
