"""Checkpoints of trainers: where the weights lie, which copy is taken, and what lies beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.tiny import CLASSES, TINY, classifier, weights
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import canonical, read
from resnetfea.weights.ecosystems import ECOSYSTEMS
from weights.making import (
    EMPTY_TUPLE,
    REDUCE,
    Arrays,
    group,
    mention,
    number,
    numbers,
    pickled,
    pickled_dict,
    storage,
    text,
    torch_legacy,
)
from weights.making_pickles import Nested, checkpoint, short_text


def other(truth: Arrays) -> Nested:
    """A second copy, with other numbers."""
    return {name: array + 1 for name, array in truth.items()}


TRUTH = weights()
NAMESPACE = (
    mention("argparse", "Namespace") + EMPTY_TUPLE + b"\x81" + pickled_dict([(text("lr"), number(1))])[2:-1] + b"b"
)
HISTORY = mention("mmengine.logging.history_buffer", "HistoryBuffer")
METHOD = mention("__builtin__", "getattr") + group(HISTORY, text("mean")) + REDUCE  # as mmengine 0.10.7 is pickled
LOSSES = HISTORY + EMPTY_TUPLE + b"\x81" + pickled_dict([(text("_statistics_methods"), METHOD)])[2:-1] + b"b"
TREES: dict[str, tuple[Nested, str, str]] = {  # a checkpoint, its ecosystem, and where the weights lie
    "bare": (dict(TRUTH), "torchvision", ""),
    "torch's example": ({"epoch": 3, "state_dict": TRUTH, "optimizer": {"state": {}}}, "torchvision", "state_dict"),
    "timm's training": ({"state_dict": other(TRUTH), "state_dict_ema": TRUTH}, "torchvision", "state_dict_ema"),
    "an averaged model": ({"model": other(TRUTH), "model_ema": TRUTH}, "torchvision", "model_ema"),
    "mmengine": ({"state_dict": TRUTH, "ema_state_dict": other(TRUTH)}, "torchvision", "state_dict"),
    "pycls": ({"epoch": 1, "model_state": TRUTH}, "torchvision", "model_state"),
    "a model in a model": ({"model": {"state_dict": TRUTH}, "iteration": 7}, "torchvision", "model.state_dict"),
    "script's flags": ({"state_dict": TRUTH, "args": NAMESPACE}, "torchvision", "state_dict"),
    "a trainer's settings": ({"state_dict": TRUTH, "config": text("# 网络\n" * 5000)}, "torchvision", "state_dict"),
    "mmengine's losses": ({"state_dict": TRUTH, "message_hub": {"loss": LOSSES}}, "torchvision", "state_dict"),
    "DINO": (
        {
            "student": {f"module.backbone.{name}": array for name, array in other(TRUTH).items()},
            "teacher": {f"module.backbone.{name}": array for name, array in TRUTH.items()}
            | {"module.head.mlp.0.weight": np.ones(3, np.float32)},
            "args": NAMESPACE,
        },
        "dino",
        "teacher",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_where_the_weights_lie(name: str, tmp_path: Path) -> None:
    tree, ecosystem, wrapper = TREES[name]
    (tmp_path / "w.pth").write_bytes(checkpoint(tree))
    found = read(tmp_path / "w.pth")
    assert (found.ecosystem, found.wrapper) == (ecosystem, wrapper)
    assert all(np.array_equal(found.tensors[key], array) for key, array in TRUTH.items())
    outer = [key for key in tree if key != wrapper.split(".")[0]] if wrapper else []
    assert set(outer) <= set(found.unused)


@pytest.mark.parametrize("mark", ["ema.", "ema_"])
def test_an_averaged_copy_beside_the_weights(mark: str, tmp_path: Path) -> None:
    """mindcv's and mmcv's: the weights themselves are taken, as both load them."""
    averaged = {mark + name: array for name, array in other(TRUTH).items()}
    save_file(dict(TRUTH) | averaged, tmp_path / "w")
    found = read(tmp_path / "w")
    assert all(np.array_equal(found.tensors[key], array) for key, array in TRUTH.items())
    assert set(found.unused) == set(averaged)


def python2_tensor(key: str, shape: tuple[int, ...], stride: list[int], count: int) -> bytes:
    """torch 0.3: no gradient flag, no hooks."""
    arguments = group(storage("Float", key, count, b"N"), number(0), numbers(shape), numbers(stride))
    return mention("torch._utils", "_rebuild_tensor") + arguments + REDUCE


def test_as_python_2_wrote_it(tmp_path: Path) -> None:
    """resnet50-19c8e357.pth is of 2017: an OrderedDict of pairs, names as bytes, tensors without flags."""
    pairs, stored = b"", []
    for key, (name, array) in enumerate(TRUTH.items()):
        stride = [step // 4 for step in array.strides]
        pairs += b"](" + short_text(name.encode()) + python2_tensor(str(key), array.shape, stride, array.size) + b"e"
        stored.append((array.size, array.tobytes()))
    state = pickled(mention("collections", "OrderedDict"), group(b"](" + pairs + b"e"), REDUCE)
    keys = pickled(b"](", *(short_text(str(key).encode()) for key in range(len(stored))), b"e")
    (tmp_path / "w.pth").write_bytes(torch_legacy(state, keys, stored))
    found = read(tmp_path / "w.pth")
    assert (found.container, found.ecosystem) == ("torch-legacy", "torchvision")
    assert all(np.array_equal(found.tensors[key], array) for key, array in TRUTH.items())


WIDTH, BODY = 6, "backbone.body."
PYRAMID = {
    **{f"fpn.inner_blocks.{level}.0.weight": (WIDTH, c, 1, 1) for level, c in enumerate(TINY.out_channels)},
    **{f"fpn.inner_blocks.{level}.0.bias": (WIDTH,) for level in range(4)},
    **{f"fpn.layer_blocks.{level}.0.weight": (WIDTH, WIDTH, 3, 3) for level in range(4)},
    **{f"fpn.layer_blocks.{level}.0.bias": (WIDTH,) for level in range(4)},
}
SPELLED = [  # reference.md, section 5: ecosystem, prefix of the body, a lateral of c3, the output of p5
    ("torchvision-detection", BODY, "backbone.fpn.inner_blocks.1.0.weight", "backbone.fpn.layer_blocks.3.0.bias"),
    ("maskrcnn-benchmark", BODY, "backbone.fpn.fpn_inner2.weight", "backbone.fpn.fpn_layer4.bias"),
    ("detectron2", "backbone.bottom_up.", "backbone.fpn_lateral3.weight", "backbone.fpn_output5.bias"),
    ("detectron1", "", "fpn_inner_res3_sum_lateral_w", "fpn_res5_sum_b"),
    ("mmdet", "backbone.", "neck.lateral_convs.1.conv.weight", "neck.fpn_convs.3.conv.bias"),
    ("resnetfea", "backbone.", "fpn_ncek.lateral_convs_list.1.weight", "fpn_ncek.fpn_convs_list.3.bias"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "prefix", "lateral", "output"), SPELLED)
def test_feature_pyramid(name: str, prefix: str, lateral: str, output: str, tmp_path: Path) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    rng = np.random.default_rng(5)
    pyramid = {key: rng.normal(size=shape).astype(np.float32) for key, shape in PYRAMID.items()}
    theirs = {ecosystem.theirs(key): array for key, array in pyramid.items()}
    assert {lateral, output} <= theirs.keys()
    body = {prefix + ecosystem.theirs(key): array for key, array in TRUTH.items()}
    if ecosystem.fused:
        body = {key: array for key, array in body.items() if "running_" not in key}
    save_file(body | theirs, tmp_path / "w")
    found = read(tmp_path / "w")
    assert found.ecosystem == name
    assert list(found.fpn) == list(canonical.FPN)
    assert all(np.array_equal(found.fpn[key], array) for key, array in pyramid.items())
    del theirs[output]
    save_file(body | theirs, tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"missing from its feature pyramid: fpn\.layer_blocks\.3\.0\.bias$"):
        read(tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "prefix", "further"),
    [
        ("mmdet", "backbone.", "neck.downsample_convs.0.conv.weight"),  # PAFPN
        ("mmdet", "backbone.", "neck.fpn_convs.4.conv.weight"),  # a level by convolution where ours is pooled
        ("torchvision-detection", BODY, "backbone.fpn.extra_blocks.p6.weight"),
        ("maskrcnn-benchmark", BODY, "backbone.fpn.top_blocks.p6.weight"),
        ("detectron2", "backbone.bottom_up.", "backbone.top_block.p6.weight"),
        ("detectron1", "", "fpn_6_w"),
    ],
)
def test_a_pyramid_with_more_than_eight_convolutions_is_another(
    name: str, prefix: str, further: str, tmp_path: Path
) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    theirs = {ecosystem.theirs(key): np.ones(shape, np.float32) for key, shape in PYRAMID.items()}
    body = {prefix + ecosystem.theirs(key): array for key, array in TRUTH.items()}
    if ecosystem.fused:
        body = {key: array for key, array in body.items() if "running_" not in key}
    save_file(body | theirs | {further: np.ones(3, np.float32)}, tmp_path / "w")
    found = read(tmp_path / "w")
    assert found.ecosystem == name
    assert not found.fpn
    assert {further, *theirs} <= set(found.left_out)


@pytest.mark.parametrize(
    ("name", "prefix", "new", "old"),
    [
        ("torchvision-detection", BODY, r"_blocks.0.0.", r"_blocks.0."),
        ("detectron1", "", "res4_sum", "res4_5_sum"),
        ("detectron1", "", "res4_sum", "res4_22_sum"),
    ],
)
def test_older_names_of_the_pyramid(name: str, prefix: str, new: str, old: str, tmp_path: Path) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    body = {prefix + ecosystem.theirs(key): array for key, array in TRUTH.items() if "running_" not in key or prefix}
    pyramid = {key: np.ones(shape, np.float32) for key, shape in PYRAMID.items()}
    theirs = {ecosystem.theirs(key).replace(new, old): array for key, array in pyramid.items()}
    assert any(old in key for key in theirs)
    save_file(body | theirs, tmp_path / "w")
    assert list(read(tmp_path / "w").fpn) == list(canonical.FPN)


@pytest.mark.parametrize(
    ("name", "prefix", "stage", "head"),
    [
        (
            "maskrcnn-benchmark",
            "backbone.body.",
            "backbone.body.layer4.",
            "roi_heads.box.feature_extractor.head.layer4.",
        ),
        ("detectron2", "backbone.", "backbone.res5.", "roi_heads.res5."),
        ("mmdet", "backbone.", "backbone.layer4.", "roi_head.shared_head.layer4."),
        ("mmdet", "backbone.", "backbone.layer4.", "shared_head.layer4."),  # mmdetection 1
    ],
)
def test_c4_bodies_have_their_last_stage_in_the_head(
    name: str, prefix: str, stage: str, head: str, tmp_path: Path
) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    file = {prefix + ecosystem.theirs(key): array for key, array in TRUTH.items()}
    moved = {key.replace(stage, head): array for key, array in file.items()}
    assert moved.keys() != file.keys()
    beside = {"rpn_head.rpn_conv.weight": np.ones(3, np.float32)} if name == "mmdet" else {}
    save_file(moved | beside, tmp_path / "w")
    found = read(tmp_path / "w")
    assert found.ecosystem == name
    assert all(np.array_equal(found.tensors[key], array) for key, array in TRUTH.items())


@pytest.mark.parametrize("name", ["torchvision", "mmpretrain", "transformers", "modelzoo", "mindcv", "detectron2"])
def test_classifier(name: str, tmp_path: Path) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    weight, bias = classifier()
    head = {ecosystem.theirs("fc.weight"): weight, ecosystem.theirs("fc.bias"): bias}
    prefix = ecosystem.prefixes[-1]
    save_file({prefix + ecosystem.theirs(key): array for key, array in TRUTH.items()} | head, tmp_path / "w")
    found = read(tmp_path / "w")
    assert found.ecosystem == name
    assert np.array_equal(found.fc["fc.weight"], weight)
    assert found.fc["fc.bias"].shape == (CLASSES,)
    assert set(head) == set(found.unused)
