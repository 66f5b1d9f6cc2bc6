"""Which epsilon the reference's norms have, by least squares: no list of likely ones could tell 1e-5 from 1.001e-5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resnetfea.parity.change import Change
from resnetfea.parity.ports import Ports
from resnetfea.parity.segments import Segment
from resnetfea.parity.settings import eps

STARTS = (0.0, 1e-5, 1e-4, 1e-3)  # from one of them the slope leads to the minimum
STEPS = 8  # of Newton's; from the nearest start 3 to 5 are needed
LARGEST = 0.1  # beyond which nobody has it
NEARLY = 1e-11  # where a step ends the search
AS_GOOD = 2.0  # so many times the smallest sum of squares: a rounder number that fits as well is the one that was meant
MOST = 8  # segments that are fitted together, those in which it matters most
SAMPLE = 1 << 16  # numbers of one layer that are looked at
Vector = NDArray[np.float64]


def fit(ports: Ports, segments: Sequence[Segment], changes: Sequence[Change] = ()) -> float | None:
    """The best epsilon under these changes; None where another one explains less than a half of what differs."""
    now = _now(ports, changes)
    rest = [change for change in changes if change.setting != "bn_eps"]
    found = {value: _residual(ports, segments, rest, value) for value in sorted({*STARTS, now})}
    residuals = {value: residual for value, residual in found.items() if residual is not None}
    if now not in residuals:
        return None
    before = _squares(residuals[now])
    value = min(residuals, key=lambda one: _squares(residuals[one]))
    residual = residuals[value]
    for step in range(STEPS):
        slope = _slope(ports, segments, rest, value, residual)
        if slope is None or not slope.any():
            break
        along, steepness = float(residual @ slope), float(slope @ slope)
        if step == 0 and _squares(residual) - along * along / steepness > before / 2:
            return None  # nothing to be won
        following = min(max(value - along / steepness, 0.0), LARGEST)
        moved = _residual(ports, segments, rest, following)
        if moved is None or abs(following - value) < NEARLY or _squares(moved) >= _squares(residual):
            break
        value, residual = following, moved
    least = _squares(residual)
    return _rounded(ports, segments, rest, value, least) if least < before / 2 else None


def suspected(ports: Ports, segments: Sequence[Segment], changes: Sequence[Change] = ()) -> list[Segment]:
    """The segments that tell most of the epsilon, if their errors look like another one's; else none.

    Of a network that computes with ours, errors are noise, and no slope explains a half of it.
    """
    now = _now(ports, changes)
    rest = [change for change in changes if change.setting != "bn_eps"]
    told: list[tuple[float, float, float]] = []  # the slope's square, slope times residual, the residual's square
    by_slope: list[tuple[float, Segment]] = []
    for segment in segments:
        residual = _residual(ports, [segment], rest, now)
        slope = None if residual is None else _slope(ports, [segment], rest, now, residual)
        if residual is not None and slope is not None and slope.any():
            told.append((float(slope @ slope), float(residual @ slope), _squares(residual)))
            by_slope.append((told[-1][0], segment))
    steepest = sorted(range(len(told)), key=lambda place: -by_slope[place][0])[:MOST]
    steepness, along, squares = (sum(told[place][which] for place in steepest) for which in range(3))
    if not squares or along**2 <= steepness * squares / 2:
        return []
    return [by_slope[place][1] for place in steepest]


def _squares(residual: Vector) -> float:
    return float(residual @ residual)


def _now(ports: Ports, changes: Sequence[Change]) -> float:
    return next((change.found for change in reversed(changes) if change.setting == "bn_eps"), ports.variant.bn_eps)


def _slope(
    ports: Ports, segments: Sequence[Segment], changes: Sequence[Change], value: float, residual: Vector
) -> Vector | None:
    apart = max(0.05 * value, 1e-6)  # far enough for float32
    moved = _residual(ports, segments, changes, value + apart)
    return None if moved is None else (moved - residual) / apart


def _residual(ports: Ports, segments: Sequence[Segment], changes: Sequence[Change], value: float) -> Vector | None:
    """Ours less theirs in units of the layer's largest value, a sample of each layer; None where sizes part."""
    found: list[Vector] = []
    for segment in segments:
        ours = ports.outputs(segment, changes, [eps(ports, value)])
        for name, theirs in segment.observed.items():
            if name not in ours or ours[name].shape != theirs.shape:
                return None
            every = -(-theirs.size // SAMPLE)
            difference = (ours[name].astype(np.float64) - theirs).reshape(-1)[::every]
            found.append(difference / (float(np.abs(theirs).max()) or 1.0))
    residual = np.concatenate(found)
    return residual if np.isfinite(residual).all() else None


def _rounded(ports: Ports, segments: Sequence[Segment], changes: Sequence[Change], value: float, least: float) -> float:
    """With as few digits as fit as well."""
    for candidate in (0.0, *(float(f"{value:.{digits}e}") for digits in range(7))):
        residual = _residual(ports, segments, changes, candidate)
        if residual is not None and _squares(residual) <= AS_GOOD * least:
            return candidate
    return value
