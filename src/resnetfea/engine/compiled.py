"""CompiledEngine: the exported cell, compiled by OpenVINO for this CPU."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from resnetfea import cpu_guard
from resnetfea.engine import cache, compiled_cache, cores, exported
from resnetfea.engine.calibration import calibrated, coarse
from resnetfea.engine.export import check_exportable
from resnetfea.engine.layers import Maps, Pool, batches, chosen, computed, fixed_size, images
from resnetfea.engine.picture_graph import from_pixels, pooled, run
from resnetfea.engine.precision import (
    INT8_FORMAT,
    MIN_COSINE,
    Calibration,
    Precision,
    Quality,
    check_possible,
    hint,
    telling_flags,
)
from resnetfea.engine.quantize import Ranges, fold_norms
from resnetfea.engine.stem_rounding import round_stem
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Weights, fpn_names

CALIBRATED = "int8.json"  # of an entry of the cache: no graph, only what makes it from one

log = logging.getLogger("resnetfea")


class CompiledEngine:
    """Runs a ResNet's export on the CPU.

    Every request runs on one thread, and as many are under way as there are threads: the numbers of a picture do not
    depend on what else is running, nor on how many cores there are.

    Args:
        weights: what resnetfea.read gave.
        layers: which of c2..c5, and of p2.. where the weights have a pyramid; None for all of c2..c5 that they give.
            Only what they need is computed.
        pool: what `features` makes of a map: its "avg" or "max", or "none": the map itself.
        precision: "fp32" equals the cell to 1e-5; "bf16" and "int8" are faster and coarser. int8 leaves as much of the
            network in floating point as it takes.
        calibration: photos of the kind that will come; int8 needs them.
        min_cosine: int8 keeps this cosine of each photo's averaged map with that of fp32, on photos that it has not
            seen too, if they are of that kind.
        batch: pictures in one request of `features`. More than 1 gains nothing where requests run side by side. bf16,
            int8 and networks with group norms take 1 always: for an open number OpenVINO's kernels round elsewhere.
        threads: how many at most; None for all cores that this process may use.

    Raises:
        ResnetFeaError: this network has no export; MindSporeEngine runs it. Or this CPU has no bf16, or 8 bits are too
            coarse.

    `quality` says what int8 loses on the photos; None of others.
    """

    quality: Quality | None = None

    def __init__(
        self,
        weights: Weights,
        *,
        layers: Sequence[str] | None = None,
        pool: Pool = "avg",
        precision: Precision = "fp32",
        calibration: Calibration | None = None,
        min_cosine: float = MIN_COSINE,
        batch: int = 1,
        threads: int | None = None,
    ) -> None:
        self.weights, self.layers, self.pool = weights, chosen(layers, weights), pool
        self.batch = 1
        self.precision: Precision = precision
        self.calibration, self.min_cosine = calibration, min_cosine
        self._computed = computed(self.layers, weights)
        self._pyramid = len(self._computed) > len(weights.variant.out)
        check_exportable(weights, pyramid=self._pyramid)
        self.threads = threads or cores.usable()
        group_norms = weights.variant.norm == "group" or (self._pyramid and fpn_names.norm_of(weights.fpn) == "group")
        if precision == "fp32" and not group_norms:
            self.batch = batch
        with cpu_guard.lifted():  # OpenVINO's oneDNN reads the limit when it is first asked something, for good
            self._core = ov.Core()
            check_possible(precision, self._core)
            self._hint = hint(precision, self._core)
            self._exported = exported.described(weights, self._computed, pyramid=self._pyramid)
            self._make = exported.maker(weights, self._core, pyramid=self._pyramid)
            self._ranges = self._calibrated() if precision == "int8" else {}
            self._compiling = compiled_cache.described(
                self._exported,
                self._core,
                recipe=repr(weights.recipe),
                layers=self.layers,
                pool=pool,
                ranges=self._ranges,
                kept=self.quality.kept if self.quality else (),
                batch=self.batch,
                settings=self._settings(self.threads),
            )
            self._imported = compiled_cache.imported(self._core, self._compiling, self._settings(self.threads))
        self._is_kept = self._imported is not None
        if not self._is_kept:
            _ = self._graph  # what can fail does so here

    def prepare(self) -> None:
        """Compile now what `features` would compile when it is first called: half a second, and leave it in the cache.

        Where an earlier process did so there is nothing left to do.
        """
        if not self._is_kept:
            compiled_cache.keep(self._features_model, self._compiling)
            self._is_kept = True

    def packed(self) -> list[cache.Packed]:
        """What makes this engine on another machine, without MindSpore and without photos."""
        entries = [cache.pack(exported.KIND, self._exported, self._make)]
        return entries + ([cache.pack("int8", self._choice, _lost)] if self.precision == "int8" else [])

    def maps(self, x: NDArray[np.float32]) -> Maps:
        """The layers' maps of a normalised batch x (N, 3, H, W), any N, H, W."""
        results = self._maps_model.create_infer_request().infer([images(x)])  # one for each call: threads may share us
        return {layer: np.array(results[index]) for index, layer in enumerate(self.layers)}

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The layers, each (C,), or (C, H, W) where maps stay whole, of RGB pictures (H, W, 3) of the recipe's size.

        In their order. It takes a few pictures more from the iterable than it has given back.
        """
        for outputs in run(self._features_model, batches(pictures, self.batch), ahead=self.threads + 1):
            yield from (dict(zip(self.layers, rows, strict=True)) for rows in zip(*outputs, strict=True))

    @property
    def _choice(self) -> dict[str, object]:
        """What the ranges of int8 in the cache depend on."""
        return {
            **self._exported,
            "recipe": repr(self.weights.recipe),
            "calibration": self.calibration.identity if self.calibration else None,
            "min_cosine": self.min_cosine,
            "cpu": telling_flags(),
            "int8": INT8_FORMAT,
        }

    def _read(self) -> ov.Model:
        """That graph, from the cache or freshly exported."""
        with cpu_guard.lifted():
            return self._core.read_model(cache.entry(exported.KIND, self._exported, self._make) / exported.GRAPH)

    @cached_property
    def _graph(self) -> ov.Model:
        """The graph x -> the wanted layers, in the precision's arithmetic."""
        model = self._read()
        if self.precision != "fp32":
            fold_norms(model)
        if self.precision == "bf16":
            round_stem(model)
        if self.quality:
            model = coarse(model, self._ranges, self.quality.kept, self._hint)
        ends = dict(zip(self._computed, (one.get_node().input_value(0) for one in model.outputs), strict=True))
        return ov.Model([ends[layer] for layer in self.layers], model.get_parameters())

    def _calibrated(self) -> Ranges:
        """The ranges that int8 rounds in, from the cache or freshly measured; and what it loses, in `quality`."""
        photos = self.calibration
        if photos is None:
            raise ValueError("int8 needs photos to be calibrated on: calibration=Calibration(...)")

        def make(folder: Path) -> None:
            log.info("choosing what of %s runs in int8; once for these photos, some seconds", self.weights.path.name)
            model = self._read()
            fold_norms(model)
            ranges, quality = calibrated(
                model,
                self._computed,
                self.weights.recipe,
                photos.pictures(),
                min_cosine=self.min_cosine,
                float_part=self._hint,
                compiled=lambda graph, exact: self._compiled(
                    self._sized(graph), streams=self.threads, asked="f32" if exact else self._hint
                ),
            )
            (folder / CALIBRATED).write_text(json.dumps({"ranges": ranges, "quality": asdict(quality)}))

        folder = cache.entry("int8", self._choice, make)
        found = json.loads((folder / CALIBRATED).read_text())
        quality = found["quality"]
        self.quality = Quality(**{**quality, "kept": tuple(quality["kept"])})
        ranges: Ranges = found["ranges"]
        return ranges

    @cached_property
    def _maps_model(self) -> Any:
        return self._compiled(self._graph, streams=1)

    @cached_property
    def _features_model(self) -> Any:
        """Pixels in, pooled layers or maps out: normalisation and pooling are part of the graph."""
        if self._imported is not None:
            return self._imported
        model = from_pixels(pooled(self._graph, self.pool), self.weights.recipe)
        return self._compiled(self._sized(model), streams=self.threads)

    def _sized(self, model: ov.Model) -> ov.Model:
        """The graph of pixels, told what it can know of their shape."""
        height, width = fixed_size(self.weights.recipe) or (-1, -1)
        model.reshape([1 if self.batch == 1 else -1, height, width, 3])
        return model

    def _compiled(self, model: ov.Model, *, streams: int, asked: str | None = None) -> Any:
        with cpu_guard.lifted():
            return self._core.compile_model(model, "CPU", self._settings(streams, asked))

    def _settings(self, streams: int, asked: str | None = None) -> dict[str, object]:
        return {
            "INFERENCE_PRECISION_HINT": asked or self._hint,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": self.threads,
        }


def _lost(folder: Path) -> None:
    raise ResnetFeaError(f"{folder}: what int8 was measured to be has vanished from the cache; start the run again")
