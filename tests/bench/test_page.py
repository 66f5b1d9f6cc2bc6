"""docs/performance.md and the READMEs: every block is made, what was not measured says so, and no time is shown."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.rows import Row, peers, rows

ROOT = Path(__file__).parents[2]
SPREAD = {"median": 2.0, "low": 1.9, "high": 2.1}


@pytest.mark.parametrize("path", page.PAGES)
def test_every_block_of_a_page_is_made(path: Path) -> None:
    text = (ROOT / path).read_text()
    named = re.findall(r"<!-- bench: (\S+) -->", text)
    assert named
    assert set(named) <= page.blocks(measured()).keys()
    again = page.filled(text, measured())
    assert re.findall(r"<!-- bench: (\S+) -->", again) == named
    assert again.count("<!-- end -->") == text.count("<!-- end -->")
    assert page.filled(again, measured()) == again


def test_a_row_says_whether_its_goals_are_reached() -> None:
    found = measured()
    found["rows"][0] |= {"whole": {"median": 1.69, "low": 1.6, "high": 2.2}, "reached": False}
    first, second, *_ = page.goals(found["rows"]).splitlines()[2:]
    assert first == "| web | fp32 | exact | 1.69 (1.60 to 2.20) | 1.7 | no | 3.0e-06 (c2) | 1e-05 | yes |"
    assert second == "| web | bf16 | exact | not offered | 3.2 |  |  |  |  |"


def test_what_was_not_measured_is_left_out_of_the_readmes() -> None:
    english, chinese = page.blocks(measured())["readme"], page.blocks(measured())["readme-zh"]
    assert "bf16" not in english
    assert english.count("\n") == chinese.count("\n")
    assert "| 500x375 | fp32, exact | 2.0 |" in english.splitlines()


def test_no_time_is_shown() -> None:
    shown = "".join(page.blocks(measured()).values())
    assert re.findall(r"\d (?:ms|s|seconds|images/s)\b", shown) == ["3 s"]  # a goal is one
    assert "| `--help` | 0.3 s | 0.50 |" in shown.splitlines()


def measured() -> dict[str, Any]:
    """As session.py gives it: every row is twice as fast as torch, and bf16 is not offered."""
    machine = {
        "cpu": "CPU",
        "flags": ["avx2"],
        "cores": 2,
        "memory": 2**34,
        "system": "Linux",
        "versions": {"openvino": "1"},
        "peers": {"torch": "2"},
        "peak": {name: {"gmacs": 50 * times, "by": "torch"} for name, times in (("fp32", 1), ("bf16", 2), ("int8", 4))},
    }
    ratios = {"whole": SPREAD, "steady": SPREAD}
    return {
        "machine": machine,
        "multiply_adds": 4_087_136_256,
        "rounds": 3,
        "memory": {"64": 500_000_000, "1024": 1_100_000_000},
        "startup": {"--help": {"seconds": 0.15, "goal": 0.3}},
        "counts": {"web": {"images": 256, "distinct": 128, "low": 40, "high": 90}},
        "rows": [row_measured(row) | ratios for row in rows(frozenset())],
        "peers": [asdict(peer) | ratios | {"key": peer.key, "missing": "", "quality": None} for peer in peers()],
    }


def row_measured(row: Row) -> dict[str, Any]:
    quality = {"c2": 3e-6, "c5": 1e-6} if row.cosine is None else {"c2": 0.9999, "c5": 0.9998}
    return {
        **asdict(row),
        "key": row.key,
        "missing": "not offered" if row.precision == "bf16" else "",
        "reached": True,
        "quality": quality,
        "good": True,
        "to_hand": SPREAD,
        "within": 1.04,
        "parts": dict.fromkeys(page.PARTS, 0.001),
        "of_peak": 0.9,
        "of_jpeg": 0.8,
        "limit": 2.5,
    }
