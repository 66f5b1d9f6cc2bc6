"""docs/why-numbers-differ: the tables are what was measured, in both languages, and nothing was typed by hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from differences import changes, page
from differences.trap import NETWORKS
from differences.traps import TRAPS
from resnetfea.network.variant import Variant
from resnetfea.weights import Recipe

MARKS = re.compile(r"<!-- differences: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)


@pytest.mark.parametrize("language", page.PAGES)
def test_each_table_is_what_the_script_makes_of_the_measured_numbers(language: page.Language) -> None:
    shown = MARKS.findall(page.PAGES[language].read_text())
    assert sorted(name for name, _ in shown) == sorted(name for name, _ in page.blocks(language))
    assert dict(shown) == dict(page.blocks(language))


def test_both_pages_show_the_same() -> None:
    english, chinese = (path.read_text() for path in page.PAGES.values())
    for pattern in (
        r"<!-- differences: (\S+)",
        r'<a id="(\w+)">',
        r"https?://[^)\s]+",
        r"(?<!`)`([^`\n]+)`(?!`)",  # names of settings, layers and commands
    ):
        assert sorted(set(re.findall(pattern, english))) == sorted(set(re.findall(pattern, chinese)))
    for one, other in zip(MARKS.findall(english), MARKS.findall(chinese), strict=True):
        assert len(one[1].splitlines()) == len(other[1].splitlines())
        assert _numbers(one[1]) == _numbers(other[1])


def test_every_trap_was_measured_and_names_a_setting() -> None:
    rows = json.loads(page.NUMBERS.read_text())["rows"]
    assert list(rows) == [trap.key for trap in TRAPS]
    assert {trap.setting for trap in TRAPS} == set(page.SECTION_OF)
    named = {name for trap in TRAPS for name in trap.recipe}
    assert named <= set(Recipe.__dataclass_fields__)
    assert {name for trap in TRAPS for name in trap.variant} <= set(Variant.__dataclass_fields__)
    assert {trap.network for trap in TRAPS} == set(NETWORKS)


@pytest.mark.parametrize("size", [(40, 61), (97, 31)])
def test_bilinear_is_pillows_where_it_enlarges(size: tuple[int, int]) -> None:
    """There Pillow's filter is no wider than two pixels. It rounds after each axis: a grey level of difference."""
    pixels = np.random.default_rng(0).integers(0, 256, (31, 27, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(changes.bilinear(pixels, size).astype(int) - theirs).max() <= 1


def test_bilinear_looks_at_two_pixels_where_it_shrinks() -> None:
    pixels = np.tile(np.array([0, 90, 0, 0, 0, 0], np.uint8)[:, None, None], (1, 1, 3))
    assert changes.bilinear(pixels, (2, 1))[:, 0, 0].tolist() == [90, 0]  # centres 1 and 4; an average would be 30
    assert changes.bilinear(pixels, (2, 1), origin=0.0)[:, 0, 0].tolist() == [0, 0]  # corners 0 and 3


def test_bfloat16_rounds_to_even() -> None:
    """1.00390625 lies between bfloat16's 1 and 1.0078125: the even one is 1; a little more goes up."""
    x = np.array([1.00390625, 1.0039064, 1.01171875, -3.0], np.float32)
    assert changes.bfloat16(x).tolist() == [1.0, 1.0078125, 1.015625, -3.0]


def _numbers(table: str) -> list[str]:
    """The cells that hold a number, with the photo behind it if there is one; not those of words."""
    return [cell for cell in re.split(r" *\| *", table) if re.fullmatch(r"[\d.e-]*\d( \([\w-]+\))?", cell)]
