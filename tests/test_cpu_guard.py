"""The guard sets oneDNN's limit only where it helps, and never gets in anyone's way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resnetfea import cpu_guard
from resnetfea.cpu_guard import LIMIT, OVERRULE


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    monkeypatch.delenv(OVERRULE, raising=False)
    monkeypatch.setattr(cpu_guard, "has_avx512", lambda: True)
    monkeypatch.setattr(cpu_guard, "mindspore_version", lambda: "2.10.0")


@pytest.mark.parametrize(
    ("version", "limited"),
    [("2.8.0", False), ("2.9.0", True), ("2.10.0", True), ("2.10.1rc1", True), ("2.11.0", False), (None, False)],
)
def test_only_the_slow_versions_are_limited(
    version: str | None, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_guard, "mindspore_version", lambda: version)
    cpu_guard.set_limit()
    assert (LIMIT in os.environ) is limited
    assert cpu_guard.is_ours() is limited


def test_a_cpu_without_avx512_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_guard, "has_avx512", lambda: False)
    cpu_guard.set_limit()
    assert LIMIT not in os.environ


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, "AVX2")
    cpu_guard.set_limit()
    assert not cpu_guard.is_ours()
    with cpu_guard.lifted():
        assert os.environ[LIMIT] == "AVX2"


def test_it_can_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRULE, "off")
    cpu_guard.set_limit()
    assert LIMIT not in os.environ


def test_the_limit_is_lifted_for_a_while_only() -> None:
    cpu_guard.set_limit()
    with cpu_guard.lifted():
        assert LIMIT not in os.environ
    assert os.environ[LIMIT] == "AVX2"


def test_a_child_process_knows_whose_limit_it_is() -> None:
    cpu_guard.set_limit()
    code = "from resnetfea import cpu_guard; print(cpu_guard.is_ours())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_it_speaks_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cpu_guard, "_announced", False)
    cpu_guard.announce()
    assert not caplog.records  # nothing in force, nothing to say
    cpu_guard.set_limit()
    cpu_guard.announce()
    cpu_guard.announce()
    assert [LIMIT in record.getMessage() for record in caplog.records] == [True]
