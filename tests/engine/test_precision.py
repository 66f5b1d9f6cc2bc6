"""Which precisions this CPU is said to have: by its flags, by the user's limit, by OpenVINO."""

from __future__ import annotations

import os
from typing import Any

import pytest

from resnetfea import cpu_guard
from resnetfea.cpu_guard import LIMIT, OVERRULE
from resnetfea.engine import precision
from resnetfea.engine.precision import NoBf16, check_possible, has_bf16, hint, telling_flags

FLAGS = frozenset(("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16"))


class Core:
    """Says what OpenVINO can, and remembers under which limit it was asked."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = capabilities or ("FP32", "BF16", "INT8")
        self.limits: list[str | None] = []

    def get_property(self, device: str, name: str) -> tuple[str, ...]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        self.limits.append(os.environ.get(LIMIT))
        return self.capabilities


@pytest.fixture(autouse=True)
def _of_a_cpu_with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    monkeypatch.delenv(OVERRULE, raising=False)
    monkeypatch.setattr(cpu_guard, "cpu_flags", lambda: FLAGS)


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [
        (None, True),
        ("DEFAULT", True),
        ("all", True),
        ("AVX512_CORE_BF16", True),
        ("avx512_core_amx", True),
        ("AVX512_CORE_AMX_FP16", True),
        ("AVX10_1_512", True),
        ("SSE41", False),
        ("AVX2", False),
        ("AVX2_VNNI", False),
        ("AVX512_CORE", False),
        ("AVX512_CORE_VNNI", False),
    ],
)
def test_the_users_limit_counts(limit: str | None, allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if limit:
        monkeypatch.setenv(LIMIT, limit)
    assert has_bf16(Core()) is allowed
    assert hint("bf16", Core()) == hint("int8", Core()) == ("bf16" if allowed else "f32")
    assert hint("fp32", Core()) == "f32"


def test_the_guards_own_limit_does_not_count_and_openvino_does_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first question makes oneDNN read the variable for good: a limit there would take its bf16 kernels away."""
    monkeypatch.setenv(LIMIT, "AVX2")
    monkeypatch.setenv(OVERRULE, "AVX2")
    core = Core()
    assert has_bf16(core)
    assert core.limits == [None]
    assert telling_flags()[-1] == "DEFAULT"


def test_flags_and_openvino_must_both_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_bf16(Core())
    assert not has_bf16(Core("FP32", "INT8"))
    monkeypatch.setattr(cpu_guard, "cpu_flags", lambda: FLAGS - {"avx512_bf16"})  # OpenVINO would imitate it
    assert not has_bf16(Core())
    monkeypatch.setattr(cpu_guard, "cpu_flags", lambda: FLAGS | {"amx_bf16"})
    assert has_bf16(Core())


def test_where_the_system_does_not_tell_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    def flags() -> frozenset[str]:
        raise OSError("no /proc")

    monkeypatch.setattr(cpu_guard, "cpu_flags", flags)
    assert not has_bf16(Core())
    assert telling_flags() == ["DEFAULT"]


def test_what_is_asked_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in precision.PRECISIONS:
        check_possible(one, Core())
    wrong: Any = "fp16"
    with pytest.raises(ValueError, match=r"choose from .*bf16"):
        check_possible(wrong, Core())
    monkeypatch.setenv(LIMIT, "AVX512_CORE")
    check_possible("int8", Core())
    with pytest.raises(NoBf16, match=r"no bf16 arithmetic .*limit forbids it; take fp32 or int8"):
        check_possible("bf16", Core())


def test_what_tells_a_cpu_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert telling_flags() == ["avx2", "avx512_bf16", "avx512_vnni", "avx512bw", "DEFAULT"]
    monkeypatch.setenv(LIMIT, "avx2")
    assert telling_flags()[-1] == "AVX2"
