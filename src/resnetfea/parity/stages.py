"""The stem and each stage alone, as cells of network/ whose norms have no epsilon of their own."""

from __future__ import annotations

from dataclasses import replace

from resnetfea.network.build import empty
from resnetfea.network.norm import FP32_TINY
from resnetfea.network.resnet import ResidualBlockUsing, _make_layer
from resnetfea.network.variant import Variant
from resnetfea.parity import steps
from resnetfea.parity.steps import STAGES, Step


def built(number: int, variant: Variant) -> list[Step]:
    """The steps of the stem, 0, or of a stage; their norms' eps goes into the variances that they are given."""
    eps = variant.bn_eps if variant.norm == "group" else FP32_TINY
    variant = replace(variant, bn_eps=eps, norm="group" if variant.norm == "group" else "frozen")
    if number == 0:
        return list(steps.stem(empty(replace(variant, out=("c2",)))))
    also = f"c{number + 1}" if f"c{number + 1}" in variant.out else ""
    inputs, outputs = variant.in_channels[number - 1], variant.out_channels[number - 1]
    blocks = _make_layer(ResidualBlockUsing, variant.layer_nums[number - 1], inputs, outputs, number, True, variant)
    blocks.set_train(False)
    return list(steps.stage(STAGES[number - 1], _before(number, variant), list(blocks), also))


def _before(number: int, variant: Variant) -> str:
    return "maxpool" if number == 1 else f"{STAGES[number - 2]}.{variant.layer_nums[number - 2] - 1}"


def first_of(number: int) -> str:
    return f"{STAGES[number - 1]}.0.conv1" if number else "conv1"


def matters(number: int) -> set[str]:
    """The fields of Variant for which that stage has to be built anew; all others go in with the numbers."""
    return (
        {"conv_pad", "norm_groups"}
        | ({"pool"} if number == 0 else {"stride_in"} if number > 1 else set())
        | ({"dilation"} if number == 4 else set())
    )
