"""What is kept of compiling: the same bits as compiled anew, and never another network's."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import samples
from engine.arithmetic import possible
from engine.samples import calibration, equal, pictures
from engine.test_compiled import TINY, small
from resnetfea import CompiledEngine, Weights, read
from resnetfea.cache_folder import folder
from resnetfea.engine import cache, compiled_cache
from resnetfea.engine.layers import Maps

BLOB = compiled_cache.BLOB


class Compiled:
    """Stands for a compiled network."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def export_model(self) -> io.BytesIO:
        return io.BytesIO(self.content)


class Core:
    """Stands for OpenVINO: takes a blob, or refuses it."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses

    def import_model(self, blob: Any, device: str, settings: dict[str, object]) -> bytes:
        if self.refuses:
            raise RuntimeError("it was built for a different runtime configuration")
        return bytes(blob.data)


@pytest.fixture(autouse=True)
def _none_kept() -> None:
    shutil.rmtree(folder() / compiled_cache.KIND, ignore_errors=True)


@pytest.fixture(scope="module")
def tiny() -> Weights:
    return small(read(TINY))


def entries() -> set[Path]:
    return set((folder() / compiled_cache.KIND).glob("[!.]*"))


def test_what_is_kept_is_imported() -> None:
    compiled_cache.keep(Compiled(b"whole"), {"weights": "a"})
    assert compiled_cache.imported(Core(), {"weights": "a"}, {}) == b"whole"
    assert compiled_cache.imported(Core(), {"weights": "b"}, {}) is None


def test_a_refused_one_goes() -> None:
    compiled_cache.keep(Compiled(b"whole"), {"weights": "a"})
    assert compiled_cache.imported(Core(refuses=True), {"weights": "a"}, {}) is None
    assert entries() == set()


def test_those_used_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_cache, "ROOM", 20)
    for name in ("a", "b"):
        compiled_cache.keep(Compiled(b"10 bytes.."), {"weights": name})
    for path in entries():
        os.utime(path, (100, 100))
    assert compiled_cache.imported(Core(), {"weights": "a"}, {})  # used now
    compiled_cache.keep(Compiled(b"10 bytes.."), {"weights": "c"})
    assert [bool(compiled_cache.imported(Core(), {"weights": name}, {})) for name in "abc"] == [True, False, True]
    compiled_cache.keep(Compiled(b"more than there is room for"), {"weights": "d"})
    assert len(entries()) == 1
    assert compiled_cache.imported(Core(), {"weights": "d"}, {})


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_no_run(
    reason: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(cache, "sync", full)
    compiled_cache.keep(Compiled(b"whole"), {"weights": "a"})
    assert os.strerror(reason) in caplog.text
    assert "the compiled network is not kept" in caplog.text
    assert entries() == set()


def test_another_cpu_or_limit_is_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        def get_property(self, device: str, name: str) -> str:
            return "a CPU"

    seen = [compiled_cache.described({"weights": "a"}, Named(), layers=["c5"])]
    monkeypatch.setattr(compiled_cache, "telling_flags", lambda: ["avx2", "AVX2"])
    seen.append(compiled_cache.described({"weights": "a"}, Named(), layers=["c5"]))
    monkeypatch.setattr(compiled_cache, "cpu_flags", lambda: frozenset(("avx2",)))
    seen.append(compiled_cache.described({"weights": "a"}, Named(), layers=["c5"]))
    assert len({json.dumps(one, sort_keys=True) for one in seen}) == 3


def anew(weights: Weights, some: samples.Pictures, **options: Any) -> list[Maps]:
    """Rows of an engine that finds nothing, and leaves what it compiled."""
    engine = CompiledEngine(weights, **options)
    assert engine._imported is None
    rows = list(engine.features(some))
    engine.prepare()
    return rows


def again(weights: Weights, some: samples.Pictures, **options: Any) -> list[Maps]:
    """Rows of an engine that reads no graph and compiles nothing."""
    engine = CompiledEngine(weights, **options)
    rows = list(engine.features(some))
    assert "_graph" not in engine.__dict__
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(
    "options", [{}, {"layers": ("c3",), "pool": "max", "batch": 2}, {"pool": "none", "threads": 1}]
)
def test_the_same_bits(precision: str, options: dict[str, Any], tiny: Weights) -> None:
    possible(precision)
    some = pictures(tiny, samples.PHOTOS[:3])
    options = {**options, "precision": precision, "calibration": calibration(some)}
    rows = anew(tiny, some, **options)
    assert equal(again(tiny, some, **options), rows)


@pytest.mark.slow
def test_the_same_bits_of_pictures_of_any_size(tiny: Weights) -> None:
    weights = replace(tiny, recipe=replace(tiny.recipe, resize=64, crop=None))
    some = pictures(weights, samples.PHOTOS[:4])
    rows = anew(weights, some, batch=2)
    assert equal(again(weights, some, batch=2), rows)


def changed(blob: Path) -> None:
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of the weights: OpenVINO would take it
    blob.write_bytes(content)


def another_programs(blob: Path) -> None:
    """Undamaged by its sums, so that OpenVINO has to refuse it."""
    blob.write_bytes(b"nothing of OpenVINO's" * 1000)
    digest = hashlib.sha256(blob.read_bytes()).hexdigest()
    blob.with_name(cache.SUMS).write_text(json.dumps({BLOB: digest}))


@pytest.mark.slow
@pytest.mark.parametrize("damage", [changed, lambda blob: os.truncate(blob, 5000), another_programs, Path.unlink])
def test_a_damaged_one_is_made_again(damage: Callable[[Path], None], tiny: Weights) -> None:
    some = pictures(tiny, samples.PHOTOS[:2])
    rows = anew(tiny, some)
    (entry,) = entries()
    damage(entry / BLOB)
    assert equal(anew(tiny, some), rows)
    assert entries() == {entry}
    assert equal(again(tiny, some), rows)


@pytest.mark.slow
def test_all_that_decides_it_makes_another_entry(tiny: Weights) -> None:
    some = pictures(tiny, samples.PHOTOS[:2])
    other = replace(tiny, recipe=replace(tiny.recipe, color="bgr"))
    choices: list[tuple[Weights, dict[str, Any]]] = [
        (tiny, {}),
        (other, {}),
        (tiny, {"layers": ("c5",)}),
        (tiny, {"pool": "max"}),
        (tiny, {"threads": 3}),
        (tiny, {"batch": 2}),
        (tiny, {"precision": "int8", "calibration": calibration(some)}),
        (tiny, {"precision": "int8", "calibration": calibration(some[:1])}),
    ]
    for count, (weights, options) in enumerate(choices, 1):
        anew(weights, some, **options)
        assert len(entries()) == count


@pytest.mark.slow
def test_other_weights_under_the_same_name_are_another_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    before = TINY.read_bytes()
    path.write_bytes(before)
    first = small(read(path))
    some = pictures(first, samples.PHOTOS[:1])
    rows = anew(first, some)
    path.write_bytes(before[:-4096] + bytes(4096))  # the last convolution
    second = small(read(path))
    assert not equal(anew(second, some), rows)
    path.write_bytes(before)
    assert equal(again(small(read(path)), some), rows)


@pytest.mark.slow
def test_a_cache_that_can_only_be_read(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    some = pictures(tiny, samples.PHOTOS[:2])
    rows = anew(tiny, some)
    monkeypatch.setattr(cache, "_said", False)
    monkeypatch.setattr("tempfile.mkdtemp", refused)
    monkeypatch.setattr("os.utime", refused)
    assert equal(again(tiny, some), rows)
    assert not caplog.text
    other = anew(tiny, some, pool="max")
    assert equal(anew(tiny, some, pool="max"), other)
    assert caplog.text.count("cannot write to the cache folder") == 1
    assert len(entries()) == 1


@pytest.mark.slow
def test_only_preparing_keeps(tiny: Weights) -> None:
    list(CompiledEngine(tiny).features(pictures(tiny, samples.PHOTOS[:1])))
    assert not entries()
