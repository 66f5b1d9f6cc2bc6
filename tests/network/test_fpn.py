"""FPN: its numbers and gradients against PyTorch's, and what it says of itself before it runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from parity.fpn_cases import CASES, GRADIENTS_OF, INPUTS, NET, Case, error, load, maps, state, weighing
from parity.references import GOLDEN
from resnetfea import ResnetFeaError, read
from resnetfea.network import mode
from resnetfea.network.build import fpn_of, with_pyramid
from resnetfea.network.fpn import FPN
from resnetfea.weights import fpn_names
from resnetfea.weights.ecosystems import RESNETFEA
from resnetfea.weights.writing import write
from rich_weights import State, rich_input, rich_state

pytestmark = pytest.mark.slow

Floats = NDArray[np.float32]
TOLERANCE, OF_GRADIENTS = 1e-5, 1e-4
PARTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
LISTS = {"inner_blocks": ("lateral_convs_list", "lateral_norms"), "layer_blocks": ("fpn_convs_list", "fpn_norms")}


def cell_name(name: str) -> str:
    """inner_blocks.0.1.bias as lateral_norms.0.beta."""
    kind, *rest = name.split(".")
    if kind == "extra_blocks":
        return ".".join(rest)
    level, part, what = rest
    return f"{LISTS[kind][int(part)]}.{level}.{what if part == '0' else PARTS[what]}"


def built(case: Case) -> FPN:
    """The pyramid with every parameter set."""
    cell = FPN(case.in_channels, case.out_channels, **case.options)
    tensors: State = {cell_name(name): array for name, array in state(case).items()}
    parameters = cell.parameters_dict()
    assert parameters.keys() == tensors.keys()
    for name, array in tensors.items():
        assert parameters[name].shape == array.shape
        parameters[name].set_data(ms.Tensor(array))
    cell.set_train(False)
    return cell


def called(cell: FPN, features: list[Floats]) -> list[Floats]:
    return [value.asnumpy() for value in cell(tuple(ms.Tensor(x) for x in features))]


@pytest.mark.parametrize("name", CASES)
def test_every_map_is_pytorchs(name: str) -> None:
    case = CASES[name]
    reference, cell = load(GOLDEN / "fpn" / f"{name}.npz", case), built(case)
    for label, sizes in INPUTS.items():
        found = called(cell, maps(case, sizes))
        assert len(found) == len(cell.channels)
        for index, ours in enumerate(found):
            assert error(reference, f"{label}/{index}", ours) <= TOLERANCE, (label, index)


@pytest.mark.parametrize("name", CASES)
def test_every_gradient_is_pytorchs(name: str) -> None:
    case = CASES[name]
    reference, cell = load(GOLDEN / "fpn" / f"{name}.npz", case), built(case)
    features = tuple(ms.Tensor(x) for x in maps(case, INPUTS[GRADIENTS_OF]))
    factors = [ms.Tensor(x) for x in weighing([value.shape for value in cell(features)])]

    def loss(*entering: ms.Tensor) -> ms.Tensor:
        terms = [ms.ops.ReduceSum()(ms.ops.Mul()(p, w)) for p, w in zip(cell(entering), factors, strict=True)]
        return ms.ops.AddN()(terms)

    trained = cell.trainable_params()
    of_maps, of_parameters = ms.grad(loss, tuple(range(len(features))), trained)(*features)
    ours = {f"x{index}": value for index, value in enumerate(of_maps)}
    ours |= {parameter.name: value for parameter, value in zip(trained, of_parameters, strict=True)}
    theirs = {key: key if key[0] == "x" else cell_name(key) for key in wanted(reference)}
    assert ours.keys() == set(theirs.values())
    for key, name_here in theirs.items():
        assert error(reference, f"gradient/{key}", ours[name_here].asnumpy()) <= OF_GRADIENTS, key


def wanted(keys: Iterable[str]) -> list[str]:
    """What the file has gradients of."""
    return [key.removeprefix("gradient/") for key in keys if key.startswith("gradient/") and key.count("/") == 1]


@pytest.mark.parametrize(
    ("name", "label"), [("default", "225x225"), ("modelzoo", "unequal"), ("all-at-once", "dilated")]
)
def test_in_graph_mode(name: str, label: str) -> None:
    case = CASES[name]
    reference = load(GOLDEN / "fpn" / f"{name}.npz", case)
    with mode.graph():
        found = called(built(case), maps(case, INPUTS[label]))
    assert all(error(reference, f"{label}/{index}", ours) <= TOLERANCE for index, ours in enumerate(found))


@pytest.mark.parametrize("name", ["default", "retinanet-c5"])
@pytest.mark.parametrize(("label", "size"), [("224x224", (224, 224)), ("200x333", (200, 333))])
def test_it_says_beforehand_what_will_come_out(name: str, label: str, size: tuple[int, int]) -> None:
    case = CASES[name]
    cell = FPN(case.in_channels, case.out_channels, **case.options)
    said = [(cell.channels[level], *(-(-side // stride) for side in size)) for level, stride in cell.strides.items()]
    assert said == [value.shape[1:] for value in called(cell, maps(case, INPUTS[label]))]
    assert list(cell.channels) == list(cell.strides)


def test_names_of_the_levels() -> None:
    assert FPN([2, 4, 8, 16], 4).strides == {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
    assert FPN([4, 8, 16], 4, top="c5").strides == {"p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}
    assert FPN([8, 16], 4).strides == {"p4": 16, "p5": 32, "p6": 64}
    assert FPN([2, 4, 8, 16], 4, in_strides=[4, 8, 16, 16]).strides == {"p2": 4, "p3": 8, "p4": 16, "p5": 16, "p6": 32}


def test_eight_convolutions_and_p6() -> None:
    """contract.md: eight with biases; the 3x3 ones by name are p2 to p5; p6 is every second pixel of p5."""
    cell = FPN([8, 16, 32, 64], 8)
    parameters = cell.parameters_dict()
    assert len(parameters) == 16
    assert sorted(name for name in parameters if name.endswith("bias")) == [
        name.replace("weight", "bias") for name in sorted(parameters) if name.endswith("weight")
    ]
    spatial = sorted(name for name, value in parameters.items() if value.shape[2:] == (3, 3))
    features = maps(Case((8, 16, 32, 64), 8), INPUTS["225x225"])
    before = called(cell, features)
    for index, name in enumerate(spatial):
        parameters[name.replace("weight", "bias")].set_data(ms.Tensor(np.full(8, 1 + index, np.float32)))
    for index, (old, new) in enumerate(zip(before[:4], after := called(cell, features), strict=False)):
        assert np.allclose(new - old, 1 + index, atol=1e-5)
    assert np.array_equal(after[4], after[3][:, :, ::2, ::2])
    assert cell(tuple(ms.Tensor(x) for x in features))[0].dtype == ms.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": [4]}, "c4 and c5"),
        ({"in_channels": [4] * 5}, "c4 and c5"),
        ({"top": "p6"}, r"top='p6': use one of \('pool', 'c5', 'p5'\)"),
        ({"fuse": "max"}, "fuse='max'"),
        ({"norm": "layer"}, "norm='layer'"),
        ({"resize": "bicubic"}, "resize='bicubic'"),
        ({"in_strides": [4, 8]}, "one for each of 4 maps"),
    ],
)
def test_what_it_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FPN(**{"in_channels": [4, 4, 4, 4], "out_channels": 4, **arguments})


def file_of(name: str, path: Path, prefix: str = "fpn.") -> Path:
    """A file with a tiny ResNet and this case's pyramid."""
    save_file(rich_state(NET, 1) | {prefix + key: array for key, array in state(CASES[name]).items()}, path)
    return path


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("full-width", "retinanet-mmdet")])
def test_from_a_file(name: str, tmp_path: Path) -> None:
    """Levels, norm and top are the file's; what it can't tell is given, and nothing else."""
    options = CASES[name].options
    given = {key: options[key] for key in ("fuse", "norm_groups", "resize") if key in options}
    cell = fpn_of(read(file_of(name, tmp_path / "w")), **given)
    reference = load(GOLDEN / "fpn" / f"{name}.npz", CASES[name])
    found = called(cell, maps(CASES[name], INPUTS["225x225"]))
    assert all(error(reference, f"225x225/{index}", ours) <= TOLERANCE for index, ours in enumerate(found))


def test_modelzoos_detectors_resize_each_in_its_way(tmp_path: Path) -> None:
    nearest = read(file_of("default", tmp_path / "w"))
    assert fpn_of(nearest).resize == "nearest"
    write(nearest, tmp_path / "converted.ckpt")
    assert fpn_of(read(tmp_path / "converted.ckpt")).resize == "nearest"
    theirs = {f"backbone.{RESNETFEA.theirs(name)}": array for name, array in nearest.tensors.items()}
    theirs |= {RESNETFEA.theirs(name): array for name, array in nearest.fpn.items()}
    of_head = {"bilinear": "rcnn_mask.mask_fcn1.weight", "nearest": "rcnn.cls.weight", "": "rpn_with_loss.weight"}
    for resize, head in of_head.items():
        tensors = theirs | {head: np.ones(2, np.float32)}
        ms.save_checkpoint(
            [{"name": key, "data": ms.Tensor(tensors[key])} for key in tensors], str(tmp_path / "z.ckpt")
        )
        modelzoo = read(tmp_path / "z.ckpt")
        if resize:
            assert fpn_of(modelzoo).resize == resize
        else:
            with pytest.raises(ResnetFeaError, match=r"z\.ckpt: .* give resize="):
                fpn_of(modelzoo)
        assert fpn_of(modelzoo, resize="bilinear").resize == "bilinear"


def test_weights_without_a_pyramid(tmp_path: Path) -> None:
    save_file(rich_state(NET, 1), tmp_path / "w.safetensors")
    with pytest.raises(ResnetFeaError, match=r"w\.safetensors: holds no feature pyramid"):
        fpn_of(read(tmp_path / "w.safetensors"))


def test_behind_the_resnet_and_back_through_a_checkpoint(tmp_path: Path) -> None:
    weights = read(file_of("retinanet-c5", tmp_path / "w"))
    cell = with_pyramid(weights)
    x = ms.Tensor(rich_input((1, 3, 65, 97), 3))
    c3, c4, c5 = cell.backbone(x)[1:]
    wanted = [*cell.backbone(x), *fpn_of(weights)((c3, c4, c5))]
    assert all(np.array_equal(ours.asnumpy(), other.asnumpy()) for ours, other in zip(cell(x), wanted, strict=True))
    assert list(fpn_names.maps(weights.fpn)) == list(cell.fpn_ncek.channels) == ["p3", "p4", "p5", "p6", "p7"]
    assert fpn_names.maps(weights.fpn) == cell.fpn_ncek.channels
    ms.save_checkpoint(cell, str(tmp_path / "both.ckpt"))
    again = read(tmp_path / "both.ckpt")
    assert again.fpn.keys() == weights.fpn.keys()
    assert all(np.array_equal(again.fpn[name], array) for name, array in weights.fpn.items())
