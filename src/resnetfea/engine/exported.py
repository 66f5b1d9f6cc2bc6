"""The exported graph x -> maps in the cache: what every compiled network of the same weights is made from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openvino as ov

from resnetfea.engine.export import FORMAT, export
from resnetfea.engine.picture_graph import save
from resnetfea.engine.pool_padding import into_the_pool
from resnetfea.engine.resizing import to_the_laterals
from resnetfea.weights import Weights

KIND, GRAPH = "graphs", "model.xml"  # of entries of the cache

log = logging.getLogger("resnetfea")


def described(weights: Weights, layers: Sequence[str], *, pyramid: bool) -> dict[str, object]:
    """What the graph depends on.

    layers: that it computes; the pyramid's among them where there is one.
    """
    what: dict[str, object] = {
        "weights": weights.identity,
        "variant": repr(weights.variant),
        "format": FORMAT,
        "openvino": ov.__version__,
    }
    return what | ({"pyramid": list(layers)} if pyramid else {})


def maker(weights: Weights, core: Any, *, pyramid: bool) -> Callable[[Path], None]:
    """What fills the folder of an entry."""

    def make(folder: Path) -> None:
        log.info("compiling %s for this machine; once, some seconds", weights.path.name)
        onnx = folder / "model.onnx"
        export(weights, onnx, pyramid=pyramid)
        model = core.read_model(onnx)
        to_the_laterals(model)
        into_the_pool(model)
        model.reshape([-1, 3, -1, -1])
        save(model, folder / GRAPH)
        onnx.unlink()

    return make
