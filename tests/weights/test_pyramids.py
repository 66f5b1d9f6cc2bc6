"""Feature pyramids of every ecosystem: fewer levels, RetinaNet's p6 and p7, norms; and those that no file tells."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from data.tiny import TINY, weights
from resnetfea import Weights, read
from resnetfea.errors import ResnetFeaError
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.fpn_names import norm_of
from resnetfea.weights.writing import write
from rich_weights import State, rich_input

WIDTH = 6
NORMS = {
    "none": ["0.bias"],
    "group": ["1.weight", "1.bias"],
    "batch": ["1.weight", "1.bias", "1.running_mean", "1.running_var"],
}
PREFIX = {"detectron2": "backbone.bottom_up.", "detectron1": "", "torchvision": ""}  # or backbone.
BODY = ("torchvision-detection", "maskrcnn-benchmark")


def pyramid(levels: int = 4, norm: str = "none", top: str = "pool") -> State:
    """By torchvision's names, on the tiny network."""
    channels = TINY.out_channels[4 - levels :]
    shapes: dict[str, tuple[int, ...]] = {}
    for kind, size in (("inner", 1), ("layer", 3)):
        for level in range(levels):
            name = f"fpn.{kind}_blocks.{level}"
            shapes[f"{name}.0.weight"] = (WIDTH, channels[level] if kind == "inner" else WIDTH, size, size)
            shapes |= {f"{name}.{part}": (WIDTH,) for part in NORMS[norm]}
    if top != "pool":
        shapes["fpn.extra_blocks.p6.weight"] = (WIDTH, TINY.out_channels[3] if top == "c5" else WIDTH, 3, 3)
        shapes["fpn.extra_blocks.p7.weight"] = (WIDTH, WIDTH, 3, 3)
        shapes |= {f"fpn.extra_blocks.{level}.bias": (WIDTH,) for level in ("p6", "p7")}
    return {name: np.abs(rich_input(shape, 40 + index)) for index, (name, shape) in enumerate(shapes.items())}


def with_body(name: str, tensors: Mapping[str, NDArray[np.float32]], path: Path) -> Weights:
    """What is read of a file of this ecosystem that has these beside the tiny network."""
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    prefix = "backbone.body." if name in BODY else PREFIX.get(name, "backbone.")
    body = {prefix + ecosystem.theirs(key): array for key, array in weights().items()}
    if ecosystem.fused:
        body = {key: array for key, array in body.items() if "running_" not in key}
    save_file({**body, **tensors}, path)
    found = read(path)
    assert found.ecosystem == name
    return found


def assert_same(found: Mapping[str, NDArray[np.float32]], wanted: State) -> None:
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())


# reference.md, section 5, and the files that fpn.py's table names: ecosystem, then canonical name to theirs
RETINANETS: dict[str, tuple[tuple[str, str], ...]] = {
    "torchvision-detection": (("fpn.", "backbone.fpn."),),
    "maskrcnn-benchmark": (
        *((f"fpn.inner_blocks.{i}.0", f"backbone.fpn.fpn_inner{i + 2}") for i in range(3)),
        *((f"fpn.layer_blocks.{i}.0", f"backbone.fpn.fpn_layer{i + 2}") for i in range(3)),
        ("fpn.extra_blocks", "backbone.fpn.top_blocks"),
    ),
    "detectron2": (
        *((f"fpn.inner_blocks.{i}.0", f"backbone.fpn_lateral{i + 3}") for i in range(3)),
        *((f"fpn.layer_blocks.{i}.0", f"backbone.fpn_output{i + 3}") for i in range(3)),
        ("fpn.extra_blocks", "backbone.top_block"),
    ),
    "detectron1": (
        ("fpn.inner_blocks.0.0", "fpn_inner_res3_3_sum_lateral"),
        ("fpn.inner_blocks.1.0", "fpn_inner_res4_5_sum_lateral"),
        ("fpn.inner_blocks.2.0", "fpn_inner_res5_2_sum"),
        ("fpn.layer_blocks.0.0", "fpn_res3_3_sum"),
        ("fpn.layer_blocks.1.0", "fpn_res4_5_sum"),
        ("fpn.layer_blocks.2.0", "fpn_res5_2_sum"),
        ("fpn.extra_blocks.p", "fpn_"),
        (".weight", "_w"),
        (".bias", "_b"),
    ),
    "resnetfea": (
        *((f"fpn.inner_blocks.{i}.0", f"fpn_ncek.lateral_convs_list.{i}") for i in range(3)),
        *((f"fpn.layer_blocks.{i}.0", f"fpn_ncek.fpn_convs_list.{i}") for i in range(3)),
        ("fpn.extra_blocks", "fpn_ncek"),
    ),
}


def renamed(tensors: State, rows: tuple[tuple[str, str], ...]) -> State:
    found: State = {}
    for name, array in tensors.items():
        for ours, theirs in rows:
            name = name.replace(ours, theirs)
        found[name] = array
    return found


@pytest.mark.parametrize("top", ["c5", "p5"])
@pytest.mark.parametrize("name", RETINANETS)
def test_retinanets(name: str, top: str, tmp_path: Path) -> None:
    wanted = pyramid(3, top=top)
    theirs = renamed(wanted, RETINANETS[name])
    found = with_body(name, theirs, tmp_path / "w")
    assert_same(found.fpn, wanted)
    assert found.left_out == ()
    assert set(theirs) == set(found.unused)
    one = next(key for key in theirs if key.endswith(("p7.bias", "fpn_7_b")))
    with pytest.raises(ResnetFeaError, match=r"missing from its feature pyramid: fpn\.extra_blocks\.p7\.bias"):
        with_body(name, {key: theirs[key] for key in theirs if key != one}, tmp_path / "w")


DAMAGES: list[tuple[Callable[[State, str], object], str]] = [  # what happens to a tensor, and what the error says
    (lambda file, key: file.pop(key), r"missing from its feature pyramid: {ours}$"),
    (lambda file, key: file.update({key + "x": file.pop(key)}), r"{ours}; unknown \(1\): {key}x$"),
    (lambda file, key: file.update({key: file[key][1:]}), r"wrong shape \(1\): {key} is"),
    (lambda file, key: file.update({key: np.array(1, np.float32)}), r"wrong shape \(1\): {key} is \(\)"),
    (lambda file, key: file.update({key: file[key] * np.nan}), r"{key} holds numbers that are not finite$"),
    (lambda file, key: file.update({key: file[key].astype(np.int32)}), r"{key} holds int32"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=["gone", "renamed", "cut", "scalar", "nan", "integers"])
@pytest.mark.parametrize("norm", NORMS)
def test_one_tensor_wrong(norm: str, damage: Callable[[State, str], object], reason: str, tmp_path: Path) -> None:
    """A whole pyramid but for one tensor is a damaged one, not another kind: half of it loaded helps nobody."""
    for ours in (names := list(pyramid(norm=norm))):
        if names.index(ours) % 5 == 0 or ours.endswith(".3.0.weight"):
            file, key = dict(pyramid(norm=norm)), f"backbone.{ours}"
            file = {f"backbone.{name}": array for name, array in file.items()}
            damage(file, key)
            with pytest.raises(ResnetFeaError, match=reason.format(ours=re.escape(ours), key=re.escape(key))):
                with_body("torchvision-detection", file, tmp_path / "w")


MMDET = (("fpn.inner_blocks", "neck.lateral_convs"), ("fpn.layer_blocks", "neck.fpn_convs"))
WITH_NORMS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "torchvision's v2": ("torchvision-detection", (("fpn.", "backbone.fpn."),)),
    "maskrcnn-benchmark's USE_GN": (
        "maskrcnn-benchmark",
        (
            *((f"fpn.inner_blocks.{i}.", f"backbone.fpn.fpn_inner{i + 1}.") for i in range(4)),
            *((f"fpn.layer_blocks.{i}.", f"backbone.fpn.fpn_layer{i + 1}.") for i in range(4)),
        ),
    ),
    "detectron2's GN": (
        "detectron2",
        (
            *((f"fpn.inner_blocks.{i}.0", f"backbone.fpn_lateral{i + 2}") for i in range(4)),
            *((f"fpn.layer_blocks.{i}.0", f"backbone.fpn_output{i + 2}") for i in range(4)),
            *((f"fpn.inner_blocks.{i}.1", f"backbone.fpn_lateral{i + 2}.norm") for i in range(4)),
            *((f"fpn.layer_blocks.{i}.1", f"backbone.fpn_output{i + 2}.norm") for i in range(4)),
        ),
    ),
    "mmdet's BN": (
        "mmdet",
        (*MMDET, *((f".{i}.{j}.", f".{i}.{part}.") for i in range(4) for j, part in enumerate(("conv", "bn")))),
    ),
    "mmdet's GN": (
        "mmdet",
        (*MMDET, *((f".{i}.{j}.", f".{i}.{part}.") for i in range(4) for j, part in enumerate(("conv", "gn")))),
    ),
}


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("case", WITH_NORMS)
def test_norms(case: str, norm: str, tmp_path: Path) -> None:
    name, rows = WITH_NORMS[case]
    wanted = pyramid(norm=norm)
    found = with_body(name, renamed(wanted, rows), tmp_path / "w")
    assert_same(found.fpn, wanted)
    assert norm_of(found.fpn) == norm


@pytest.mark.parametrize(
    "further",
    [
        {
            f"neck.fpn_convs.{level}.conv.{part}": shape
            for level in (3, 4)
            for part, shape in (("weight", 9), ("bias", 6))
        },
        {"neck.fpn_convs.3.conv.weight": 9},
    ],
)
def test_what_mmdets_further_levels_are_computed_from_no_file_tells(further: dict[str, int], tmp_path: Path) -> None:
    """From c5, from the lateral or from p5, with a ReLU or without: so the whole pyramid counts as absent."""
    rows = tuple((f".{i}.0.", f".{i}.conv.") for i in range(4))
    three = renamed(
        pyramid(3), (("fpn.inner_blocks", "neck.lateral_convs"), ("fpn.layer_blocks", "neck.fpn_convs"), *rows)
    )
    assert len(with_body("mmdet", three, tmp_path / "w").fpn) == 12
    more = {name: np.ones((WIDTH, WIDTH, 3, 3)[: 4 if size == 9 else 1], np.float32) for name, size in further.items()}
    assert with_body("mmdet", three | more, tmp_path / "w").fpn == {}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("fpn.inner_blocks.3.0.weight", (WIDTH, 64, 1, 1)),  # a fourth lateral without an output
        ("fpn.layer_blocks.0.1.weight", (WIDTH,)),  # one norm, beside biases
        ("fpn.extra_blocks.p6.weight", (WIDTH, 64, 3, 3)),  # p6 without p7
        ("fpn.extra_blocks.p7.bias", (WIDTH,)),
    ],
)
def test_no_pyramid_is_made_up(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    tensors = pyramid(3) | {name: np.ones(shape, np.float32)}
    assert with_body("torchvision", tensors, tmp_path / "w").fpn == {}


@pytest.mark.parametrize(
    ("out", "whole"), [("w.npz", True), ("w.safetensors", True), ("w.ckpt", True), ("w.pkl", False)]
)
@pytest.mark.parametrize(("levels", "norm", "top"), [(3, "none", "c5"), (3, "group", "p5"), (4, "batch", "pool")])
def test_written_and_read_again(levels: int, norm: str, top: str, out: str, whole: bool, tmp_path: Path) -> None:
    before = with_body("torchvision", wanted := pyramid(levels, norm, top), tmp_path / "w")
    done = write(before, tmp_path / out)
    after = read(tmp_path / out)
    assert_same(after.fpn, wanted if whole else {})
    assert ("the feature pyramid (fpn.*) is left out" in " ".join(done.notes)) != whole
