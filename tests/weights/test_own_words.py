"""What a file says of its stride and pixels is believed; what it does not say is said to be assumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from data.tiny import TINY, weights
from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import look, read, recipe
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.group_norms import GROUP_NORMS
from resnetfea.weights.known import KNOWN
from resnetfea.weights.own_words import X_101_STD
from resnetfea.weights.recipe import Recipe
from resnetfea.weights.writing import write
from rich_weights import rich_state
from weights.making import Arrays, safetensors_of
from weights.making_pickles import checkpoint

TRUTH = weights()
MSRA = ((103.53, 116.28, 123.675), (1.0, 1.0, 1.0))
RGB = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def named(name: str, prefix: str = "backbone.") -> Arrays:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    return {prefix + ecosystem.theirs(key): array for key, array in TRUTH.items()}


def pixels(mean: tuple[float, ...], std: tuple[float, ...]) -> Arrays:
    """As detectron2's models keep them."""
    stored = {"pixel_mean": mean, "pixel_std": std}
    return {key: np.array(numbers, np.float32).reshape(3, 1, 1) for key, numbers in stored.items()}


@pytest.mark.parametrize(
    ("stored", "wanted", "stride"),
    [
        (MSRA, recipe.DETECTRON2, "1x1"),
        (RGB, recipe.DETECTRON2_RGB, "3x3"),  # convert-torchvision-to-d2.py's
        ((MSRA[0], (57.375, 57.12, 58.395)), replace(recipe.DETECTRON2, std=(57.375, 57.12, 58.395)), "3x3"),
        (((102.9801, 115.9465, 122.7717), MSRA[1]), recipe.DETECTRON, "1x1"),
    ],
)
def test_pixels_that_detectron2_stored(
    stored: tuple[tuple[float, ...], ...], wanted: Recipe, stride: str, tmp_path: Path
) -> None:
    save_file(dict(named("detectron2", "backbone.bottom_up.")) | dict(pixels(*stored)), tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.recipe, found.recipe_of, found.variant.stride_in) == (wanted, "the file itself", stride)
    assert not any("pixels" in sentence for sentence in found.assumed)
    assert any("stride_in" in sentence for sentence in found.assumed)
    write(found, tmp_path / "again.npz")
    again = read(tmp_path / "again.npz")
    assert (again.recipe, again.variant, len(again.assumed)) == (found.recipe, found.variant, 1)


@pytest.mark.parametrize("stored", [((127.5,) * 3, (127.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
def test_pixels_that_could_be_anything_are_not_believed(stored: tuple[tuple[float, ...], ...], tmp_path: Path) -> None:
    save_file(dict(named("detectron2", "backbone.bottom_up.")) | dict(pixels(*stored)), tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.recipe, found.recipe_of) == (recipe.DETECTRON2, "detectron2")
    assert "none that could be understood" in found.assumed[1]


CAFFE = """
model = dict(
    type='MaskRCNN',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        norm_cfg=dict(type='BN', requires_grad=False),
        style='caffe',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron2/resnet50_caffe')),
    neck=dict(type='FPN', num_outs=5))
"""
OLD_PIXELS = "img_norm_cfg = dict(\n    mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)\n"
NEW_PIXELS = """data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[1, 1, 1], bgr_to_rgb=False, pad_mask=True)"""
TORCH_PIXELS = "dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)"


SORTED = """model = dict(
    backbone=dict(depth=50, norm_cfg=dict(requires_grad=False, type="BN"), style="caffe", type="ResNet"),
    data_preprocessor=dict(
        bgr_to_rgb=False,
        mean=[
            103.53,
            116.28,
            123.675,
        ],
        pad_size_divisor=32,
        std=[
            1.0,
            1.0,
            1.0,
        ]))"""


@pytest.mark.parametrize(
    ("key", "config", "stride", "wanted", "assumed"),
    [
        ("config", OLD_PIXELS + CAFFE, "1x1", recipe.DETECTRON2, 0),
        ("cfg", CAFFE + NEW_PIXELS + NEW_PIXELS, "1x1", recipe.DETECTRON2, 0),
        ("cfg", CAFFE.replace("caffe',\n", "pytorch',\n") + TORCH_PIXELS, "3x3", recipe.TORCHVISION, 0),
        ("cfg", CAFFE.replace("style='caffe',", ""), "3x3", recipe.TORCHVISION, 1),  # its default; no pixels
        ("cfg", CAFFE + OLD_PIXELS + TORCH_PIXELS, "1x1", recipe.TORCHVISION, 1),  # two kinds of pixels
        ("cfg", CAFFE + CAFFE.replace("caffe',\n", "pytorch',\n") + NEW_PIXELS, "3x3", recipe.DETECTRON2, 1),
        ("cfg", "", "3x3", recipe.TORCHVISION, 2),
        ("cfg", SORTED, "1x1", recipe.DETECTRON2, 0),
        ("seed", OLD_PIXELS + CAFFE, "3x3", recipe.TORCHVISION, 2),
    ],
)
def test_an_openmmlab_checkpoint_says_its_style(
    key: str, config: str, stride: str, wanted: Recipe, assumed: int, tmp_path: Path
) -> None:
    file = dict(named("mmdet")) | {"rpn_head.rpn_conv.weight": np.ones(3, np.float32)}
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {key: config}, "state_dict": file}))
    found = read(tmp_path / "w.pth")
    assert (found.ecosystem, found.variant.stride_in, found.recipe) == ("mmdet", stride, wanted)
    assert len(found.assumed) == assumed


def test_a_configured_eps(tmp_path: Path) -> None:
    config = CAFFE.replace("requires_grad=False", "eps=1e-3")
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    assert read(tmp_path / "w.pth").variant.bn_eps == 1e-3


@pytest.mark.parametrize(
    "config",
    [
        "mean=[1.2.3, 1, 1], std=[1, 1, 1], to_rgb=True",
        f"mean=[{'9' * 9000}, 116, 104], std=[1, 1, 1], to_rgb=True",
        "backbone=dict(type='ResNet', eps=1.2.3.4)",
        "backbone=dict(type='ResNet', eps=7)",
        "backbone=dict(type='ResNet', " * 90_000,
        "mean=[104, 116, 123], std=[1, 1, 1], " + "a=b, " * 50_000,
        "dict(mean=[104, 116, 123], " * 9_000,
    ],
    ids=lambda config: config[:40],
)
def test_a_hostile_configuration(config: str, tmp_path: Path) -> None:
    """A text is searched, never run, and not for long: the last but one would take hours, were each bracket matched."""
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    found = read(tmp_path / "w.pth")
    assert (found.variant, found.recipe) == (replace(found.variant, stride_in="3x3", bn_eps=1e-5), recipe.TORCHVISION)


@pytest.mark.parametrize("setting", ["dilations=(1, 1, 1, 2)", "strides=(1, 2, 2, 1)", "strides=[1, 1, 2, 2]"])
def test_a_dilated_backbone_is_refused(setting: str, tmp_path: Path) -> None:
    config = CAFFE.replace("depth=50", f"depth=50, {setting}")
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    with pytest.raises(ResnetFeaError, match="a backbone that is not supported"):
        read(tmp_path / "w.pth")
    usual = CAFFE.replace("depth=50", "depth=50, strides=(1, 2, 2), dilations=(1, 1, 1)")
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": usual}, "state_dict": dict(named("mmdet"))}))
    assert read(tmp_path / "w.pth").variant.stride_in == "1x1"


RESNEXT = replace(TINY, groups=2, width_per_group=1)
GROUPED = Variant(stem_channels=32, res2_channels=64, width_per_group=32, norm="group", norm_groups=32)


def saved(name: str, prefix: str, variant: Variant, path: Path, more: Arrays | None = None) -> None:
    """A file of this ecosystem, with norms of this kind."""
    ecosystem = next(one for one in (*GROUP_NORMS, *ECOSYSTEMS) if one.name == name and alike(one.variant, variant))
    tensors = {prefix + ecosystem.theirs(key): array for key, array in rich_state(variant, 1).items()}
    if ecosystem.fused:
        tensors = {key: array for key, array in tensors.items() if "running_" not in key}
    save_file({**tensors, **(more or {})}, path)


def alike(one: Variant, other: Variant) -> bool:
    return (one.norm == "group") == (other.norm == "group")


@pytest.mark.parametrize(
    ("name", "prefix", "depth", "stride", "std"),
    [
        ("detectron1", "", 101, "3x3", (1.0, 1.0, 1.0)),
        ("maskrcnn-benchmark", "backbone.body.", 101, "3x3", (1.0, 1.0, 1.0)),
        ("detectron2", "backbone.bottom_up.", 101, "3x3", (57.375, 57.12, 58.395)),
        ("detectron2", "backbone.bottom_up.", 152, "3x3", (1.0, 1.0, 1.0)),
        ("torchvision", "", 50, "3x3", recipe.TORCHVISION.std),
    ],
)
def test_a_resnext_has_its_stride_in_the_3x3(
    name: str, prefix: str, depth: int, stride: str, std: tuple[float, ...], tmp_path: Path
) -> None:
    """STRIDE_IN_1X1 is False in all of FAIR's configurations with one, unlike with MSRA's ResNets."""
    saved(name, prefix, replace(RESNEXT, depth=depth), tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.ecosystem, found.variant.groups) == (name, 2)
    assert (found.variant.stride_in, found.recipe.std) == (stride, std)
    assert any("ResNeXt" in sentence for sentence in found.assumed) == (name != "torchvision")
    assert any("X-101" in sentence for sentence in found.assumed) == (std[0] == X_101_STD[0])
    write(found, tmp_path / "again.npz")
    again = read(tmp_path / "again.npz")
    assert (again.variant, again.recipe, again.assumed) == (found.variant, found.recipe, found.assumed)


def test_a_resnexts_own_pixels(tmp_path: Path) -> None:
    saved("detectron2", "backbone.bottom_up.", replace(RESNEXT, depth=101), tmp_path / "w", dict(pixels(*MSRA)))
    found = read(tmp_path / "w")
    assert (found.recipe, found.recipe_of, found.variant.stride_in) == (recipe.DETECTRON2, "the file itself", "3x3")


@pytest.mark.parametrize(
    ("name", "prefix"), [("maskrcnn-benchmark", "backbone.body."), ("detectron2", "backbone.bottom_up."), ("mmdet", "")]
)
def test_the_number_of_a_norms_groups_is_assumed(name: str, prefix: str, tmp_path: Path) -> None:
    saved(name, prefix, GROUPED, tmp_path / "w")
    found = read(tmp_path / "w")
    assert "norm_groups is 32 and stride_in 3x3" in found.assumed[0]
    assert found.recipe.color == "bgr"
    assert "RGB" not in found.assumed[1]
    write(found, tmp_path / "again.npz")
    assert read(tmp_path / "again.npz").assumed == found.assumed


@pytest.mark.parametrize(("groups", "problem"), [(16, ""), (0, "num_groups=0"), (24, "num_groups=24")])
def test_a_configured_number_of_groups(groups: int, problem: str, tmp_path: Path) -> None:
    config = CAFFE.replace("type='BN', requires_grad=False", f"type='GN', num_groups={groups}")
    saved("mmdet", "backbone.", GROUPED, tmp_path / "w")
    tensors = dict(load_file(tmp_path / "w"))
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": tensors}))
    found = look(tmp_path / "w.pth")
    assert found.variant.norm_groups == (32 if problem else groups)
    assert [problem in sentence for sentence in found.problems] == [True] * bool(problem)


def test_a_configured_resnext(tmp_path: Path) -> None:
    """Its class has a ResNet's settings, and is asked for them."""
    config = CAFFE.replace("'ResNet'", "'ResNeXt'").replace("depth=50", "depth=50, strides=(1, 2, 1, 1)")
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    found = look(tmp_path / "w.pth")
    assert found.variant.stride_in == "1x1"
    assert "strides=1,2,1,1" in found.problems[0]


def test_a_last_stage_with_holes(tmp_path: Path) -> None:
    """mmdetection's DC5 bodies: every convolution of the stage is dilated and none has a stride, as in Detectron."""
    config = CAFFE.replace("depth=50", "depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)")
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    assert read(tmp_path / "w.pth").variant.dilation == 2


@pytest.mark.parametrize(
    ("name", "prefix", "beside", "sentences"),
    [
        ("torchvision", "", "fc.weight", 2),
        ("torchvision-detection", "backbone.body.", "rpn.head.conv.weight", 1),
        ("maskrcnn-benchmark", "backbone.body.", "rpn.head.conv.weight", 2),
        ("detectron2", "backbone.bottom_up.", "head.cls_score.weight", 2),
        ("mmpretrain", "backbone.", "head.fc.weight", 2),
        ("transformers", "resnet.", "classifier.1.weight", 2),
        ("resnetfea", "backbone.", "rcnn_cls.fpn_cls.cls_scores.weight", 1),
        ("swav", "", "prototypes.weight", 0),
        ("moco", "encoder_q.", "queue", 0),
        ("modelzoo", "", "end_point.weight", 0),
    ],
)
def test_what_names_alone_do_not_tell(name: str, prefix: str, beside: str, sentences: int, tmp_path: Path) -> None:
    file = dict(named(name, prefix)) | {beside: np.ones(3, np.float32)}
    (tmp_path / "w").write_bytes(safetensors_of(file))
    found = read(tmp_path / "w")
    assert (found.ecosystem, len(found.assumed)) == (name, sentences)
    write(found, tmp_path / "again.npz")
    assert read(tmp_path / "again.npz").assumed == found.assumed  # a conversion makes nothing sure


def test_nothing_is_assumed_of_what_its_publisher_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w").write_bytes(safetensors_of(TRUTH))
    found = look(tmp_path / "w")
    assert found.assumed
    monkeypatch.setitem(KNOWN, "keras", replace(KNOWN["keras"], sha256=found.sha256))
    found = read(tmp_path / "w")
    assert found.assumed == ()
    write(found, tmp_path / "again.npz")
    assert read(tmp_path / "again.npz").assumed == ()


@pytest.mark.parametrize("name", ["maskrcnn-coco", "fasterrcnn-coco", "keypointrcnn-coco", "retinanet-coco"])
def test_torchvisions_first_detectors_compute_without_eps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """overwrite_eps(model, 0.0): their loader knows, the file does not."""
    (tmp_path / "w").write_bytes(safetensors_of(named("torchvision-detection", "backbone.body.")))
    found = look(tmp_path / "w")
    assert (found.variant.bn_eps, len(found.assumed)) == (1e-5, 1)
    monkeypatch.setitem(KNOWN, name, replace(KNOWN[name], sha256=found.sha256))
    assert look(tmp_path / "w").variant.bn_eps == 0


def test_variances_of_zero_without_eps(tmp_path: Path) -> None:
    """float16 rounds a variance below 3e-8 to 0; maskrcnn-benchmark then divides by it."""
    key = "backbone.body.layer2.0.bn1.running_var"
    file = {**named("maskrcnn-benchmark", "backbone.body."), key: np.zeros(4, np.float32)}
    (tmp_path / "w").write_bytes(safetensors_of(file))
    with pytest.raises(ResnetFeaError, match=f"{key} holds variances of 0"):
        read(tmp_path / "w")
    (tmp_path / "w").write_bytes(safetensors_of({**TRUTH, "layer2.0.bn1.running_var": np.zeros(4, np.float32)}))
    assert read(tmp_path / "w").variant.bn_eps == 1e-5


def test_backbone_and_nothing_beside_is_not_called_dino(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(safetensors_of(named("mmpretrain")))
    assert read(tmp_path / "w").ecosystem == "mmpretrain"


def test_a_configured_std_that_no_pixels_have(tmp_path: Path) -> None:
    """It is above 0, and below what a Recipe takes."""
    config = "img_norm_cfg=dict(mean=[101.0,102.0,103.0],std=[0.0000001,1.0,1.0],to_rgb=True)"
    (tmp_path / "w.pth").write_bytes(checkpoint({"meta": {"cfg": config}, "state_dict": dict(named("mmdet"))}))
    assert read(tmp_path / "w.pth").recipe == recipe.TORCHVISION
