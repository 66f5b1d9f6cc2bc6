"""`resnetfea doctor`: contract.md's fields, without importing what it reports on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from resnetfea.cpu_guard import LIMIT, OVERRULE
from resnetfea.engine import doctor


def run(*arguments: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in (LIMIT, OVERRULE)}
    command = [sys.executable, "-m", "resnetfea", "doctor", *arguments]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_json_has_the_fields_that_other_programs_read() -> None:
    facts = json.loads(run("--json"))
    assert facts["mindspore"] == metadata.version("mindspore")
    assert facts["openvino"] == metadata.version("openvino")
    assert facts["cpu_isa"]
    assert facts["onednn_max_cpu_isa"] in ("AVX2", "none")
    assert facts["limit_set_by"] == ("resnetfea" if facts["onednn_max_cpu_isa"] == "AVX2" else "nobody")


def test_a_limit_of_your_own_is_told_as_yours() -> None:
    facts = json.loads(run("--json", **{LIMIT: "SSE41"}))
    assert (facts["onednn_max_cpu_isa"], facts["limit_set_by"]) == ("SSE41", "you")


def test_overruled_means_no_limit() -> None:
    assert json.loads(run("--json", **{OVERRULE: "off"}))["onednn_max_cpu_isa"] == "none"


def test_a_person_gets_a_line_for_each_fact() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == list(json.loads(run("--json")))


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        ({"sse4_1", "avx2", "fma"}, "avx2"),
        ({"avx2", "fma", "avx_vnni"}, "avx2_vnni"),
        ({"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512dq"}, "avx512"),
        ({"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"}, "avx512_bf16"),
        ({"avx512f", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}, "avx512_amx"),
        ({"asimd", "fp"}, "asimd"),
    ],
)
def test_the_best_instruction_set_is_named(flags: set[str], isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnetfea.cpu_guard.cpu_flags", lambda: frozenset(flags))
    assert doctor.facts()["cpu_isa"] == isa
