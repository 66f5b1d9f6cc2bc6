"""Processes that the bench starts, what it compares, and what it compares on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import materials, process, quality, startup
from resnetfea import cpu_guard


def test_a_process_is_measured_whole() -> None:
    """Its children's CPU time too: a DataLoader's workers do half of the work."""
    work = "import time; sum(range(2_000_000)); print(time.process_time())"
    found = process.run(
        [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"]
    )
    assert found.cpu >= float(found.out)
    assert found.peak > 1e6


def test_refused_flags_are_not_an_error() -> None:
    with pytest.raises(process.NotOffered, match="no-such"):
        process.run(process.ours("resnetfea", "extract", "photos", "-o", "out", "--precision", "no-such"))


def test_a_failure_ends_the_run_with_its_own_words() -> None:
    with pytest.raises(SystemExit, match=r"(?s)ended with 3.*why"):
        process.run([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(SystemExit, match="ended with 2"):
        process.run([sys.executable, "-c", "import sys; sys.exit(2)"])


def test_what_never_comes_ends_the_wait() -> None:
    said = [sys.executable, "-c", "print('Usage: 3/7')"]
    assert startup.until(said, startup.PROGRESS) > 0
    with pytest.raises(SystemExit, match=r"showed no .*Never.* but .*Usage"):
        startup.until(said, re.compile(b"Never"))


def test_the_cpu_guard_does_not_hold_the_peers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu_guard.LIMIT, cpu_guard.SAFE_ISA)
    monkeypatch.setenv(cpu_guard.OVERRULE, cpu_guard.SAFE_ISA)
    monkeypatch.setenv("PYTHONPATH", "src")
    theirs, ours = process.environment(str(process.PEERS)), process.environment(sys.executable)
    assert {cpu_guard.LIMIT, "PYTHONPATH"} & theirs.keys() == set()
    assert cpu_guard.LIMIT not in ours  # each process of ours sets it anew
    assert "PYTHONPATH" in ours
    monkeypatch.delenv(cpu_guard.OVERRULE)
    assert process.environment(str(process.PEERS))[cpu_guard.LIMIT] == cpu_guard.SAFE_ISA  # the user's own stays


def test_photos_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materials, "SAMPLES", Path(__file__).parents[2] / "samples" / "nature")
    first, again = (materials.photos("web", 4, tmp_path / name) for name in ("a", "b"))
    contents = [path.read_bytes() for path in first]
    assert contents == [path.read_bytes() for path in again]
    assert len(set(contents)) == 4
    assert Image.open(first[0]).size == (500, 375)
    assert all(20e3 < len(content) < 200e3 for content in contents)  # as photos of the web


def test_a_list_takes_photos_again(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert materials.listed(paths, 3, tmp_path / "list.txt").read_text() == "".join(
        f"{tmp_path / name}\n" for name in ("a.jpg", "b.jpg", "a.jpg")
    )


def test_the_worst_photo_counts() -> None:
    reference = {layer: np.array([[1.0, 0.0], [4.0, 3.0]], np.float32) for layer in quality.LAYERS}
    found = {layer: rows.copy() for layer, rows in reference.items()}
    found["c3"][1] = [4.0, 3.5]
    errors, cosines = quality.errors(found, reference), quality.cosines(found, reference)
    assert errors == {"c2": 0, "c3": 0.125, "c4": 0, "c5": 0}
    assert cosines["c3"] == pytest.approx(26.5 / (5 * np.hypot(4, 3.5)))
    assert cosines["c5"] == 1
