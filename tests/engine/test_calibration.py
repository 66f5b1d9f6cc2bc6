"""How int8's search for what stays in floating point goes, and how it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
import pytest

from engine.graphs import bottleneck
from resnetfea.engine import calibration, quantize
from resnetfea.engine.calibration import calibrated, enough, worst
from resnetfea.engine.precision import TooCoarse
from resnetfea.weights.recipe import TORCHVISION

BLOCKS = ["conv1", *(f"layer{stage}.{index}" for stage, count in ((1, 3), (2, 4)) for index in range(count))]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was kept in each round. Nothing is compiled; the cosine is 0.9, and 0.01 more for each block in float."""
    found: list[tuple[str, ...]] = []

    def quantized(graph: ov.Model, ranges: object, *, kept: tuple[str, ...]) -> ov.Model:
        found.append(kept)
        return graph.clone()

    monkeypatch.setattr(quantize, "quantized", quantized)
    monkeypatch.setattr(quantize, "blocks", lambda graph: BLOCKS)
    monkeypatch.setattr(quantize, "ranges", lambda names, outputs: {})
    monkeypatch.setattr(calibration, "run", lambda *_, **__: [[np.ones(3, np.float32)]])
    monkeypatch.setattr(calibration, "worst", lambda *_: {"c2": 1.0, "c5": 0.9 + 0.01 * len(found[-1])})
    return found


def choice(min_cosine: float, float_part: str = "f32") -> Any:
    return calibrated(
        bottleneck(),
        ["c2"],
        TORCHVISION,
        [np.zeros((8, 8, 3), np.uint8)] * 5,
        min_cosine=min_cosine,
        float_part=float_part,
        compiled=lambda graph, exact: None,
    )


def test_it_begins_with_the_least_and_stops_when_it_is_enough(tried: list[tuple[str, ...]]) -> None:
    _, quality = choice(0.0)
    assert tried == [tuple(BLOCKS[: calibration.FIRST])]
    assert (quality.photos, quality.kept, quality.worst) == (5, tried[0], {"c2": 1.0, "c5": 0.92})
    tried.clear()
    _, quality = choice(0.875)  # wants 0.9375: half of the loss
    assert tried == [tuple(BLOCKS[:count]) for count in (2, 3, 4)]
    assert quality.kept == tuple(BLOCKS[:4])


def test_half_of_the_blocks_is_the_most(tried: list[tuple[str, ...]]) -> None:
    choice(0.89)  # 0.945 is what five of eight keep
    assert len(tried[-1]) == len(BLOCKS) // 2 + 1 == 5
    with pytest.raises(TooCoarse, match=r"cosine of 0\.92: .*worst of 5 photos keeps 0\.95000, and 0\.96 would be"):
        choice(0.92)


def test_what_is_no_number_is_not_enough() -> None:
    """min() of 1.0 and nan is 1.0: an overflow in one photo of many was passed over."""
    fine, broken = [np.ones((1, 2), np.float32)], [np.array([[1, np.inf]], np.float32)]
    for wrong in (broken, [np.array([[np.nan, 1]], np.float32)]):
        assert worst(["c5"], [fine, fine, fine], [fine, wrong, fine]) == {"c5": -1.0}
    assert worst(["c5"], [broken], [broken]) == {"c5": -1.0}


def test_the_stem_is_rounded_for_bf16_only(tried: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    rounded: list[ov.Model] = []
    monkeypatch.setattr(calibration, "round_stem", rounded.append)
    choice(0.0, "f32")
    assert rounded == []
    choice(0.0, "bf16")
    assert len(rounded) == 1


def test_half_of_the_loss_is_allowed() -> None:
    assert [enough(one) for one in (1.0, 0.99, 0.5, 0.0)] == pytest.approx([1.0, 0.995, 0.75, 0.5])


def test_the_worst_photo_of_each_layer() -> None:
    def rows(*angles: float) -> list[np.ndarray[Any, Any]]:
        return [np.array([[np.cos(a), np.sin(a)]], np.float32) for a in angles]

    found = worst(["c2", "c5"], [rows(0, 0), rows(0, 0)], [rows(0.1, 0.2), rows(0.3, -0.1)])
    assert found == pytest.approx({"c2": np.cos(0.3), "c5": np.cos(0.2)})
    zero, one = [np.zeros((1, 2), np.float32)], rows(0)
    assert worst(["c5"], [zero], [zero]) == {"c5": 1.0}
    assert worst(["c5"], [zero], [one]) == worst(["c5"], [one], [zero]) == {"c5": 0.0}


def test_equal_rows_have_a_cosine_of_one() -> None:
    """Of lengths in float32 it was 0.9999999 or 1.0000001, too little for what is asked or more than there is."""
    draw = np.random.default_rng(0)
    for size in (3, 17, 1024, 2048):
        row = [draw.normal(0, 1e3, (1, size)).astype(np.float32)]
        assert worst(["c5"], [row], [row])["c5"] == pytest.approx(1, abs=1e-12)
