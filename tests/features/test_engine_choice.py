"""Which engine a run takes for a precision, and what is said where it has none."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from data import tiny
from resnetfea import Weights, read
from resnetfea.errors import ResnetFeaError
from resnetfea.features import engines
from weights.test_variants import carded

POSSIBLE: tuple[Literal["fp32", "auto"], ...] = ("fp32", "auto")  # of the MindSpore engine


@pytest.fixture
def deformable(tmp_path: Path) -> Weights:
    carded(replace(tiny.TINY, deform=("none", "v1", "v1", "v1")), tmp_path / "w")
    return read(tmp_path / "w")


@pytest.fixture
def plain() -> Weights:
    return read(tiny.HERE / "tiny.safetensors")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "auto"])
def test_openvino_computes_in_all(precision: Any, plain: Weights) -> None:
    for engine in ("auto", "openvino"):
        assert engines.chosen(engine, precision, plain, ["c5"]) == "openvino"


def test_mindspore_computes_in_fp32(plain: Weights) -> None:
    for possible in POSSIBLE:  # auto has nothing to choose from
        assert engines.chosen("mindspore", possible, plain, ["c5"]) == "mindspore"
    for precision in ("bf16", "int8"):
        with pytest.raises(ResnetFeaError, match=f"--precision {precision}: the MindSpore engine computes in fp32"):
            engines.chosen("mindspore", precision, plain, ["c5"])


def test_without_an_export_there_is_fp32_only(deformable: Weights, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resnetfea"):
        for precision in ("bf16", "int8"):
            with pytest.raises(ResnetFeaError, match=rf"MindSpore engine runs it, in fp32 .*--precision {precision}$"):
                engines.chosen("auto", precision, deformable, ["c5"])
    assert caplog.messages == []  # the error says it; once is enough
    with caplog.at_level(logging.INFO, "resnetfea"):
        for possible in POSSIBLE:
            assert engines.chosen("auto", possible, deformable, ["c5"]) == "mindspore"
    assert len(caplog.messages) == 2


def test_auto_needs_photos(plain: Weights) -> None:
    with pytest.raises(ValueError, match="measured on photos"):
        engines.made("openvino", plain, precision="auto", photos=None, min_cosine=0.99, batch=1)
