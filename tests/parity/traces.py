"""The traces that PyTorch wrote by our own script: whose models, of which variant, from which numbers. numpy only."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.tiny import TINY
from resnetfea.network.variant import Variant
from rich_weights import State, rich_input, rich_state

SEED = 11


class Case(NamedTuple):
    """One trace: the variant, (height, width), whether it has gradients, and how wide its pyramid is, if it has one."""

    variant: Variant
    size: tuple[int, int]
    gradients: bool = False
    pyramid: int = 0

    @property
    def weights(self) -> State:
        """By torchvision's names, from the seed."""
        return rich_state(self.variant, SEED)

    @property
    def fpn(self) -> State:
        """The pyramid's, from the seed: eight convolutions with biases."""
        state: State = {}
        for level, channels in enumerate(self.variant.out_channels if self.pyramid else ()):
            for kind, shape in (("inner", (self.pyramid, channels, 1, 1)), ("layer", (self.pyramid,) * 2 + (3, 3))):
                name = f"fpn.{kind}_blocks.{level}.0"
                state[f"{name}.weight"] = rich_input(shape, SEED + level) / np.float32(np.sqrt(np.prod(shape[1:])))
                state[f"{name}.bias"] = rich_input((self.pyramid,), SEED + level + 9)
        return state

    @property
    def file(self) -> State:
        """As torchvision's detectors have them, or bare."""
        if not self.pyramid:
            return self.weights
        return {f"backbone.body.{name}": array for name, array in self.weights.items()} | {
            f"backbone.{name}": array for name, array in self.fpn.items()
        }

    @property
    def picture(self) -> NDArray[np.uint8]:
        """RGB (H, W, 3)."""
        return np.random.default_rng(SEED).integers(0, 256, (*self.size, 3), dtype=np.uint8)


CASES = {  # one side even and one odd, at every halving: where the paddings part
    "torchvision": Case(replace(TINY, pool="pad1"), (48, 49), gradients=True),
    "maskrcnn-benchmark": Case(replace(TINY, pool="pad1", stride_in="1x1", bn_eps=0.0), (32, 33)),
    "detectron2": Case(replace(TINY, pool="pad1", stride_in="1x1"), (32, 33)),
    "detector": Case(replace(TINY, pool="pad1"), (32, 33), gradients=True, pyramid=4),  # of layer2 on
}
FULL = {"full-size": Case(Variant(pool="pad1"), (96, 97), gradients=True)}  # 25 MB: live only
