"""Every table is one-to-one, and each file is known by its own names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from data.tiny import TINY, weights
from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, read
from resnetfea.weights.ecosystem import WRAPPERS, Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.recognition import recognise

Array = NDArray[np.float32]
DEPTHS = {50: 265, 101: 520, 152: 775}  # tensors: five for each convolution and its norm
PAIRS = [(ecosystem, prefix) for ecosystem in ECOSYSTEMS for prefix in ecosystem.prefixes]

BESIDE = {  # what such files hold besides; for some it is all that tells them apart
    "torchvision": ("fc.weight", "bn1.num_batches_tracked"),
    "torchvision-detection": ("backbone.fpn.inner_blocks.0.0.weight", "roi_heads.box_head.fc6.weight"),
    "maskrcnn-benchmark": ("backbone.fpn.fpn_inner1.weight", "rpn.head.conv.weight"),
    "detectron2": (
        "backbone.fpn_lateral2.weight",
        "proposal_generator.rpn_head.conv.weight",
        "backbone.top_block.p6.weight",  # RetinaNet
        "anchor_generator.cell_anchors.0",
    ),
    "mmpretrain": ("head.fc.weight",),
    "mmdet": ("neck.fpn_convs.0.conv.weight", "rpn_head.rpn_conv.weight"),
    "transformers": ("classifier.1.weight",),
    "moco": ("encoder_q.fc.0.weight", "encoder_k.conv1.weight", "queue", "queue_ptr"),
    "swav": ("projection_head.0.weight", "prototypes.weight"),
    "dino": ("head.mlp.0.weight", "head.last_layer.weight_g"),
    "detectron1": ("conv1_w_momentum", "fc6_w", "mask_fcn1_w", "lr", "conv1_b"),
    "modelzoo": ("end_point.weight", "global_step"),
    "mindcv": ("classifier.weight",),
    # mindspore-ai/models 12251fa, .../maskrcnn_resnet50/src/maskrcnn/mask_rcnn_r50.py
    "resnetfea": (
        "fpn_ncek.fpn_convs_list.0.weight",
        "rpn_with_loss.rpn_convs_list.0.rpn_conv.weight",
        "rcnn_cls.fpn_cls.cls_scores.weight",
        "rcnn_mask.fpn_mask.mask_deconv1.weight",
    ),
    "keras": ("predictions/kernel", "optimizer_weights/sgd/iteration"),
}


@pytest.mark.parametrize(("depth", "count"), DEPTHS.items())
def test_canonical_count(depth: int, count: int) -> None:
    assert len(canonical.shapes(Variant(depth=depth))) == count
    assert canonical.depth_of(canonical.shapes(Variant(depth=depth))) == depth


def beside_of(ecosystem: Ecosystem) -> tuple[str, ...]:
    caffe2 = ecosystem.theirs("conv1.weight") == "conv1_w"  # detectron2's zoo has both kinds of names
    return BESIDE.get("detectron1" if caffe2 else ecosystem.name, ())


def as_stored(ecosystem: Ecosystem, truth: dict[str, Array]) -> dict[str, Array]:
    """Canonical tensors as such a file stores them, biases of convolutions made up: 1, 2, 3, ..."""
    stored = {name: array for name, array in truth.items() if not (ecosystem.fused and "running_" in name)}
    if ecosystem.conv_bias:
        for layer in canonical.layers(TINY):
            bias = np.arange(1, layer.shape[0] + 1, dtype=np.float32)
            stored |= {f"{layer.conv}.bias": bias, f"{layer.norm}.running_mean": bias}
    if ecosystem.channels_last:
        stored = {name: array.transpose(2, 3, 1, 0) if array.ndim == 4 else array for name, array in stored.items()}
    return {name: np.ascontiguousarray(array) for name, array in stored.items()}


def as_read(ecosystem: Ecosystem, truth: dict[str, Array]) -> dict[str, Array]:
    """What must come out of it."""
    neutral: dict[str, int] = {}
    if ecosystem.conv_bias:
        neutral = {"running_mean": 0}  # a mean of 1, 2, 3, ... less a bias of 1, 2, 3, ...
    if ecosystem.fused:
        neutral = {"running_mean": 0, "running_var": 1}
    return {
        name: np.full_like(array, neutral[part]) if (part := name.rsplit(".", 1)[1]) in neutral else array
        for name, array in truth.items()
    }


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("ecosystem", "prefix"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_table_is_one_to_one(ecosystem: Ecosystem, prefix: str, depth: int) -> None:
    variant = Variant(depth=depth)
    wanted = {name for name in canonical.shapes(variant) if not (ecosystem.fused and "running_" in name)}
    if ecosystem.conv_bias:
        wanted |= {f"{layer.conv}.bias" for layer in canonical.layers(variant)}
    table = ecosystem.to_canonical(variant, prefix)
    assert len(table) == len(wanted)  # no two canonical names became one
    assert set(table.values()) == wanted
    heads = {ecosystem.theirs(name) for name in (*canonical.FC, *canonical.FPN)}
    assert len(heads) == 18
    assert not heads & table.keys()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("ecosystem", "prefix"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_recognised_by_its_own_names(ecosystem: Ecosystem, prefix: str, depth: int) -> None:
    names = {*ecosystem.to_canonical(Variant(depth=depth), prefix), *beside_of(ecosystem)}
    for wrapper in WRAPPERS:
        assert recognise({wrapper + name for name in names}) == (ecosystem, wrapper, prefix)


@pytest.mark.parametrize(("ecosystem", "prefix"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_a_file_with_what_stands_beside_is_read_whole(ecosystem: Ecosystem, prefix: str, tmp_path: Path) -> None:
    truth, beside = weights(), beside_of(ecosystem)
    file = {prefix + ecosystem.theirs(name): array for name, array in as_stored(ecosystem, truth).items()}
    save_file(file | {name: np.ones(3, np.float32) for name in beside}, tmp_path / "weights")
    found = read(tmp_path / "weights")
    assert found.ecosystem == ecosystem.name
    assert found.tensors.keys() == truth.keys()
    assert all(np.array_equal(found.tensors[name], array) for name, array in as_read(ecosystem, truth).items())
    assert set(found.unused) == set(beside)
    assert (found.variant.stride_in, found.variant.pool) == (ecosystem.variant.stride_in, ecosystem.variant.pool)
    assert (found.variant.bn_eps, found.recipe) == (ecosystem.variant.bn_eps, ecosystem.recipe)


@pytest.mark.parametrize(
    ("name", "canonical_name", "theirs"),
    [  # reference.md, sections 2.4 to 2.13
        ("maskrcnn-benchmark", "bn1.running_var", "stem.bn1.running_var"),
        ("maskrcnn-benchmark", "layer3.5.conv2.weight", "layer3.5.conv2.weight"),
        ("detectron2", "conv1.weight", "stem.conv1.weight"),
        ("detectron2", "bn1.bias", "stem.conv1.norm.bias"),
        ("detectron2", "layer1.2.conv3.weight", "res2.2.conv3.weight"),
        ("detectron2", "layer4.0.bn2.running_mean", "res5.0.conv2.norm.running_mean"),
        ("detectron2", "layer2.0.downsample.0.weight", "res3.0.shortcut.weight"),
        ("detectron2", "layer2.0.downsample.1.weight", "res3.0.shortcut.norm.weight"),
        ("transformers", "conv1.weight", "embedder.embedder.convolution.weight"),
        ("transformers", "bn1.running_mean", "embedder.embedder.normalization.running_mean"),
        ("transformers", "layer3.4.conv1.weight", "encoder.stages.2.layers.4.layer.0.convolution.weight"),
        ("transformers", "layer3.4.bn3.bias", "encoder.stages.2.layers.4.layer.2.normalization.bias"),
        ("transformers", "layer1.0.downsample.1.bias", "encoder.stages.0.layers.0.shortcut.normalization.bias"),
        ("keras", "conv1.weight", "conv1_conv/kernel"),
        ("keras", "bn1.running_var", "conv1_bn/moving_variance"),
        ("keras", "layer1.0.downsample.0.weight", "conv2_block1_0_conv/kernel"),
        ("keras", "layer1.0.downsample.1.weight", "conv2_block1_0_bn/gamma"),
        ("keras", "layer3.22.conv2.weight", "conv4_block23_2_conv/kernel"),
        ("keras", "layer4.2.bn3.bias", "conv5_block3_3_bn/beta"),
        ("keras", "fc.weight", "predictions/kernel"),
    ],
)
def test_each_kind_of_name_as_its_source_spells_it(name: str, canonical_name: str, theirs: str) -> None:
    assert next(one for one in ECOSYSTEMS if one.name == name).theirs(canonical_name) == theirs


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("torchvision", "layer1.0.downsample.1.running_mean"),
        ("modelzoo", "layer1.0.down_sample_layer.1.moving_mean"),
        ("resnetfea", "layer1.0.bn_down_sample.moving_mean"),
        ("mindcv", "layer1.0.down_sample.1.moving_mean"),
    ],
)
def test_names_as_their_source_spells_them(name: str, theirs: str) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    assert ecosystem.theirs("layer1.0.downsample.1.running_mean") == theirs


def test_majority_finds_the_widths() -> None:
    wanted = Variant(depth=101, stem_channels=4, res2_channels=8, width_per_group=2)
    shapes = canonical.shapes(wanted)
    shapes["conv1.weight"] = (64, 3, 7, 7)  # one wrong shape stands out, it does not decide
    assert canonical.fit(shapes, Variant()) == wanted
