"""The bench's arithmetic: everybody in turn, and medians of the ratios within a round."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import rounds
from benchmarks.counting import multiply_adds
from benchmarks.process import Done
from benchmarks.rounds import Timed
from benchmarks.rows import good, missing, peers, rows
from resnetfea.network.variant import Variant


def test_each_round_begins_with_another_one() -> None:
    order: list[str] = []

    def run(key: str) -> Timed:
        order.append(key)
        return timed(wall=1, rate=1)

    rounds.played({key: partial(run, key) for key in "abc"}, 4)
    assert "".join(order) == "abcbcacababc"


def test_a_ratio_is_to_the_same_rounds_base_and_the_median_counts() -> None:
    """In the second round a neighbour slowed everything down to a fifth."""
    played = [
        {"torch": timed(wall=10, rate=20), "row": timed(wall=5, rate=50)},
        {"torch": timed(wall=50, rate=4), "row": timed(wall=25, rate=10)},
        {"torch": timed(wall=10, rate=20), "row": timed(wall=4, rate=40)},
    ]
    assert rounds.whole(played, "row", "torch") == rounds.Spread(median=2, low=2, high=2.5)
    assert rounds.steady(played, "row", "torch") == rounds.Spread(median=2.5, low=2, high=2.5)


def test_what_the_commands_print_is_understood() -> None:
    said = (
        "out/features-*.parquet: 9 images in 1 file\nthis run: 9 images in 0.2 s, 66.1 a second, after 2.4 s to start\n"
    )
    assert rounds.by_extract(done(said)).rate == 66.1
    assert rounds.by_peer(done('INFO:nncf: talks\n{"images_per_second": 7.5}\n')).rate == 7.5
    with pytest.raises(SystemExit, match="does not say its speed"):
        rounds.by_extract(done("9 images"))


def test_int8s_goal_follows_the_cpu() -> None:
    def goal(*flags: str) -> float | None:
        return {row.key: row.goal for row in rows(frozenset(flags))}["web int8 exact"]

    assert (goal("avx2"), goal("avx2", "avx512_vnni"), goal("avx_vnni")) == (2.4, 5, 5)


def test_bf16_is_left_out_where_the_cpu_has_none() -> None:
    assert missing("bf16", {"avx2"})
    assert not missing("bf16", {"avx512_bf16"})
    assert not missing("int8", {"avx2"})


def test_the_worst_layer_decides() -> None:
    by_key = {row.key: row for row in rows(frozenset())}
    assert good(by_key["web fp32 exact"], {"c2": 1e-6, "c5": 9e-6})
    assert not good(by_key["web fp32 exact"], {"c2": 1.1e-5, "c5": 1e-6})
    assert good(by_key["web int8 exact"], {"c2": 0.9999, "c5": 0.99})
    assert not good(by_key["web int8 exact"], {"c2": 0.9999, "c5": 0.9899})


def test_every_row_has_its_peer() -> None:
    keys = {peer.key for peer in peers()}
    assert {f"{row.photos} {row.by_hand}" for row in rows(frozenset())} <= keys
    assert {"web torch", "phone torch"} <= keys


@pytest.mark.parametrize(
    (
        "variant",
        "published",
    ),  # thousand millions; torchvision's documentation and detectron2's, classifier's 0.002 less
    [
        (Variant(), 4.09),
        (Variant(depth=101), 7.80),
        (Variant(groups=32, width_per_group=4), 4.23),
        (Variant(stride_in="1x1"), 3.86),
    ],
)
def test_the_arithmetic_of_a_picture_is_the_published_one(variant: Variant, published: float) -> None:
    assert multiply_adds(variant) / 1e9 == pytest.approx(published, abs=0.005)


def timed(*, wall: float, rate: float) -> Timed:
    return Timed(wall=wall, cpu=wall, rate=rate)


def done(out: str) -> Done:
    return Done(out=out, wall=1, cpu=1, peak=1)
