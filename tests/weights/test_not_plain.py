"""Networks that are no plain ResNets are refused by their names, whatever half of them could be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.tiny import weights
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from weights.making import Arrays

PLAIN = weights()
SMALL = np.ones(2, np.float32)


def with_stem(*names: str) -> Arrays:
    return {name: array for name, array in PLAIN.items() if name != "conv1.weight"} | dict.fromkeys(names, SMALL)


FILES: dict[str, tuple[Arrays, str]] = {
    "CLIP": (
        {f"visual.{name}": array for name, array in PLAIN.items()} | {"visual.attnpool.positional_embedding": SMALL},
        "CLIP RN50",
    ),
    "timm's resnet50d": (with_stem("conv1.0.weight", "conv1.1.weight", "conv1.3.weight", "conv1.6.weight"), "ResNet-C"),
    "mmdet's deep stem": (with_stem("stem.0.weight", "stem.1.weight", "stem.3.weight"), "ResNet-C"),
    "mmpretrain's deep stem": (with_stem("backbone.stem.0.conv.weight", "backbone.stem.0.bn.weight"), "ResNet-C"),
    "pooled shortcuts": (dict(PLAIN) | {"layer2.0.downsample.2.weight": SMALL}, "ResNet-D"),
    "timm's seresnet50": (dict(PLAIN) | {"layer1.0.se.fc1.weight": SMALL}, "SE-ResNet"),
    "Cadene's se_resnet50": (dict(PLAIN) | {"layer1.0.se_module.fc1.weight": SMALL}, "SE-ResNet"),
    "timm's resnetv2": ({"stem.conv.weight": SMALL, "stages.0.blocks.0.norm1.weight": SMALL}, "ResNet v2"),
    "Keras' ResNet50V2": ({"conv2_block1_preact_bn/conv2_block1_preact_bn/gamma:0": SMALL}, "ResNet v2"),
    "Res2Net": ({"layer1.0.convs.0.weight": SMALL, "layer1.0.bns.0.weight": SMALL}, "Res2Net"),
    "ResNeSt": ({"layer1.0.conv2.radix.weight": SMALL, "layer1.0.conv2.bn0.weight": SMALL}, "ResNeSt"),
    "SK-Net": ({"layer1.0.conv2.attn.fc_reduce.weight": SMALL}, "SK-Net"),
    "timm's resnet50_gn": ({name: array for name, array in PLAIN.items() if "running_" not in name}, "group norm"),
    "ResNet-18": (
        {name: array for name, array in PLAIN.items() if "conv3" not in name and "bn3" not in name},
        "ResNet-18 or -34",
    ),
    "CIFAR's stem": (dict(PLAIN) | {"conv1.weight": np.ones((4, 3, 3, 3), np.float32)}, "3x3 stem"),
    "timm's transformer": ({"blocks.0.attn.qkv.weight": SMALL}, "vision transformer"),
    "CLIP's transformer": ({"visual.resblocks.0.attn.in_proj_weight": SMALL}, "vision transformer"),
    "torchvision's transformer": (
        {"encoder.layers.encoder_layer_0.self_attention.in_proj_weight": SMALL},
        "vision transformer",
    ),
    "Swin": ({"features.1.0.attn.relative_position_bias_table": SMALL}, "Swin transformer"),
}


@pytest.mark.parametrize("name", FILES)
def test_refused_by_name(name: str, tmp_path: Path) -> None:
    arrays, what = FILES[name]
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=rf"/w: .*this is .*{what}"):
        read(tmp_path / "w")


def test_what_it_is_stands_first_among_the_problems(tmp_path: Path) -> None:
    save_file(dict(FILES["timm's seresnet50"][0]), tmp_path / "w")
    found = look(tmp_path / "w")
    assert found.problems[0].startswith("this is SE-ResNet")
    assert found.missing == ()


def test_a_head_may_be_called_anything(tmp_path: Path) -> None:
    """What stands beside a complete backbone does not make it another network."""
    save_file(PLAIN | {"backbone.stem.0.weight": SMALL}, tmp_path / "w")
    assert "unknown" in look(tmp_path / "w").problems[-1]
    detector = {f"backbone.body.{name}": array for name, array in PLAIN.items()}
    save_file(detector | {"roi_heads.mask.attnpool.weight": SMALL}, tmp_path / "w")
    assert read(tmp_path / "w").ecosystem == "torchvision-detection"
