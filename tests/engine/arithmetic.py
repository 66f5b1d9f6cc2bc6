"""Which arithmetic this CPU has, for tests that need it."""

from __future__ import annotations

import openvino as ov
import pytest

from resnetfea import cpu_guard
from resnetfea.engine.precision import has_bf16


def bf16_here() -> bool:
    with cpu_guard.lifted():
        return has_bf16(ov.Core())


def possible(precision: str) -> None:
    """Skips the test, and says why, where this CPU can't compute so."""
    if precision == "bf16" and not bf16_here():
        pytest.skip("this CPU has no bf16 arithmetic, or a limit forbids it")
