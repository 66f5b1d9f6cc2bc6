"""--precision auto: the fastest arithmetic that is good enough, measured on this machine and these photos."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from resnetfea.engine import cache
from resnetfea.engine.calibration import enough, worst
from resnetfea.engine.compiled import CompiledEngine
from resnetfea.engine.export import FORMAT
from resnetfea.engine.layers import chosen, computed
from resnetfea.engine.picture_graph import Outputs
from resnetfea.engine.precision import (
    INT8_FORMAT,
    MIN_COSINE,
    PRECISIONS,
    Calibration,
    NoBf16,
    Precision,
    TooCoarse,
    telling_flags,
)
from resnetfea.weights import Weights

CHOICE = 1  # raised when the same measurements would give another choice
ROUNDS = 3  # the first warms up
FILE = "choice.json"

log = logging.getLogger("resnetfea")


def fastest(
    weights: Weights, *, calibration: Calibration, min_cosine: float = MIN_COSINE, **options: Any
) -> CompiledEngine:
    """An engine of the precision that takes these photos in the least time, of those that keep the cosine on them.

    Measured once for each weights file, photos and kind of CPU; the choice stays in the cache.

    Args:
        weights: what resnetfea.read gave.
        calibration: photos of the kind that will come.
        min_cosine: of each photo's averaged c2..c5, and of a pyramid's maps where one is asked for, with that of fp32.
        options: further ones of CompiledEngine.
    """
    layers = computed(chosen(options.get("layers"), weights), weights)
    what = {
        "weights": weights.identity,
        "variant": repr(weights.variant),
        "recipe": repr(weights.recipe),
        "layers": layers,
        "photos": calibration.identity,
        "min_cosine": min_cosine,
        "cpu": telling_flags(),
        "openvino": ov.__version__,
        "format": (FORMAT, INT8_FORMAT, CHOICE),
    }

    def make(folder: Path) -> None:
        found = _measured(weights, layers, calibration, min_cosine, options.get("threads"))
        (folder / FILE).write_text(json.dumps(found))

    choice = json.loads((cache.entry("precision", what, make) / FILE).read_text())
    log.info("--precision auto takes %s: %s", choice["precision"], choice["why"])
    return CompiledEngine(
        weights, precision=choice["precision"], calibration=calibration, min_cosine=min_cosine, **options
    )


def _measured(
    weights: Weights, layers: Sequence[str], calibration: Calibration, min_cosine: float, threads: int | None
) -> dict[str, str | Precision]:
    pictures = calibration.pictures()
    engines: dict[Precision, CompiledEngine] = {}
    notes: list[str] = []
    for precision in PRECISIONS:
        try:
            engines[precision] = CompiledEngine(
                weights,
                layers=layers,
                precision=precision,
                calibration=Calibration(calibration.identity, lambda: pictures),
                min_cosine=min_cosine,
                threads=threads,
            )
        except TooCoarse:
            notes.append(f"{precision} loses too much")
        except NoBf16:
            notes.append(f"{precision} is not in this CPU")
    seconds: dict[Precision, list[float]] = {precision: [] for precision in engines}
    found: dict[Precision, list[Outputs]] = {}
    for _ in range(ROUNDS):
        for precision, engine in engines.items():  # in turn, so that what else is under way meets all alike
            began = time.process_time()  # of all threads: what others do on this machine does not count
            found[precision] = [[maps[layer][None] for layer in engine.layers] for maps in engine.features(pictures)]
            seconds[precision].append(time.process_time() - began)
    good: dict[Precision, float] = {}
    for precision, engine in engines.items():
        cosine = min(worst(engine.layers, found["fp32"], found[precision]).values())
        took = f"{precision} {min(seconds[precision]) / len(pictures) * 1e3:.1f} ms of a core, cosine {cosine:.5f}"
        if precision == "fp32" or cosine >= enough(min_cosine):  # of itself, it may be less than 1 by rounding
            good[precision] = min(seconds[precision])
            notes.append(took)
        else:
            notes.append(f"{took}, where {enough(min_cosine):.6g} is on the safe side")
    return {"precision": min(good, key=lambda one: good[one]), "why": "; ".join(notes)}
