"""Files of ResNets that are not plain: groups, group norms, offsets, three stages, by each of their names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from resnetfea.convert import convert
from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import look, read, safetensors_file
from resnetfea.weights.card import Card
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.group_norms import GROUP_NORMS
from resnetfea.weights.recipe import TORCHVISION
from rich_weights import State, rich_state

SMALL = Variant(stem_channels=32, res2_channels=64, width_per_group=32, pool="pad1")
GROUP_NORM = replace(SMALL, norm="group")
RESNEXT = replace(SMALL, groups=8, width_per_group=4)
DEFORMABLE = replace(SMALL, deform=("none", "v1", "v2", "v2"), deform_groups=2)
NAMED = {one.name: one for one in reversed(ECOSYSTEMS)}
NORMED = [(ecosystem, prefix) for ecosystem in GROUP_NORMS for prefix in ecosystem.prefixes]


def file_of(variant: Variant, ecosystem: Ecosystem, prefix: str, path: Path) -> State:
    """Writes it under the ecosystem's names; the canonical tensors."""
    truth = rich_state(variant, 3)
    save_file({prefix + ecosystem.theirs(name): array for name, array in truth.items()}, path)
    return truth


def equal(found: object, truth: State) -> bool:
    assert isinstance(found, dict)
    return found.keys() == truth.keys() and all(np.array_equal(found[name], array) for name, array in truth.items())


@pytest.mark.parametrize(("ecosystem", "prefix"), NORMED, ids=lambda part: getattr(part, "name", part))
def test_group_norm_under_every_name(ecosystem: Ecosystem, prefix: str, tmp_path: Path) -> None:
    truth = file_of(GROUP_NORM, ecosystem, prefix, tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.ecosystem, found.variant, found.recipe) == (ecosystem.name, GROUP_NORM, ecosystem.recipe)
    assert equal(dict(found.tensors), truth)


def test_each_group_norm_as_its_source_spells_it() -> None:
    spelled = {one.name: (one.theirs("bn1.weight"), one.theirs("layer1.0.downsample.1.bias")) for one in GROUP_NORMS}
    assert spelled == {
        "maskrcnn-benchmark": ("stem.bn1.weight", "layer1.0.downsample.1.bias"),
        "detectron2": ("stem.conv1.norm.weight", "res2.0.shortcut.norm.bias"),
        "detectron1": ("conv1_gn_s", "res2_0_branch1_gn_b"),
        "mmdet": ("gn1.weight", "layer1.0.downsample.1.bias"),
    }


def test_group_norms_with_a_tensor_less(tmp_path: Path) -> None:
    for ecosystem, prefix in NORMED:
        truth = file_of(GROUP_NORM, ecosystem, prefix, tmp_path / "w")
        theirs = {key: prefix + ecosystem.theirs(key) for key in truth if key != "layer3.1.bn2.bias"}
        save_file({theirs[key]: truth[key] for key in theirs}, tmp_path / "w")
        with pytest.raises(ResnetFeaError, match=r"ResNet: missing \(1\): layer3\.1\.bn2\.bias$"):
            read(tmp_path / "w")


def test_group_norms_whose_names_do_not_tell_are_refused(tmp_path: Path) -> None:
    file_of(GROUP_NORM, NAMED["torchvision"], "", tmp_path / "w")
    with pytest.raises(ResnetFeaError, match="group norm, or with norms folded away"):
        read(tmp_path / "w")


def test_batch_norms_that_lost_some_statistics_are_no_group_norms(tmp_path: Path) -> None:
    ecosystem = NAMED["maskrcnn-benchmark"]
    tensors = {f"backbone.body.{ecosystem.theirs(name)}": array for name, array in rich_state(SMALL, 3).items()}
    kept = {name: array for name, array in tensors.items() if "running_" not in name or "layer1" in name}
    save_file(kept, tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"missing \(.*bn1\.running_mean"):
        read(tmp_path / "w")


def test_convolutions_alone_are_no_group_norms(tmp_path: Path) -> None:
    """Without any norm nothing tells, and the first table that knows the names says what is missing."""
    for name, prefix in (("torchvision", ""), ("detectron2", ""), ("maskrcnn-benchmark", "backbone.body.")):
        truth = {key: array for key, array in rich_state(SMALL, 3).items() if array.ndim == 4}
        save_file({prefix + NAMED[name].theirs(key): array for key, array in truth.items()}, tmp_path / "w")
        found = look(tmp_path / "w")
        assert (found.ecosystem, found.variant.norm, len(found.missing)) == (name, "affine", 212)


def test_channels_that_32_groups_do_not_divide(tmp_path: Path) -> None:
    narrow = replace(GROUP_NORM, norm_groups=8, stem_channels=8)
    file_of(narrow, NAMED["detectron2"], "", tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"/w: .*norm_groups is 32"):
        read(tmp_path / "w")


@pytest.mark.parametrize("name", ["torchvision", "detectron2", "mmpretrain", "mindcv", "resnetfea", "transformers"])
def test_groups_are_found_from_shapes(name: str, tmp_path: Path) -> None:
    truth = file_of(RESNEXT, NAMED[name], NAMED[name].prefixes[0], tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.variant.groups, found.variant.width_per_group) == (8, 4)
    assert equal(dict(found.tensors), truth)


def test_one_convolution_with_other_groups_stands_out(tmp_path: Path) -> None:
    truth = rich_state(RESNEXT, 3)
    truth["layer1.1.conv2.weight"] = np.ones((32, 32, 3, 3), np.float32)
    save_file(truth, tmp_path / "w")
    with pytest.raises(
        ResnetFeaError, match=r"wrong shape \(1\): layer1\.1\.conv2\.weight is .* where \(32, 4, 3, 3\)"
    ):
        read(tmp_path / "w")


OFFSETS = [  # ecosystem, prefix, what its own name (or an older one) is
    ("maskrcnn-benchmark", "backbone.body.", "layer2.0.conv2.conv.weight", "layer2.0.conv2.offset.bias"),
    ("maskrcnn-benchmark", "backbone.body.", "layer2.0.conv2.weight", "layer2.0.conv2.offset.bias"),
    ("detectron2", "backbone.bottom_up.", "res3.0.conv2.weight", "res3.0.conv2_offset.bias"),
    ("mmdet", "backbone.", "layer2.0.conv2.weight", "layer2.0.conv2.conv_offset.bias"),
    ("mmdet", "backbone.", "layer2.0.conv2.weight", "layer2.0.conv2_offset.bias"),
]


@pytest.mark.parametrize(("name", "prefix", "weight", "offset"), OFFSETS)
def test_offsets_under_every_name(name: str, prefix: str, weight: str, offset: str, tmp_path: Path) -> None:
    truth, file = rich_state(DEFORMABLE, 3), {}
    for key, array in truth.items():
        theirs = NAMED[name].theirs(key)
        if ".offset." in key:
            theirs = theirs.replace("conv2.conv_offset", "conv2_offset") if "conv2_offset" in offset else theirs
        elif key.endswith("conv2.weight") and "conv2.conv." in weight and not key.startswith("layer1"):
            theirs = theirs.replace("conv2.weight", "conv2.conv.weight")
        file[prefix + theirs] = array
    assert {prefix + weight, prefix + offset} <= file.keys()
    save_file(file | {"rpn.x": np.ones(1, np.float32)} if name == "maskrcnn-benchmark" else file, tmp_path / "w")
    found = read(tmp_path / "w")
    assert (found.ecosystem, found.variant.deform, found.variant.deform_groups) == (name, DEFORMABLE.deform, 2)
    assert equal(dict(found.tensors), truth)


def test_offsets_that_could_be_of_two_kinds_are_refused(tmp_path: Path) -> None:
    """54 channels are 3 groups of v1 or 2 of v2; both divide a width of 6."""
    of_v2 = replace(SMALL, width_per_group=6, deform=("v2", "none", "none", "none"), deform_groups=2)
    save_file(rich_state(of_v2, 3), tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"layer1\.0\.conv2\.offset\.weight"):
        read(tmp_path / "w")


def carded(variant: Variant, path: Path) -> State:
    """Torchvision's names, and a card that says what they cannot."""
    truth = rich_state(variant, 3)
    card = Card(variant=variant, recipe=TORCHVISION, recipe_of="made up", ecosystem="made up", sha256="0" * 64)
    with path.open("wb") as stream:
        safetensors_file.write(stream, truth, card.to_json())
    return truth


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".ckpt", ".pkl"])
@pytest.mark.parametrize(
    "variant",
    [
        replace(GROUP_NORM, norm_groups=16, freeze_at=0),
        replace(GROUP_NORM, norm_channels=8),
        replace(RESNEXT, dilation=2, norm="frozen"),
        replace(DEFORMABLE, groups=2, width_per_group=16),
        replace(SMALL, out=("c2", "c4")),
    ],
    ids=["group norm", "group norm by channels", "ResNeXt", "deformable", "three stages"],
)
def test_converted_and_back(variant: Variant, suffix: str, tmp_path: Path) -> None:
    truth = carded(variant, tmp_path / "w")
    convert(tmp_path / "w", tmp_path / f"out{suffix}")
    found = read(tmp_path / f"out{suffix}")
    if suffix == ".pkl" and variant.norm != "group":  # its norms are folded
        variant = replace(variant, bn_eps=0.0)
        truth = {name: array for name, array in truth.items() if name.endswith((".conv2.weight", "offset.bias"))}
        assert all(np.array_equal(found.tensors[name], array) for name, array in truth.items())
    else:
        assert equal(dict(found.tensors), truth)
    assert found.variant == variant


def test_the_cards_variant_must_be_the_tensors(tmp_path: Path) -> None:
    card = Card(variant=RESNEXT, recipe=TORCHVISION, recipe_of="x", ecosystem="x", sha256="0" * 64)
    with (tmp_path / "w").open("wb") as stream:
        safetensors_file.write(stream, rich_state(SMALL, 3), card.to_json())
    with pytest.raises(ResnetFeaError, match="card says groups 8, the rest of it 1"):
        read(tmp_path / "w")


def test_three_stages_are_not_guessed_from_what_is_missing(tmp_path: Path) -> None:
    """A C4 body looks like a file that was cut."""
    truth = rich_state(replace(SMALL, out=("c4",)), 3)
    save_file(truth, tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"missing \(.*layer4\.0\.conv1"):
        read(tmp_path / "w")
