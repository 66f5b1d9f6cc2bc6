"""The source document's API, to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn
from safetensors.numpy import save_file

from data import tiny
from resnetfea import ResidualBlockUsing, ResNetFea, Variant, read, resnet50, weight_init_ones
from resnetfea.network.resnet import _BatchNorm2dInit, _conv
from resnetfea.weights.ecosystems import ECOSYSTEMS

pytestmark = pytest.mark.slow

LISTS = ([3, 4, 6, 3], [64, 256, 512, 1024], [256, 512, 1024, 2048])
MASKRCNN = next(one for one in ECOSYSTEMS if one.name == "maskrcnn-benchmark")
TINY = ([1, 1, 1, 1], [4, 8, 16, 32], [8, 16, 32, 64])


@pytest.fixture(scope="module")
def full() -> ResNetFea:
    return ResNetFea(ResidualBlockUsing, *LISTS)


def names(parameters: Iterator[Parameter] | list[Parameter]) -> set[str]:
    return {parameter.name for parameter in parameters}


def size(parameters: list[Parameter]) -> int:
    return sum(parameter.size for parameter in parameters)


def test_weight_init_ones_is_constant() -> None:
    weight = weight_init_ones((2, 3, 1, 1))
    assert weight.dtype == ms.float32
    assert weight.shape == (2, 3, 1, 1)
    assert np.all(weight.asnumpy() == np.float32(0.01))


def test_conv_as_the_source_makes_it() -> None:
    conv = _conv(3, 8, kernel_size=7, stride=2, padding=3)
    assert not conv.has_bias
    assert conv(Tensor(np.ones((1, 3, 9, 9), np.float32))).shape == (1, 8, 5, 5)
    assert np.all(conv.weight.asnumpy() == np.float32(0.01))
    assert _conv(3, 8, 3, 2, pad_mode="same")(Tensor(np.ones((1, 3, 9, 9), np.float32))).shape == (1, 8, 5, 5)


def test_norm_defaults_and_affine() -> None:
    norm = _BatchNorm2dInit(4)
    assert (norm.eps, norm.use_batch_statistics) == (1e-5, True)
    frozen = _BatchNorm2dInit(4, affine=False, use_batch_statistics=False)
    assert not any(parameter.requires_grad for parameter in frozen.get_parameters())


def test_265_tensors_of_which_126_train(full: ResNetFea) -> None:
    assert len(full.parameters_dict()) == 265
    assert size(list(full.get_parameters())) == 23_561_152
    assert len(full.trainable_params()) == 126
    assert size(full.trainable_params()) == 23_282_688
    assert {name.split(".")[0] for name in names(full.trainable_params())} == {"layer2", "layer3", "layer4"}


def test_weights_update_trains_157_and_never_the_stems_norm() -> None:
    cell = ResNetFea(ResidualBlockUsing, *LISTS, True)
    trained = names(cell.trainable_params())
    assert len(trained) == 157
    assert size(cell.trainable_params()) == 23_507_904
    assert "conv1.weight" in trained
    assert not any(name.startswith("bn1.") for name in trained)


def test_names_are_the_sources(full: ResNetFea) -> None:
    assert {"conv1.weight", "bn1.gamma", "bn1.moving_variance", "layer1.0.conv_down_sample.weight"} <= names(
        full.get_parameters()
    )
    assert {"layer4.2.bn3.beta", "layer3.5.conv2.weight", "layer2.0.bn_down_sample.moving_mean"} <= names(
        full.get_parameters()
    )


@pytest.mark.parametrize("position", [0, 1, 2])
def test_lists_of_another_length_are_refused(position: int) -> None:
    lists = [list(some) for some in LISTS]
    lists[position].append(1)
    with pytest.raises(ValueError, match="4"):
        ResNetFea(ResidualBlockUsing, lists[0], lists[1], lists[2])


def test_rank_3_is_refused(full: ResNetFea) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (MindSpore's own words)
        full(Tensor(np.ones((3, 64, 64), np.float32)))


def test_four_channels_are_refused(full: ResNetFea) -> None:
    with pytest.raises(RuntimeError):
        full(Tensor(np.ones((1, 4, 64, 64), np.float32)))


@pytest.mark.parametrize(
    ("side", "sides"), [(64, (16, 8, 4, 2)), (100, (25, 13, 7, 4)), (101, (26, 13, 7, 4)), (7, (2, 1, 1, 1))]
)
def test_sizes(full: ResNetFea, side: int, sides: tuple[int, ...]) -> None:
    maps = full(Tensor(np.zeros((1, 3, side, side), np.float32)))
    assert [one.shape for one in maps] == [(1, c, n, n) for c, n in zip((256, 512, 1024, 2048), sides, strict=True)]


def test_float64_comes_out_as_float32(full: ResNetFea) -> None:
    assert {one.dtype for one in full(Tensor(np.zeros((1, 3, 32, 32))))} == {ms.float32}


def test_constant_weights_explode_as_the_sources_do(full: ResNetFea) -> None:
    maps = full(Tensor(np.random.default_rng(0).random((1, 3, 64, 64), np.float32)))
    assert maps[3].asnumpy().max() > 1e30


def test_stored_statistics_are_used_whatever_the_mode() -> None:
    cell = resnet50()
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32))
    before = [one.asnumpy() for one in cell(x)]
    cell.set_train(True)
    assert all(np.array_equal(a, b.asnumpy()) for a, b in zip(before, cell(x), strict=True))
    assert np.all(cell.parameters_dict()["layer2.0.bn1.moving_mean"].asnumpy() == 0)


@pytest.mark.parametrize("weights_update", [False, True])
def test_gradients_stop_at_c2_while_it_is_frozen(weights_update: bool) -> None:
    cell = ResNetFea(ResidualBlockUsing, *TINY, weights_update)
    cell.set_train(True)
    x = Tensor(np.random.default_rng(0).random((1, 3, 32, 32), np.float32))

    def loss_of(layer: int) -> tuple[Tensor, ...]:
        function = ms.value_and_grad(lambda image: cell(image)[layer].sum(), 0, cell.trainable_params())
        _, (to_image, to_weights) = function(x)
        return (to_image, *to_weights)

    to_image, *to_weights = loss_of(3)
    assert bool(np.any(to_image.asnumpy())) is weights_update
    assert all(np.any(one.asnumpy()) for one, p in zip(to_weights, cell.trainable_params(), strict=True) if p.ndim == 4)


def test_resnet50_without_weights_stays_in_range_and_follows_its_seed() -> None:
    x = Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
    first, again, other = resnet50(), resnet50(), resnet50(seed=1)
    c5 = first(x)[3].asnumpy()
    assert np.isfinite(c5).all()
    assert 0 < np.abs(c5).max() < 1e4
    assert np.array_equal(c5, again(x)[3].asnumpy())
    assert not np.array_equal(c5, other(x)[3].asnumpy())


def test_resnet50_refuses_weights_of_another_width_by_name() -> None:
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight"):
        resnet50("opennsfw", variant=Variant())


def test_dead_channels_without_eps(tmp_path: Path) -> None:
    """A convolution and its norm's deviation smaller by 2^-56 are the same function, as long as nothing is added."""
    truth, shrunk = tiny.weights(), np.float32(2.0**-56)
    small = {
        "layer2.1.conv2.weight": shrunk,
        "layer2.1.bn2.running_mean": shrunk,
        "layer2.1.bn2.running_var": shrunk**2,
    }
    maps = []
    for factors in ({}, small):
        state = {name: array * factors.get(name, np.float32(1)) for name, array in truth.items()}
        file = {f"backbone.body.{MASKRCNN.theirs(name)}": array for name, array in state.items()}
        save_file(file, tmp_path / "w")
        weights = read(tmp_path / "w")
        assert weights.variant.bn_eps == 0
        x = Tensor(np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32))
        maps.append([one.asnumpy() for one in resnet50(weights)(x)])
    assert 0 < weights.tensors["layer2.1.bn2.running_var"].min() < 1e-32
    for one, other in zip(*maps, strict=True):
        assert np.abs(one - other).max() <= 1e-6 * np.abs(one).max()


def test_a_module_of_our_own_is_a_cell() -> None:
    assert issubclass(ResNetFea, nn.Cell)
    assert issubclass(ResidualBlockUsing, nn.Cell)
