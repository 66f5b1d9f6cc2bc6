"""Runs an ONNX of the original: by ONNX Runtime where it is installed, which is no part of the product, or OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea import cpu_guard
from resnetfea.errors import ResnetFeaError, printable

Arrays = dict[str, NDArray[Any]]
Input = Callable[[tuple[int, int] | None], NDArray[np.float32]]  # of (height, width), or of any size


def outputs(path: Path, x: Input) -> Arrays:
    """The graph's outputs by name, and its `input`.

    Raises:
        ResnetFeaError: it can't be run, or takes something else than one float32 picture (N, 3, H, W).
    """
    run = _by_onnxruntime if find_spec("onnxruntime") else _by_openvino
    try:
        return run(path, x)
    except ResnetFeaError as error:
        raise ResnetFeaError(f"{path}: {error}") from error
    except Exception as error:  # ONNX Runtime raises classes of its own, which derive from nothing else
        first = str(error).strip().split("\n")[0]
        raise ResnetFeaError(f"{path}: cannot be run as ONNX: {printable(first)}") from error


def _by_onnxruntime(path: Path, x: Input) -> Arrays:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the graph as it stands
    options.log_severity_level = 4  # what is wrong stands in the exception
    with cpu_guard.lifted():
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    given = x(_size([one.shape for one in inputs]))
    names = [one.name for one in session.get_outputs()]
    return {"input": given, **dict(zip(names, session.run(names, {inputs[0].name: given}), strict=True))}


def _by_openvino(path: Path, x: Input) -> Arrays:
    import openvino as ov

    with cpu_guard.lifted():
        core = ov.Core()
        model = core.read_model(path)
        shapes = [[None if one.is_dynamic else one.get_length() for one in port.partial_shape] for port in model.inputs]
        given = x(_size(shapes))
        results = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([given])
    return {"input": given, **{port.get_any_name(): np.array(results[port]) for port in results}}


def _size(shapes: Sequence[Sequence[Any]]) -> tuple[int, int] | None:
    """(height, width) of the one input; None where the graph leaves it open."""
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3:
        raise ResnetFeaError(f"it takes {', '.join(map(str, shapes)) or 'nothing'}; one input (1, 3, H, W) is wanted")
    batch, _, height, width = (size if isinstance(size, int) else None for size in shapes[0])
    if batch not in (1, None):
        raise ResnetFeaError(f"it takes {batch} pictures at once; export it for one")
    return (height, width) if height and width else None
