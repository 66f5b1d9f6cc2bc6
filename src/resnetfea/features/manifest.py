"""What a run is made from, as manifest.json has it, and whether two runs are the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resnetfea.engine.precision import Quality
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Weights

FORMAT = 2  # of OUT; raised when an old run can't be resumed by a newer program
OF_QUALITY = ("kept_in_float", "worst_cosine")
RESULTS = ("complete", "images", "failures", "shards", "lists", *OF_QUALITY)  # not what a run is made from
MAY_CHANGE = ("limits",)  # they decide which files fail, and change no row


def facts_of(weights: Weights) -> dict[str, Any]:
    """What computes: file, variant, and how pixels become its input."""
    return {
        "weights": weights.identity,
        "variant": asdict(weights.variant),
        "recipe": asdict(weights.recipe),
        "recipe_of": weights.recipe_of,
    }


def facts_of_quality(quality: Quality | None) -> dict[str, Any]:
    """What int8 lost on the photos that it was calibrated on; nothing for the others."""
    return {} if quality is None else dict(zip(OF_QUALITY, (list(quality.kept), quality.worst), strict=True))


def check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """An interrupted run goes on only as what it was.

    Args:
        folder: OUT.
        before: manifest of the run that began.
        now: of the run that would go on.

    Raises:
        ResnetFeaError: they differ; it names in what.
    """
    then, now = (
        {name: value for name, value in run.items() if name not in (*RESULTS, *MAY_CHANGE)}
        for run in (before, json.loads(json.dumps(now)))  # as the file has it: tuples as lists
    )
    differing = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if differing:
        raise ResnetFeaError(
            f"{folder}: cannot be resumed, these differ from the run that began it: {', '.join(differing)}; "
            "give the same, or use --overwrite to start anew"
        )
