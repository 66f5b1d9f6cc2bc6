"""What trains, and by how much: freeze_at 0 to 5, every norm, every convolution, against PyTorch's autograd."""

from __future__ import annotations

from typing import get_args

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from parity.cell import build_cell, cell_name
from parity.gradients import CASES, SEED, SHAPE, TINY, load, loss, sampled
from parity.references import GOLDEN
from resnetfea import ResidualBlockUsing, ResNetFea, Variant
from resnetfea.network.variant import Norm
from rich_weights import digest, rich_input, rich_state

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4  # of the gradient's largest value
EXPECTED = dict(load(GOLDEN / "gradients" / "gradients.npz"))


def test_every_case_is_there() -> None:
    assert {case: one.variant for case, one in EXPECTED.items()} == CASES


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_pytorchs(case: str) -> None:
    variant, weights_digest, gradients = EXPECTED[case]
    state = rich_state(variant, SEED)
    assert digest(state) == weights_digest
    cell = build_cell(state, variant)
    cell.set_train(True)
    assert {p.name for p in cell.trainable_params()} == {cell_name(one.name) for one in gradients}
    if not gradients:
        return

    def of_image(x: Tensor) -> Tensor:
        return loss(dict(zip(variant.out, cell(x), strict=True)), Tensor)

    before = {p.name: p.asnumpy().copy() for p in cell.get_parameters() if not p.requires_grad and "moving" in p.name}
    parameters = [cell.parameters_dict()[cell_name(one.name)] for one in gradients]
    found = ms.grad(of_image, None, parameters)(Tensor(rich_input(SHAPE, SEED)))
    for one, ours in zip(gradients, found, strict=True):
        assert one.peak > 0
        kept = ours.asnumpy().reshape(-1) if one.values.size == ours.size else sampled(ours.asnumpy())
        worst = np.abs(kept - one.values).max() / one.peak
        assert worst <= TOLERANCE, f"{one.name}: {worst:.1e}"
        assert abs(np.abs(ours.asnumpy()).max() - one.peak) <= TOLERANCE * one.peak, one.name
    moved = {
        name for name, value in before.items() if not np.array_equal(value, cell.parameters_dict()[name].asnumpy())
    }
    stages = {name.split(".")[0] for name in moved}
    wanted = ["bn1", "layer1", "layer2", "layer3", "layer4"][variant.freeze_at :]
    assert stages == (set(wanted) if variant.norm == "batch" else set())  # running statistics


@pytest.mark.parametrize("norm", get_args(Norm))
@pytest.mark.parametrize("freeze_at", range(6))
def test_what_freeze_at_freezes(freeze_at: int, norm: Norm) -> None:
    """maskrcnn-benchmark: `for i in range(freeze_at)`: the stem for 0, layer{i} otherwise, requires_grad False."""
    variant = Variant(**{**vars(TINY), "norm": norm, "norm_groups": 4, "freeze_at": freeze_at})
    cell = cell_of(variant)
    for name, parameter in cell.parameters_dict().items():
        stage = int(name[5]) if name.startswith("layer") else 0
        if parameter.ndim == 4:
            assert parameter.requires_grad == (stage >= freeze_at), name
        elif "moving_" in name:
            assert not parameter.requires_grad, name
        else:
            alone = norm == "frozen" or (norm == "affine" and stage == 0)  # the source never trains the stem's norm
            assert parameter.requires_grad == (stage >= freeze_at and not alone), name


def test_weights_update_trains_all_whatever_freeze_at_says() -> None:
    cell = cell_of(Variant(freeze_at=5), weights_update=True)
    assert len(cell.trainable_params()) == 157


def cell_of(variant: Variant, *, weights_update: bool = False) -> ResNetFea:
    lists = variant.layer_nums, variant.in_channels, variant.out_channels
    return ResNetFea(ResidualBlockUsing, *lists, weights_update, variant=variant)
