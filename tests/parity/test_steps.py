"""The layers one by one are the cell: no bit of their outputs is another."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from data.tiny import TINY
from parity.cell import build_cell
from parity.references import FURTHER
from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from rich_weights import rich_input, rich_state

pytestmark = pytest.mark.slow
VARIANTS = {
    "default": TINY,
    "others": replace(TINY, pool="pad1", stride_in="1x1", conv_pad="same", bn_eps=0.0, dilation=2),
    "c4": replace(TINY, out=("c4",)),
} | {name: FURTHER[name] for name in ("resnet101-c4", "deform-v2-2")}
X = rich_input((1, 3, 65, 79), 3)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_the_steps_end_where_the_cell_ends(variant: Variant) -> None:
    from mindspore import Tensor

    from resnetfea.network import mode
    from resnetfea.parity import steps

    cell = build_cell(rich_state(variant, 3), variant)
    found = dict(steps.run(cell, X))
    assert [name for name in found if name.startswith("c") and name != "conv1"] == list(variant.out)
    with mode.eager():
        wanted = [whole.asnumpy() for whole in cell(Tensor(X))]
    for name, whole in zip(variant.out, wanted, strict=True):
        assert np.array_equal(found[name], whole)


def test_the_names_are_torchvisions_in_order_of_execution() -> None:
    from resnetfea.parity import steps

    cell = build_cell(rich_state(TINY, 3), TINY)
    names = [name for name, _ in steps.run(cell, X)]
    assert names[:3] == ["conv1", "bn1", "maxpool"]
    assert names[3:12] == [f"layer1.0.{part}{n}" for n in (1, 2, 3) for part in ("conv", "bn")] + [
        "layer1.0.downsample.0",
        "layer1.0.downsample.1",
        "layer1.0",
    ]
    assert names[-8:] == [f"layer4.2.{part}{n}" for n in (1, 2, 3) for part in ("conv", "bn")] + ["layer4.2", "c5"]
    assert len(names) == len(set(names)) == 3 + 16 * 7 + 4 * 2 + 4
    assert {step.name for step in steps.plan(cell)} == set(names) - {"c2", "c3", "c4", "c5"}


def test_with_the_references_own_input_only_the_wrong_layer_is_wrong() -> None:
    from resnetfea.parity import steps

    state = rich_state(TINY, 3)
    right = dict(steps.run(build_cell(state, TINY), X))
    state["layer2.0.conv2.weight"][1] *= 1.5
    wrong = build_cell(state, TINY)
    inherited = [name for name, ours in steps.run(wrong, X) if not np.array_equal(ours, right[name])]
    own = [name for name, ours in steps.run(wrong, X, instead=right) if not np.array_equal(ours, right[name])]
    assert inherited[0] == "layer2.0.conv2"
    assert inherited[-1] == "c5"
    assert own == ["layer2.0.conv2"]


def test_where_the_reference_lacks_a_layer_our_own_output_goes_on() -> None:
    from resnetfea.parity import steps

    state = rich_state(TINY, 3)
    maps = {name: ours for name, ours in steps.run(build_cell(state, TINY), X) if name in ("c2", "c3", "c4", "c5")}
    state["layer2.0.conv2.weight"][1] *= 1.5
    wrong = build_cell(state, TINY)
    own = [name for name, ours in steps.run(wrong, X, instead=maps) if name in maps and (ours != maps[name]).any()]
    assert own == ["c3"]


def test_the_callers_mode_is_its_own_between_layers() -> None:
    import mindspore as ms

    from resnetfea.parity import steps

    cell, before = build_cell(rich_state(TINY, 3), TINY), ms.get_context("mode")
    try:
        for mode in (ms.GRAPH_MODE, ms.PYNATIVE_MODE):
            ms.set_context(mode=mode)
            assert {ms.get_context("mode") for _ in steps.run(cell, X)} == {mode}
            assert ms.get_context("mode") == mode
    finally:
        ms.set_context(mode=before)


def test_other_channels_are_told_behind_the_layers_before() -> None:
    from resnetfea.parity import steps

    cell = build_cell(rich_state(TINY, 3), TINY)
    running = steps.run(cell, X, instead={"layer1.0.bn2": np.zeros((1, 5, 17, 20), np.float32)})
    names = [name for name, _ in islice(running, 7)]
    assert names[-2:] == ["layer1.0.conv2", "layer1.0.bn2"]
    with pytest.raises(ResnetFeaError, match=r"layer1\.0\.bn2: 5 channels in the reference, 2 here"):
        next(running)
