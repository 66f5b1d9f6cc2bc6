"""Variant: sizes and refusals. Needs no mindspore."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from resnetfea.network.variant import Variant


def test_the_default_is_resnet50() -> None:
    variant = Variant()
    assert variant.layer_nums == (3, 4, 6, 3)
    assert variant.in_channels == (64, 256, 512, 1024)
    assert variant.out_channels == (256, 512, 1024, 2048)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Variant().pool = "pad1"  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 18},
        {"stem_channels": 0},
        {"pool": "valid"},
        {"stride_in": "2x2"},
        {"conv_pad": "valid"},
        {"bn_eps": -1e-5},
        {"norm_channels": -1},
        {"norm_channels": 24, "norm": "group"},
        {"norm_groups": 7, "norm": "group"},
        {"bn_eps": float("nan")},
    ],
)
def test_what_no_resnet_does_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Variant(**wrong)
