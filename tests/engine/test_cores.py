"""Cores: the container's limit is found wherever a container runtime writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetfea.engine import cores

V2, V1 = "0::{}\n", "5:memory:/a\n4:cpu,cpuacct:{}\n1:name=systemd:/a\n0::/\n"


@pytest.mark.parametrize(
    ("places", "files", "limit"),
    [
        (V2.format("/"), {"cpu.max": "200000 100000"}, 2),
        (V2.format("/"), {"cpu.max": "50000 100000"}, 0.5),
        (V2.format("/"), {"cpu.max": "max 100000"}, None),
        (V2.format("/"), {}, None),
        (V2.format("/"), {"cpu.max": ""}, None),
        # nested: the least of all counts, and a place that only the host sees is passed by
        (V2.format("/a/b"), {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        (V2.format("/a/b"), {"a/cpu.max": "300000 100000", "a/b/cpu.max": "150000 100000"}, 1.5),
        (V2.format("/docker/0123"), {"cpu.max": "400000 100000"}, 4),
        (V2.format("/a"), {"b/cpu.max": "100000 100000"}, None),
        (V1.format("/"), {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 2.5),
        (V1.format("/"), {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, None),
        (V1.format("/docker/0123"), {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "50000"}, 2),
        (V1.format("/k/p"), {"cpu/k/cpu.cfs_quota_us": "100000", "cpu/k/cpu.cfs_period_us": "100000"}, 1),
        (V1.format("/"), {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, None),
        ("", {"cpu.max": "100000 100000"}, None),
        ("what\n", {}, None),
    ],
)
def test_the_containers_limit(
    places: str, files: dict[str, str], limit: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(places, files, tmp_path, monkeypatch)
    assert cores.container_limit() == limit


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("350000 100000", 3)])
def test_no_more_than_the_container_gives_and_never_none(
    quota: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(V2.format("/"), {"cpu.max": quota}, tmp_path, monkeypatch)
    monkeypatch.setattr(cores, "affinity", lambda: 8)
    assert cores.usable() == most
    monkeypatch.setattr(cores, "affinity", lambda: 1)
    assert cores.usable() == 1


def test_where_nothing_is_told_there_is_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "missing")
    assert cores.container_limit() is None
    assert cores.usable() == cores.affinity()


def fake(places: str, files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cgroup").write_text(places)
    for name, text in files.items():
        (folder / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "fs" / name).write_text(text)
    monkeypatch.setattr(cores, "CGROUPS", folder / "cgroup")
    monkeypatch.setattr(cores, "MOUNT", folder / "fs")
