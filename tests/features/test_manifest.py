"""What a run was made from, and what keeps another one from going on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resnetfea.engine.precision import Quality
from resnetfea.errors import ResnetFeaError
from resnetfea.features import manifest

RUN: dict[str, Any] = {
    "precision": "int8",
    "calibration": "ab",
    "min_cosine": 0.99,
    "layers": ["c2", "c5"],
    "recipe": {"mean": (1.0, 2.0, 3.0)},
}
OF_FILE = RUN | {"recipe": {"mean": [1.0, 2.0, 3.0]}, "complete": False, "images": 3}


def test_the_same_run_goes_on() -> None:
    manifest.check_same(Path("out"), OF_FILE, RUN)
    manifest.check_same(Path("out"), OF_FILE | {"kept_in_float": ["conv1"], "worst_cosine": {"c2": 0.999}}, RUN)
    manifest.check_same(Path("out"), OF_FILE | {"limits": {"pixels": 9}}, RUN | {"limits": {"pixels": 10}})


@pytest.mark.parametrize(
    ("name", "value"), [("precision", "bf16"), ("calibration", "cd"), ("calibration", None), ("min_cosine", 0.98)]
)
def test_another_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ResnetFeaError, match=f"out: cannot be resumed, .* began it: {name}; give"):
        manifest.check_same(Path("out"), OF_FILE, RUN | {name: value})


def test_a_run_from_before_there_were_precisions_is_refused() -> None:
    before = {name: value for name, value in OF_FILE.items() if name not in ("min_cosine", "calibration")}
    with pytest.raises(ResnetFeaError, match="calibration, min_cosine"):
        manifest.check_same(Path("out"), before, RUN)


def test_quality_stands_for_int8_only() -> None:
    assert manifest.facts_of_quality(None) == {}
    quality = Quality(photos=4, kept=("conv1", "layer1.0"), worst={"c2": 0.999, "c5": 0.995})
    assert manifest.facts_of_quality(quality) == {
        "kept_in_float": ["conv1", "layer1.0"],
        "worst_cosine": {"c2": 0.999, "c5": 0.995},
    }
