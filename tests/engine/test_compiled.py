"""The compiled engine in bf16 and int8: every network runs, near fp32, and its numbers depend on nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import samples
from engine.arithmetic import bf16_here, possible
from engine.graphs import kinds
from engine.samples import calibration, cosine, crops, equal, pictures, worst_cosine
from engine.test_pyramid import weights_of
from parity.fpn_cases import NETS
from parity.references import FURTHER, SEED, VARIANTS
from resnetfea import CompiledEngine, Weights, cpu_guard, read
from resnetfea.engine.layers import Maps, Pool, channels, normalised
from resnetfea.engine.precision import NoBf16, Precision, TooCoarse
from resnetfea.network.variant import Variant
from resnetfea.weights import recipe, safetensors_file
from resnetfea.weights.card import Card
from rich_weights import rich_state

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "tiny.safetensors"
EXPORTED = {name: variant for name, variant in (VARIANTS | FURTHER).items() if not variant.deforms}
COARSE: tuple[Precision, ...] = ("bf16", "int8")
LEAST = {"bf16": 0.9999, "int8": 0.999}  # random weights keep more than 0.99998 and 0.9997


@pytest.fixture(scope="module")
def opennsfw() -> Weights:
    return read("opennsfw")


@pytest.fixture(scope="module")
def tiny() -> Weights:
    return read(TINY)


def written(variant: Variant, path: Path) -> Weights:
    """The file that parity.compare writes, so that its export is in the session's cache already."""
    card = Card(variant=variant, recipe=recipe.TORCHVISION, recipe_of="rich", ecosystem="torchvision", sha256="0" * 64)
    with path.open("wb") as stream:
        safetensors_file.write(stream, rich_state(variant, SEED), card.to_json())
    return small(read(path))


def small(weights: Weights) -> Weights:
    """With pictures of a sixth of the pixels; 97 is odd at every halving."""
    return replace(weights, recipe=replace(weights.recipe, resize=112, crop=97))


@pytest.mark.parametrize("case", EXPORTED)
def test_every_network_runs_in_every_precision(case: str, tmp_path: Path) -> None:
    """bf16 is left out where this CPU has none; test_bf16_is_used_here is skipped there, and says so."""
    weights = written(EXPORTED[case], tmp_path / "weights.safetensors")
    some = pictures(weights, samples.PHOTOS[:2])
    exact = CompiledEngine(weights)
    rows = list(exact.features(some))
    assert equal(by_a_later_process(exact, some), rows)
    if case in FURTHER:  # of VARIANTS' operations the default weights' network has all
        assert equal(list(CompiledEngine(weights, batch=2, threads=1).features(some)), rows)
    for precision in here():
        engine = CompiledEngine(weights, precision=precision, calibration=calibration(some), batch=2)
        assert engine.batch == 1  # for more, OpenVINO rounds bf16 elsewhere behind group norms, and all of int8
        found = list(engine.features(some))
        assert not equal(found, rows)  # it is no fp32
        assert equal(by_a_later_process(engine, some), found)
        assert min(worst_cosine(found, rows).values()) > LEAST[precision], precision
    x = np.stack([normalised(one, weights.recipe)[:, :70, :95] for one in some])
    maps, any_size = exact.maps(x), engine.maps(x)  # int8 with group norms had 0.9 there (quantize._end_steps)
    assert {layer: one.shape for layer, one in any_size.items()} == {layer: one.shape for layer, one in maps.items()}
    assert min(cosine(one, maps[layer]) for layer, one in any_size.items()) > 0.998


def by_a_later_process(engine: CompiledEngine, some: samples.Pictures) -> list[Maps]:
    """Rows of what the engine leaves in the cache."""
    engine.prepare()
    options: dict[str, Any] = {"precision": engine.precision, "calibration": engine.calibration, "batch": engine.batch}
    later = CompiledEngine(engine.weights, layers=engine.layers, **options)
    rows = list(later.features(some))
    assert "_graph" not in later.__dict__
    return rows


def here() -> tuple[Precision, ...]:
    return COARSE if bf16_here() else ("int8",)


def test_bf16_is_used_here(tiny: Weights) -> None:
    possible("bf16")
    some = pictures(small(tiny), samples.PHOTOS[:1])
    engine = CompiledEngine(small(tiny), precision="bf16")
    used = {
        one.get_rt_info()["runtimePrecision"].astype(str)
        for one in engine._features_model.get_runtime_model().get_ops()
        if "onvolution" in one.get_rt_info()["layerType"].astype(str)
    }
    assert used == {"bf16"}
    assert len(list(engine.features(some))) == 1


@pytest.mark.parametrize("case", NETS)
def test_every_pyramid_runs_in_every_precision(case: str, tmp_path: Path) -> None:
    weights = small(weights_of(case, tmp_path))
    some, layers = pictures(weights, samples.PHOTOS[:2]), list(channels(weights))
    exact = CompiledEngine(weights, layers=layers)
    rows = list(exact.features(some))
    assert equal(by_a_later_process(exact, some), rows)
    assert equal(list(CompiledEngine(weights, layers=layers, batch=2, threads=1).features(some)), rows)
    for precision in here():
        engine = CompiledEngine(weights, layers=layers, precision=precision, calibration=calibration(some))
        assert min(worst_cosine(list(engine.features(some)), rows).values()) > LEAST[precision]
    assert engine.quality
    assert list(engine.quality.worst) == layers  # all of its maps were looked at
    alone = CompiledEngine(weights, layers=layers[-1:], precision="int8", calibration=calibration(some))
    assert alone.quality == engine.quality


@pytest.mark.parametrize("hint", ["bf16", "f32"])
def test_every_split_between_float_and_8_bits_runs(hint: str, tiny: Weights) -> None:
    """OpenVINO has no kernels for some mixtures, and says so when it compiles them."""
    from resnetfea.engine import quantize
    from resnetfea.engine.picture_graph import from_pixels, pooled

    possible("bf16" if hint == "bf16" else "int8")
    weights = small(tiny)
    (one,) = pictures(weights, samples.PHOTOS[:1])
    engine = CompiledEngine(weights)
    (wanted,) = engine.features([one])
    graph = engine._graph.clone()
    quantize.fold_norms(graph)
    names = [quantize.name_of(conv) for conv in quantize.convolutions(graph)]
    order = quantize.blocks(graph)
    for count in (0, 1, 2, 3, 4, 5, 8, 9, 16, 17):  # around each stage's end, and all of it
        coarse = quantize.quantized(graph, dict.fromkeys(names, (-2.0, 12.0)), kept=order[:count])
        for pool in ("avg", "none") if count == 2 else ("avg",):
            model = engine._sized(from_pixels(pooled(coarse, pool), weights.recipe))
            found = engine._compiled(model, streams=1, asked=hint)([one[None]])
            c5 = found[3][0] if pool == "avg" else found[3][0].mean((1, 2))
            assert cosine(c5, wanted["c5"]) > 0.9, (count, pool)


@pytest.mark.parametrize("precision", COARSE)
def test_real_weights_keep_their_quality_on_photos_not_seen(
    precision: Precision, opennsfw: Weights, tmp_path: Path
) -> None:
    possible(precision)
    seen, unseen = samples.PHOTOS[::2], samples.PHOTOS[1::2]
    known = pictures(opennsfw, seen) + crops(opennsfw, seen, tmp_path)
    new = pictures(opennsfw, unseen) + crops(opennsfw, unseen, tmp_path)
    engine = CompiledEngine(opennsfw, precision=precision, calibration=calibration(known))
    exact = CompiledEngine(opennsfw)
    worst = worst_cosine(list(engine.features(new)), list(exact.features(new)))
    assert list(worst) == ["c2", "c3", "c4", "c5"]
    assert min(worst.values()) >= {"bf16": 0.9995, "int8": 0.99}[precision], worst
    if engine.quality:  # what it says of the photos that it has seen is what their rows show
        assert engine.quality.photos == len(known)
        shown = worst_cosine(list(engine.features(known)), list(exact.features(known)))
        assert engine.quality.worst == pytest.approx(shown, abs=1e-6)
        assert min(shown.values()) >= 0.995


@pytest.mark.parametrize("pool", ["avg", "max", "none"])
@pytest.mark.parametrize("precision", COARSE)
def test_bytes_do_not_depend_on_threads_or_batches(precision: Precision, pool: Pool, opennsfw: Weights) -> None:
    possible(precision)
    some = pictures(opennsfw, samples.PHOTOS[:5])
    options: dict[str, Any] = {"precision": precision, "calibration": calibration(some), "pool": pool}
    wanted = list(CompiledEngine(opennsfw, threads=2, **options).features(some))
    for threads, batch in ((1, 1), (2, 3), (4, 5)):
        engine = CompiledEngine(opennsfw, threads=threads, batch=batch, **options)
        assert equal(list(engine.features(some)), wanted), (threads, batch)
    (alone,) = engine.features(some[4:])
    assert equal([alone], wanted[4:])


@pytest.mark.parametrize("precision", COARSE)
def test_pictures_may_differ_in_size(precision: Precision, tiny: Weights) -> None:
    possible(precision)
    weights = replace(tiny, recipe=replace(tiny.recipe, resize=64, crop=None))
    some = pictures(weights, samples.PHOTOS[:6])
    assert len({one.shape for one in some}) > 1
    options: dict[str, Any] = {"precision": precision, "calibration": calibration(some)}
    found = list(CompiledEngine(weights, **options).features(some))
    assert min(worst_cosine(found, list(CompiledEngine(weights).features(some))).values()) > LEAST[precision]
    for batch in (2, 6):
        assert equal(list(CompiledEngine(weights, batch=batch, **options).features(some)), found)


def test_the_layers_asked_for_do_not_change_the_choice(tiny: Weights) -> None:
    weights = small(tiny)
    some = pictures(weights, samples.PHOTOS[:2])
    options: dict[str, Any] = {"precision": "int8", "calibration": calibration(some), "min_cosine": 0.987}
    c2 = CompiledEngine(weights, layers=("c2",), **options)
    assert c2.quality
    assert list(c2.quality.worst) == ["c2", "c3", "c4", "c5"]

    def pictures_again() -> list[Any]:
        raise AssertionError("measured again")

    options["calibration"] = replace(options["calibration"], pictures=pictures_again)
    every = CompiledEngine(weights, **options)
    assert every.quality == c2.quality
    assert kinds(every._graph).count("FakeQuantize") > kinds(c2._graph).count("FakeQuantize") > 0
    rows, alone = list(every.features(some)), list(c2.features(some))  # a fused kernel may round elsewhere
    assert worst_cosine([{"c2": row["c2"]} for row in rows], alone)["c2"] > 0.9999


def test_other_photos_another_cosine_or_another_cpu_choose_anew(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnetfea.engine import compiled

    weights = small(tiny)
    measured: list[int] = []
    some = pictures(weights, samples.PHOTOS[:2])

    def count() -> list[Any]:
        measured.append(1)
        return some

    def engine(identity: str, min_cosine: float) -> CompiledEngine:
        photos = replace(calibration(some), identity=identity, pictures=count)
        return CompiledEngine(weights, precision="int8", calibration=photos, min_cosine=min_cosine)

    for identity, min_cosine, times in (("a", 0.97, 1), ("a", 0.97, 1), ("b", 0.97, 2), ("b", 0.971, 3)):
        engine(identity, min_cosine)
        assert len(measured) == times
    monkeypatch.setattr(compiled, "telling_flags", lambda: ["avx2", "DEFAULT"])
    engine("b", 0.971)
    assert len(measured) == 4


def test_int8_needs_photos_and_bf16_a_cpu(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnetfea.engine import precision

    with pytest.raises(ValueError, match="int8 needs photos"):
        CompiledEngine(tiny, precision="int8")
    monkeypatch.setattr(precision, "has_bf16", lambda core: False)
    with pytest.raises(NoBf16, match="take fp32 or int8"):
        CompiledEngine(tiny, precision="bf16")


def test_a_cosine_that_8_bits_cannot_keep(tiny: Weights) -> None:
    weights = small(tiny)
    some = pictures(weights, samples.PHOTOS[:1])
    with pytest.raises(TooCoarse, match=r"int8 loses too much for a cosine of 1.* take bf16 or fp32, or ask for less"):
        CompiledEngine(weights, precision="int8", calibration=calibration(some), min_cosine=1)


def test_preparing_compiles(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CompiledEngine(small(tiny))
    engine.prepare()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(engine, "_compiled", refuse)
    assert len(list(engine.features(pictures(engine.weights, samples.PHOTOS[:2])))) == 2


CHILD = """
import json, os, sys
from resnetfea import cpu_guard
from engine import samples
from engine.arithmetic import bf16_here, possible
from resnetfea import CompiledEngine, read
from dataclasses import replace
weights = read(sys.argv[1])
weights = replace(weights, recipe=replace(weights.recipe, resize=112, crop=97))
some = samples.pictures(weights, samples.PHOTOS[:2])
engine = CompiledEngine(weights, precision="int8", calibration=samples.calibration(some), min_cosine=0.96)
first = next(iter(engine.features(some)))
print(json.dumps({"limit": os.environ.get(cpu_guard.LIMIT), "ours": cpu_guard.is_ours(), "c5": first["c5"].tolist(),
                  "kept": engine.quality.kept, "float_part": engine._hint}))
"""


def in_a_process(cache: Path, **environment: str) -> dict[str, Any]:
    outer = {name: value for name, value in os.environ.items() if name not in (cpu_guard.LIMIT, cpu_guard.OVERRULE)}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(TINY)],
        env=outer | {"RESNETFEA_CACHE": str(cache)} | environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_int8_in_a_fresh_process_with_a_warm_cache(tmp_path: Path) -> None:
    """Nothing asks OpenVINO before the graph is compiled then, and the guard's limit must not be in force."""
    cold, warm = in_a_process(tmp_path), in_a_process(tmp_path)
    assert warm == cold
    if cold["ours"]:
        assert cold["limit"] == "AVX2"
    assert len(list((tmp_path / "int8").iterdir())) == 1


def test_int8_under_the_users_limit_has_a_choice_of_its_own(tmp_path: Path) -> None:
    free, limited = in_a_process(tmp_path), in_a_process(tmp_path, **{cpu_guard.LIMIT: "AVX2"})
    assert (limited["limit"], limited["ours"], limited["float_part"]) == ("AVX2", False, "f32")
    assert len(list((tmp_path / "int8").iterdir())) == 2
    assert cosine(np.array(free["c5"], np.float32), np.array(limited["c5"], np.float32)) > 0.999
