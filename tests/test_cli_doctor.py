"""`resnetfea doctor`: contract.md's fields, without importing what it reports on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from resnetfea.cpu_guard import LIMIT, OVERRULE
from resnetfea.engine.convolution_speed import measure
from resnetfea.errors import ResnetFeaError


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


def test_a_person_gets_a_line_for_each_fact_and_what_to_change() -> None:
    lines = run(**{OVERRULE: "off"}).splitlines()
    facts = json.loads(run("--json", **{OVERRULE: "off"}))
    gap = lines.index("")
    assert {line.split()[0] for line in lines[:gap]} == facts.keys() - {"advice", "cache_bytes"} | {"cache_size"}
    assert lines[gap + 2 :] == [f"  {line}" for line in facts["advice"]]
    assert lines[gap + 1] == ("what to change:" if facts["advice"] else "nothing to change")


def test_it_stays_light_unless_it_measures() -> None:
    code = "import sys\nfrom resnetfea.cli import app\ntry: app(['doctor'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"mindspore", "openvino", "numpy", "pyarrow"} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_measured() -> None:
    facts = json.loads(run("--measure", "--json"))
    assert facts["mindspore_share"] == pytest.approx(facts["mindspore_gflops"] / facts["matmul_gflops"], rel=0.02)
    assert facts["mindspore_gflops"] > 0


def test_a_broken_mindspore_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'mindspore'\" >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ResnetFeaError, match=r"could not be measured: .*No module named 'mindspore'"):
        measure()
