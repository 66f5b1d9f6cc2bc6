"""The feature pyramid once more, in PyTorch and as plain functions; nothing here comes from resnetfea.

Usage: PYTHONPATH=src:tests python tests/parity/torch_fpn.py tests/golden/fpn

Writes what test_fpn.py compares with: sampled maps and gradients of each case of fpn_cases.py. Before it writes, the
real code of torchvision and mmdet, each where it is installed, must give the same for each case that it can express.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import torch.nn.functional as F
from torch import Tensor

from data.write_names import declare_operators
from parity.fpn_cases import (
    CASES,
    GRADIENTS_OF,
    IMAGES,
    INPUTS,
    NET,
    NETS,
    SEED,
    Case,
    maps,
    sampled,
    save,
    state,
    weighing,
)
from parity.torch_net import features as resnet
from rich_weights import rich_input, rich_state

EPS = 1e-5
REAL = 1e-6  # of the largest value: two orders of adding up


def pyramid(weights: Mapping[str, Tensor], case: Case, features: Sequence[Tensor]) -> list[Tensor]:
    """p2, p3, ... of the maps, by torchvision's tensor names."""
    options = case.options
    inner = [block(weights, f"inner_blocks.{level}", options, x) for level, x in enumerate(features)]
    for level in reversed(range(len(inner) - 1)):
        inner[level] = inner[level] + resized(inner[level + 1], inner[level].shape[2:], options)
        if options.get("fuse") == "avg":
            inner[level] = inner[level] / 2
    found = [block(weights, f"layer_blocks.{level}", options, x) for level, x in enumerate(inner)]
    if options.get("top", "pool") == "pool":
        return [*found, found[-1][:, :, ::2, ::2]]
    p6 = extra(weights, "p6", features[-1] if options["top"] == "c5" else found[-1])
    p7 = extra(weights, "p7", p6.clamp(min=0) if options.get("top_relu", True) else p6)
    return [*found, p6, p7]


def block(weights: Mapping[str, Tensor], name: str, options: Mapping[str, Any], x: Tensor) -> Tensor:
    """A convolution that keeps the size, and its norm if it has one."""
    kernel = weights[f"{name}.0.weight"]
    x = F.conv2d(x, kernel, weights.get(f"{name}.0.bias"), padding=kernel.shape[2] // 2)
    if f"{name}.1.weight" not in weights:
        return x
    scale, shift = weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]
    if options["norm"] == "group":
        return F.group_norm(x, options["norm_groups"], scale, shift, EPS)
    return F.batch_norm(x, weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"], scale, shift, eps=EPS)


def extra(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """RetinaNet's further levels."""
    kernel, bias = weights[f"extra_blocks.{name}.weight"], weights[f"extra_blocks.{name}.bias"]
    return F.conv2d(x, kernel, bias, stride=2, padding=1)


def resized(x: Tensor, size: Sequence[int], options: Mapping[str, Any]) -> Tensor:
    """To that size: nearest, or TensorFlow 1's bilinear, which MindSpore's ResizeBilinear was."""
    if options.get("resize", "nearest") == "nearest":
        return F.interpolate(x, size=tuple(size), mode="nearest")
    for axis, outputs in enumerate(size, start=2):
        inputs = x.shape[axis]
        place = torch.arange(outputs, dtype=torch.float32) * (inputs / outputs)  # no half pixel
        low = place.floor().long()
        high = (low + 1).clamp(max=inputs - 1)
        shape = [-1 if at == axis else 1 for at in range(4)]
        part = (place - low).reshape(shape)
        x = x.index_select(axis, low) * (1 - part) + x.index_select(axis, high) * part
    return x


def write_all(folder: Path, *, full: bool) -> None:
    """One file for each case; all values of every map, or a sample."""
    (folder / "net").mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("torchvision"):
        declare_operators(torch)
    for name, case in CASES.items():
        weights = {key: torch.from_numpy(value) for key, value in state(case).items()}
        arrays: dict[str, Any] = {}
        for label, sizes in INPUTS.items():
            features = [torch.from_numpy(x) for x in maps(case, sizes)]
            found = pyramid(weights, case, features)
            for other, theirs in real(case, weights, features).items():
                errors = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, theirs, strict=True)]
                print(f"{name:16} {label:8} {other:12} {max(errors):.1e}")
                assert max(errors) < REAL
            for index, value in enumerate(found):
                arrays |= sampled(f"{label}/{index}", value.numpy(), full=full)
        for key, value in gradients(case, weights).items():
            arrays |= sampled(f"gradient/{key}", value.numpy(), full=full)
        save(folder / f"{name}.npz", case, arrays)
    for name in NETS:
        save(folder / "net" / f"{name}.npz", CASES[name], net(CASES[name], full))


def net(case: Case, full: bool) -> dict[str, Any]:
    """The pyramid's maps behind a narrow ResNet-50, by image."""
    body = {key: torch.from_numpy(value) for key, value in rich_state(NET, SEED).items()}
    weights = {key: torch.from_numpy(value) for key, value in state(case).items()}
    arrays: dict[str, Any] = {}
    for shape in IMAGES:
        c = list(resnet(body, NET, torch.from_numpy(rich_input(shape, SEED))).values())
        for index, value in enumerate(pyramid(weights, case, c[-len(case.in_channels) :])):
            arrays |= sampled(f"{shape[2]}x{shape[3]}/{index}", value.numpy(), full=full)
    return arrays


def gradients(case: Case, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the weighed sum of all maps, by tensor and by entering map."""
    trained = {name: value.clone() for name, value in weights.items()}
    for name, value in trained.items():
        value.requires_grad = "running_" not in name
    features = [torch.from_numpy(x).requires_grad_() for x in maps(case, INPUTS[GRADIENTS_OF])]
    found = pyramid(trained, case, features)
    by = weighing([tuple(value.shape) for value in found])
    sum((value * torch.from_numpy(factor)).sum() for value, factor in zip(found, by, strict=True)).backward()
    leaves = {name: value for name, value in trained.items() if value.requires_grad}
    return {key: value.grad for key, value in {**leaves, **{f"x{i}": x for i, x in enumerate(features)}}.items()}


def real(case: Case, weights: Mapping[str, Tensor], features: Sequence[Tensor]) -> dict[str, list[Tensor]]:
    """What the libraries' own modules give for this case, those that have it."""
    options, found = dict(case.options), {}
    top, norm = options.pop("top", "pool"), options.pop("norm", "none")
    groups = options.pop("norm_groups", 0)
    with torch.inference_mode():
        # torchvision has neither averages, nor bilinear, nor p7 without a ReLU
        if importlib.util.find_spec("torchvision") and not options:
            found["torchvision"] = list(_torchvision(case, top, norm, groups, weights)(_named(features)).values())
        plain_top = top == "pool" or options.get("top_relu") is False
        if importlib.util.find_spec("mmdet") and plain_top and norm != "batch" and options.keys() <= {"top_relu"}:
            found["mmdet"] = list(_mmdet(case, top, groups, weights)(tuple(features)))
    return found


def _named(features: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict((str(index), x) for index, x in enumerate(features))


def _torchvision(case: Case, top: str, norm: str, groups: int, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

    width = case.out_channels
    entering = {"c5": case.in_channels[-1], "p5": width}
    blocks = LastLevelMaxPool() if top == "pool" else LastLevelP6P7(entering[top], width)
    norms = {"none": None, "group": partial(torch.nn.GroupNorm, groups), "batch": torch.nn.BatchNorm2d}
    net = FeaturePyramidNetwork(list(case.in_channels), width, blocks, norms[norm]).eval()
    counters = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    net.load_state_dict({**weights, **counters})
    return net


def _mmdet(case: Case, top: str, groups: int, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    for module in ("mmcv._ext", "lazy_importer"):
        sys.modules.setdefault(module, MagicMock())  # compiled parts that a pyramid does not need
    from mmdet.models.necks.fpn import FPN

    levels = len(case.in_channels)
    net = FPN(
        list(case.in_channels),
        case.out_channels,
        levels + (1 if top == "pool" else 2),
        add_extra_convs=False if top == "pool" else {"c5": "on_input", "p5": "on_output"}[top],
        norm_cfg={"type": "GN", "num_groups": groups} if groups else None,
    ).eval()
    rows = {
        "inner_blocks.": "lateral_convs.",
        "layer_blocks.": "fpn_convs.",
        "extra_blocks.p6": f"fpn_convs.{levels}.0",
        "extra_blocks.p7": f"fpn_convs.{levels + 1}.0",
    }
    renamed = {}
    for name, value in weights.items():
        for ours, theirs in rows.items():
            name = name.replace(ours, theirs)
        kind, level, part, what = name.split(".")
        renamed[f"{kind}.{level}.{['conv', 'gn'][int(part)]}.{what}"] = value
    net.load_state_dict(renamed)
    return net


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), full=False)
