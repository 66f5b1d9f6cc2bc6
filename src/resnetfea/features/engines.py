"""Which engine a run takes, and making it. Each brings a framework that the other does not need: imported when used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Literal, Protocol

from resnetfea.engine.cache import Packed
from resnetfea.engine.export import check_exportable
from resnetfea.engine.precision import Calibration, Precision, Quality
from resnetfea.errors import ResnetFeaError
from resnetfea.features.pipeline import Engine
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Weights

EngineName = Literal["openvino", "mindspore"]


class ReadyEngine(Engine, Protocol):
    """An engine, and in which arithmetic it runs. quality: what int8 loses on the photos it was calibrated on."""

    precision: Precision
    quality: Quality | None

    def prepare(self) -> None:
        """Do what can be done before there are pictures."""

    def packed(self) -> list[Packed]:
        """What makes the same engine in another process, on another machine, beside the weights."""


log = logging.getLogger("resnetfea")


def chosen(
    engine: EngineName | Literal["auto"],
    precision: Precision | Literal["auto"],
    weights: Weights,
    layers: Sequence[str],
) -> EngineName:
    """The compiled engine where what these layers need has an export, and a line where it has none.

    Raises:
        ResnetFeaError: the engine that it must be does not compute so.
    """
    if engine == "auto":
        try:
            check_exportable(weights, pyramid=not set(layers) <= set(LAYERS))
            engine = "openvino"
        except ResnetFeaError as error:
            if precision not in ("fp32", "auto"):
                raise ResnetFeaError(f"{error}, in fp32 and not with --precision {precision}") from error
            log.info("%s", error)
            engine = "mindspore"
    if engine == "mindspore" and precision not in ("fp32", "auto"):
        raise ResnetFeaError(f"--precision {precision}: the MindSpore engine computes in fp32 only")
    return engine


def version(name: EngineName) -> str:
    """Of the installed framework.

    Raises:
        ResnetFeaError: it is not installed.
    """
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise ResnetFeaError(f"--engine {name} needs the package {name}: pip install {name}") from error


def made(
    name: EngineName,
    weights: Weights,
    *,
    precision: Precision | Literal["auto"],
    photos: Calibration | None,
    min_cosine: float,
    batch: int,
    threads: int | None = None,
    **options: Any,
) -> ReadyEngine:
    """The engine, ready to run.

    Args:
        name: what `chosen` gave.
        weights: what resnetfea.read gave.
        precision: "auto" measures which is fastest here.
        photos: that int8 and auto are measured on.
        min_cosine: that these keep.
        batch, threads: of the compiled engine.
        options: that all engines take.

    Raises:
        ResnetFeaError: this CPU does not compute so, or 8 bits lose too much.
    """
    if name == "mindspore":
        from resnetfea.engine.mindspore_engine import MindSporeEngine

        return MindSporeEngine(weights, **options)
    if precision == "auto":
        from resnetfea.engine.fastest import fastest

        if photos is None:
            raise ValueError("precision='auto' is measured on photos")
        return fastest(weights, calibration=photos, min_cosine=min_cosine, batch=batch, threads=threads, **options)
    from resnetfea.engine.compiled import CompiledEngine

    return CompiledEngine(
        weights,
        precision=precision,
        calibration=photos,
        min_cosine=min_cosine,
        batch=batch,
        threads=threads,
        **options,
    )
