"""One layer of ours beside the reference's, as numbers. Whatever is not finite, or of another shape, differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Row:
    """How far one layer is from the reference's.

    Attributes:
        name: as the trace has it.
        shape: of ours.
        max_abs: max|a-b|; infinite where that is no number.
        max_rel: max|a-b| / max|b|, b the reference.
        cosine: of the two, flattened; nan where that is no number.
        why: what can't be put in these numbers, as a sentence's end; "" where they say it all.
    """

    name: str
    shape: tuple[int, ...]
    max_abs: float
    max_rel: float
    cosine: float
    why: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether this layer agrees; one that is no number never does."""
        return math.isfinite(self.max_rel) and self.max_rel <= tolerance


def row(name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> Row:
    """The layer `name` of both."""
    if ours.shape != theirs.shape:
        return _apart(name, ours, f"is {ours.shape} where the reference is {theirs.shape}")
    for whose, array in (("ours", ours), ("the reference", theirs)):
        if not np.isfinite(array).all():
            return _apart(name, ours, f"holds numbers that are not finite, in {whose}")
    a, b = (array.astype(np.float64).reshape(-1) for array in (ours, theirs))
    worst, peak = float(np.abs(a - b).max(initial=0)), float(np.abs(b).max(initial=0))
    return Row(
        name=name,
        shape=ours.shape,
        max_abs=worst,
        max_rel=worst / peak if peak else math.inf if worst else 0.0,
        cosine=_cosine(a, b),
        why="is zero everywhere in the reference" if worst and not peak else "",
    )


def first_beyond(rows: Sequence[Row], tolerance: float) -> int | None:
    """The place of the first layer that differs."""
    return next((place for place, one in enumerate(rows) if not one.within(tolerance)), None)


def _apart(name: str, ours: NDArray[Any], why: str) -> Row:
    return Row(name=name, shape=ours.shape, max_abs=math.inf, max_rel=math.inf, cosine=math.nan, why=why)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Two layers of zeros are alike."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(not a.any() and not b.any())
