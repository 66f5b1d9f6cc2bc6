"""Who runs, and how one of them is made: an engine at a precision, or a peer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

from resnetfea.engine.export import check_exportable
from resnetfea.engine.layers import fixed_size
from resnetfea.engine.precision import PRECISIONS, Calibration
from resnetfea.errors import ResnetFeaError
from resnetfea.features.pipeline import Engine
from resnetfea.weights import Weights

PEER = "onnxruntime"
OFFERED = {  # the precisions of each engine, in the order of the table
    "openvino": PRECISIONS,
    "mindspore": ("fp32",),
    PEER: ("fp32",),
}


class Contender(NamedTuple):
    """One line of the table."""

    engine: str
    precision: str


def contenders(weights: Weights, side: int) -> tuple[list[Contender], dict[Contender, str]]:
    """Those that can run these weights here; and those that can't, with the reason.

    side: of the peer's graph, which is exported for one size of picture.
    """
    able: list[Contender] = []
    unable: dict[Contender, str] = {}
    for engine, precisions in OFFERED.items():
        reason = _why_not(engine, weights, side)
        for precision in precisions:
            if reason:
                unable[Contender(engine, precision)] = reason
            else:
                able.append(Contender(engine, precision))
    return able, unable


def _why_not(engine: str, weights: Weights, side: int) -> str:
    if importlib.util.find_spec(engine) is None:
        return f"{engine} is not installed"
    if engine == "mindspore":
        return ""
    try:
        check_exportable(weights)
    except ResnetFeaError as error:
        return str(error)
    if engine == PEER and fixed_size(weights.recipe) != (side, side):
        return f"its graph takes pictures of {side}x{side}, this recipe makes others"
    return ""


def engine_of(contender: Contender, weights: Weights, graph: Path, photos: Calibration) -> Engine:
    """Ready to run, all layers, average-pooled. Imported here: each brings a framework that the others do not need.

    graph: the exported ONNX, for the peer.
    photos: for int8.
    """
    if contender.engine == "openvino":
        from resnetfea.engine.compiled import CompiledEngine

        precision = next(one for one in PRECISIONS if one == contender.precision)
        return CompiledEngine(weights, precision=precision, calibration=photos)
    if contender.engine == "mindspore":
        from resnetfea.engine.mindspore_engine import MindSporeEngine

        return MindSporeEngine(weights)
    from resnetfea.bench.peer import OnnxRuntime

    return OnnxRuntime(weights, graph)
