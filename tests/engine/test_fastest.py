"""--precision auto: the fastest of the good, by a clock that the tests set; never by the real one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnetfea import Weights, read
from resnetfea.engine import fastest as module
from resnetfea.engine.fastest import fastest
from resnetfea.engine.precision import Calibration, NoBf16, TooCoarse

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"
PICTURES = [np.zeros((8, 8, 3), np.uint8)] * 3


class Machine:
    """Engines that take as long and lose as much as they are told; and the clock that they move."""

    def __init__(self, **of: tuple[float, float] | Exception) -> None:
        self.of, self.now = of, 0.0
        self.made: list[dict[str, Any]] = []
        self.order: list[str] = []

    def __call__(self, weights: Weights, **options: Any) -> Engine:
        found = self.of[options["precision"]]
        if isinstance(found, Exception):
            raise found
        self.made.append(options)
        return Engine(self, options, *found)


class Engine:
    layers = ("c2", "c5")

    def __init__(self, machine: Machine, options: dict[str, Any], seconds: float, cosine: float) -> None:
        self.machine, self.options, self.seconds, self.cosine = machine, options, seconds, cosine
        self.precision = options["precision"]

    def features(self, pictures: Iterable[Any]) -> Iterator[dict[str, Any]]:
        self.machine.order.append(self.precision)
        slow = 100 if self.machine.order.count(self.precision) == 1 else 1  # the first time it warms up
        for _ in pictures:
            self.machine.now += self.seconds * slow
            bent = np.array([self.cosine, (1 - self.cosine**2) ** 0.5], np.float32)
            yield {"c2": np.array([1, 0], np.float32), "c5": bent}


@pytest.fixture
def tiny() -> Weights:
    return read(TINY)


def chosen(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, identity: str, min_cosine: float = 0.99, **of: Any
) -> tuple[Any, Machine]:
    machine = Machine(**of)
    monkeypatch.setattr(module, "CompiledEngine", machine)
    monkeypatch.setattr("time.process_time", lambda: machine.now)
    photos = Calibration(identity, lambda: PICTURES)
    return fastest(tiny, calibration=photos, min_cosine=min_cosine, layers=("c5",), pool="max", batch=2), machine


@pytest.mark.parametrize(
    ("name", "of", "wanted"),
    [
        ("int8 fastest", {"fp32": (3, 1), "bf16": (2, 0.9999), "int8": (1, 0.996)}, "int8"),
        ("int8 coarse", {"fp32": (3, 1), "bf16": (2, 0.9999), "int8": (1, 0.994)}, "bf16"),
        ("int8 slow", {"fp32": (3, 1), "bf16": (1, 0.9999), "int8": (2, 0.996)}, "bf16"),
        ("fp32 fastest", {"fp32": (1, 1), "bf16": (2, 0.9999), "int8": (3, 0.996)}, "fp32"),
        ("all coarse", {"fp32": (3, 1), "bf16": (2, 0.9), "int8": (1, 0.9)}, "fp32"),
        ("no number", {"fp32": (3, 1), "bf16": (2, float("nan")), "int8": (1, 0.9)}, "fp32"),
        ("no bf16", {"fp32": (3, 1), "bf16": NoBf16("none here"), "int8": (1, 0.996)}, "int8"),
        ("no int8", {"fp32": (3, 1), "bf16": (2, 0.9999), "int8": TooCoarse("loses")}, "bf16"),
        ("neither", {"fp32": (3, 1), "bf16": NoBf16("none here"), "int8": TooCoarse("loses")}, "fp32"),
    ],
)
def test_the_fastest_of_the_good(
    name: str, of: Any, wanted: str, tiny: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, machine = chosen(tiny, monkeypatch, name, **of)
    assert engine.precision == wanted
    assert {key: engine.options[key] for key in ("layers", "pool", "batch", "min_cosine")} == {
        "layers": ("c5",),
        "pool": "max",
        "batch": 2,
        "min_cosine": 0.99,
    }
    assert engine.options["calibration"].identity == name
    measured = [one for one in of if not isinstance(of[one], Exception)]
    assert machine.order == measured * module.ROUNDS  # in turns
    assert all(one["layers"] == ("c2", "c3", "c4", "c5") for one in machine.made[:-1])


def test_the_strictest_cosine_leaves_fp32(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row's cosine with itself may be 0.9999999; that ended in `min() arg is an empty sequence`."""
    engine, _ = chosen(tiny, monkeypatch, "one", 1.0, fp32=(3, 0.7), bf16=(2, 0.6999), int8=TooCoarse("loses"))
    assert engine.precision == "fp32"


def test_the_choice_stays_and_is_told(
    tiny: Weights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    of: dict[str, Any] = {"fp32": (3, 1), "bf16": NoBf16("none here"), "int8": (1, 0.9)}
    for measured in (True, False):
        caplog.clear()
        with caplog.at_level(logging.INFO, "resnetfea"):
            engine, machine = chosen(tiny, monkeypatch, "stays", **of)
        assert engine.precision == "fp32"
        assert bool(machine.order) is measured
        (line,) = caplog.messages
        assert line.startswith("--precision auto takes fp32: ")
        assert "bf16 is not in this CPU" in line
        assert "fp32 3000.0 ms of a core, cosine 1.00000" in line
        assert "int8 1000.0 ms of a core, cosine 0.90000, where 0.995 is on the safe side" in line
    for identity, min_cosine in (("others", 0.99), ("stays", 0.98)):
        _, machine = chosen(tiny, monkeypatch, identity, min_cosine, **of)
        assert machine.order
    monkeypatch.setattr(module, "telling_flags", lambda: ["avx2", "DEFAULT"])
    _, machine = chosen(tiny, monkeypatch, "stays", **of)
    assert machine.order


def test_a_failure_of_another_kind_is_not_hidden(tiny: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        chosen(tiny, monkeypatch, "broken", fp32=(3, 1), bf16=RuntimeError("broken"), int8=(1, 1))
