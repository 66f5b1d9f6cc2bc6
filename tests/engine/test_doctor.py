"""doctor's facts are true of a made-up machine, and its advice is what would help on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resnetfea import cache_folder, cpu_guard
from resnetfea.cpu_guard import LIMIT, OVERRULE
from resnetfea.engine import cores, doctor
from resnetfea.engine.advice import advice

AVX2 = "sse4_1 avx avx2 fma"
ZEN4 = f"{AVX2} avx512f avx512bw avx512vl avx512dq avx512_vnni avx512_bf16"
X86 = "processor\t: 0\nmodel name\t: A Fine CPU @ 3 GHz\nflags\t\t: {}\n"


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores with all that helps, no container, MindSpore 2.10, an empty cache folder."""
    monkeypatch.setattr(cpu_guard, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(X86.format(ZEN4))
    monkeypatch.setattr(cores, "affinity", lambda: 8)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "MOUNT", tmp_path / "fs")
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(doctor, "_version", lambda package: "2.10.0")
    monkeypatch.setattr(cpu_guard, "mindspore_version", lambda: "2.10.0")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in (LIMIT, OVERRULE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))


def cpuinfo(tmp_path: Path, flags: str) -> None:
    (tmp_path / "cpuinfo").write_text(X86.format(flags))


def test_a_machine_that_is_well() -> None:
    cpu_guard.set_limit()
    facts = doctor.facts()
    assert advice(facts) == []
    assert facts["cpu"] == "A Fine CPU @ 3 GHz"
    assert facts["cpu_features"] == ["sse4_1", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"]
    assert (facts["cores"], facts["cores_of_machine"], facts["container_limit"]) == (8, 8, None)
    assert (facts["onednn_max_cpu_isa"], facts["limit_set_by"]) == ("AVX2", "resnetfea")


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        ("sse4_1 avx2 fma", "avx2"),
        ("avx2 fma avx_vnni", "avx2_vnni"),
        ("avx2 fma avx512f avx512bw avx512vl avx512dq", "avx512"),
        ("avx2 fma avx512f avx512_vnni avx512_bf16", "avx512_bf16"),
        ("avx512f avx512_bf16 amx_tile amx_int8 amx_bf16", "avx512_amx"),
    ],
)
def test_the_best_instruction_set_is_named(flags: str, isa: str, tmp_path: Path) -> None:
    cpuinfo(tmp_path, flags)
    assert doctor.facts()["cpu_isa"] == isa


def test_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp bf16 i8mm\n")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    cpu_guard.set_limit()
    facts = doctor.facts()
    assert (facts["cpu_isa"], facts["onednn_max_cpu_isa"]) == ("asimd", "none")
    assert advice(facts) == []


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").unlink()
    cpu_guard.set_limit()  # sets it: without AVX-512 it changes nothing
    facts = doctor.facts()
    assert facts["cpu_isa"].startswith("unknown (")
    assert facts["cpu_features"] == []
    assert advice(facts) == []


@pytest.mark.parametrize(
    ("limit", "version", "words"),
    [
        ("AVX512_CORE", "2.10.0", "is set by you to AVX512_CORE: MindSpore 2.10.0 is some 60 times slower"),
        ("ALL", "2.9.0", "MindSpore 2.9.0 is some 60 times slower with AVX-512 than with AVX2; unset it"),
        ("default", "2.10.0", "60 times slower"),
        ("AVX512_CORE", "2.8.0", None),
        ("SSE41", "2.10.0", "MindSpore 2.10.0 takes twice as long as with AVX2"),
        ("AVX", "2.10.0", "takes 1.2 times as long"),
        ("AVX2", "2.10.0", "holds OpenVINO too, to half its speed and without bf16; unset it, then resnetfea sets it"),
        ("AVX2", "2.8.0", "held below what this CPU has; unset it"),
    ],
)
def test_a_limit_of_your_own(limit: str, version: str, words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LIMIT, limit)
    monkeypatch.setattr(doctor, "_version", lambda package: version)
    cpu_guard.set_limit()
    facts = doctor.facts()
    assert facts["limit_set_by"] == "you"
    lines = advice(facts)
    assert len(lines) == (words is not None)
    assert (words or "") in "".join(lines)


def test_a_limit_that_a_small_cpu_does_not_feel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo(tmp_path, AVX2)
    for limit in ("AVX2", "AVX512_CORE", "ALL"):
        monkeypatch.setenv(LIMIT, limit)
        assert [line for line in advice(doctor.facts()) if LIMIT in line] == []


def test_the_guard_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRULE, "off")
    cpu_guard.set_limit()
    (line,) = advice(doctor.facts() | {"mindspore_share": 0.013})
    assert "no oneDNN limit is in force: MindSpore 2.10.0 is some 60 times slower" in line
    assert OVERRULE in line


def test_cores_that_are_kept_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_guard.set_limit()
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    (tmp_path / "fs" / "cpu.max").write_text("200000 100000")
    facts = doctor.facts()
    assert facts["cores"] == 2
    by_affinity, by_container = advice(facts)
    assert by_affinity.startswith("8 of 64 cores allowed by this process's affinity")
    assert by_container == "2 of 64 cores allowed by the container: raise its CPU limit"


def test_precisions_that_gain_nothing_here(tmp_path: Path) -> None:
    cpuinfo(tmp_path, AVX2)
    int8, bf16 = advice(doctor.facts())
    assert int8 == "int8 is only fast with VNNI (ARM: dot product): this CPU has none"
    assert bf16.startswith("bf16 is only fast with AVX512-BF16 or AMX")
    cpuinfo(tmp_path, f"{AVX2} avx_vnni")
    assert [line[:4] for line in advice(doctor.facts())] == ["bf16"]


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_guard.set_limit()
    facts = doctor.facts()
    assert (facts["cache"], facts["cache_bytes"], facts["cache_writable"]) == (str(tmp_path / "cache"), 0, True)
    (tmp_path / "cache" / "graphs").mkdir(parents=True)
    (tmp_path / "cache" / "graphs" / "model").write_bytes(bytes(1000))
    (tmp_path / "cache" / "note").write_bytes(bytes(24))
    assert doctor.facts()["cache_bytes"] == 1024
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache" / "note" / "below"))
    facts = doctor.facts()
    assert facts["cache_writable"] is False
    (line,) = advice(facts)
    assert line.startswith(f"{tmp_path}/cache/note/below cannot be written")
    assert cache_folder.VARIABLE in line


def test_what_is_not_installed_and_what_is_measured_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_guard.set_limit()
    facts: dict[str, Any] = doctor.facts()
    assert advice(facts | {"mindspore_share": 0.9}) == []
    assert "make 1.3% of the machine's matrix-multiply speed" in advice(facts | {"mindspore_share": 0.013})[0]
    assert advice(facts | {"openvino": "not installed"})[0].startswith("openvino is not installed")
