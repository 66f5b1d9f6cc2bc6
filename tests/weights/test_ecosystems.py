"""Every table is one-to-one, and each file is known by its own names."""

from __future__ import annotations

import pytest

from resnetfea.network.variant import Variant
from resnetfea.weights import canonical
from resnetfea.weights.ecosystems import ECOSYSTEMS, Ecosystem, recognise

DEPTHS = {50: 265, 101: 520, 152: 775}  # tensors: five for each convolution and its norm
PAIRS = [(ecosystem, prefix) for ecosystem in ECOSYSTEMS for prefix in ecosystem.prefixes]


@pytest.mark.parametrize(("depth", "count"), DEPTHS.items())
def test_canonical_count(depth: int, count: int) -> None:
    assert len(canonical.shapes(Variant(depth=depth))) == count
    assert canonical.depth_of(canonical.shapes(Variant(depth=depth))) == depth


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("ecosystem", "prefix"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_table_is_one_to_one(ecosystem: Ecosystem, prefix: str, depth: int) -> None:
    table = ecosystem.to_canonical(Variant(depth=depth), prefix)
    assert len(table) == DEPTHS[depth]  # no two canonical names became one
    assert set(table.values()) == canonical.shapes(Variant(depth=depth)).keys()


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("ecosystem", "prefix"), PAIRS, ids=lambda part: getattr(part, "name", part))
def test_recognised_by_its_own_names(ecosystem: Ecosystem, prefix: str, depth: int) -> None:
    names = ecosystem.to_canonical(Variant(depth=depth), prefix)
    assert recognise(names) == (ecosystem, prefix)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("torchvision", "layer1.0.downsample.1.running_mean"),
        ("modelzoo", "layer1.0.down_sample_layer.1.moving_mean"),
        ("resnetfea", "layer1.0.bn_down_sample.moving_mean"),
        ("mindcv", "layer1.0.down_sample.1.moving_mean"),
    ],
)
def test_names_as_their_source_spells_them(name: str, theirs: str) -> None:
    ecosystem = next(one for one in ECOSYSTEMS if one.name == name)
    assert ecosystem.theirs("layer1.0.downsample.1.running_mean") == theirs


def test_majority_finds_the_widths() -> None:
    wanted = Variant(depth=101, stem_channels=4, res2_channels=8, width_per_group=2)
    shapes = canonical.shapes(wanted)
    shapes["conv1.weight"] = (64, 3, 7, 7)  # one wrong shape stands out, it does not decide
    assert canonical.fit(shapes, Variant()) == wanted
