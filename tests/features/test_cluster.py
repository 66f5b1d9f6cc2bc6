"""`extract --cluster`: what the plain command gives, byte for byte, whatever becomes of the workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from features.quick import content
from test_cli_extract import some_broken

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are looked for in /proc"),
]
pytest.importorskip("ray", reason="the extra `cluster` is not installed")

IMAGES, SHARD = 240, 8
SOURCE = Path(__file__).parents[2] / "src"


class Command:
    """`resnetfea extract`, and all processes that come of it: they inherit a variable."""

    def __init__(self, *arguments: object, **variables: str) -> None:
        self.mark = f"RESNETFEA_TEST={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        command = [sys.executable, "-m", "resnetfea", "extract", *map(str, arguments)]
        env = {**os.environ, "PYTHONPATH": str(SOURCE), **variables, name: value}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
        )

    def processes(self) -> dict[int, str]:
        """Command lines by process id; not of those that are dead and only not waited for."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has just ended, or is somebody else's
                continue
        return found

    def workers(self) -> list[int]:
        """Those that compute, by process id."""
        return [pid for pid, line in self.processes().items() if line.startswith("ray::Worker.shards")]

    def until(self, ready: Callable[[], Any]) -> None:
        while not ready():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.005)

    def end(self, code: int) -> str:
        """What it wrote to stderr."""
        stdout, stderr = self.process.communicate(timeout=300)
        assert self.process.returncode == code, stderr
        assert "Traceback" not in stderr
        assert "ray" not in stdout + stderr
        return stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tenth is broken."""
    return some_broken(IMAGES, tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All files of a run without a cluster."""
    out = tmp_path_factory.mktemp("plain") / "out"
    Command(photos, "-o", out, "--shard-size", SHARD).end(3)
    return content(out)


class Nodes:
    """A Ray that runs already, of nodes that have compiled nothing, and have no MindSpore to do so."""

    def __init__(self, folder: Path) -> None:
        (folder / "mindspore.py").write_text("raise ImportError")
        self._env = {
            "PYTHONPATH": f"{folder}{os.pathsep}{SOURCE}",
            "RESNETFEA_CACHE": str(folder / "cache"),
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        utils: Any = pytest.importorskip("ray.cluster_utils")
        self._cluster = utils.Cluster()
        self.add(include_dashboard=False)
        self.flag = ("--cluster", self._cluster.address)

    def add(self, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._env.items():
                patch.setenv(name, value)
            return self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20, **options)

    def remove(self, node: Any) -> None:
        self._cluster.remove_node(node)

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    running = Nodes(tmp_path_factory.mktemp("node"))
    yield running
    running.stop()


def shards(out: Path) -> list[Path]:
    return sorted(out.glob("features-*.parquet"))


def test_a_killed_worker_costs_only_its_shards(photos: Path, plain: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = Command(photos, "-o", out, "--shard-size", SHARD, "--cluster", "local", "--workers", 2)
    run.until(lambda: len(shards(out)) > 3)
    first = run.workers()
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in shards(out)}
    stderr = run.end(3)
    assert content(out) == plain
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [line.split(" ")[0] for line in stderr.splitlines()] == ["a", "24"]  # it says so; and the failures
    assert run.processes() == {}


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_on_a_cluster_and_resumed_without(
    photos: Path, plain: dict[str, bytes], tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    """At once, though after SIGKILL its workers may go on for some seconds."""
    out = tmp_path / "out"
    run = Command(photos, "-o", out, "--shard-size", SHARD, "--cluster", "local", "--workers", 2)
    run.until(lambda: len(shards(out)) > 3)
    os.killpg(run.process.pid, stop)
    run.end(code)
    if stop is not signal.SIGKILL:
        assert run.processes() == {}
    Command(photos, "-o", out, "--shard-size", SHARD, "--resume").end(3)
    while run.processes():
        time.sleep(0.05)
    left = [path for path in out.iterdir() if path.name.endswith(".partial")]
    assert {name: data for name, data in content(out).items() if out / name not in left} == plain
    assert stop is signal.SIGKILL or not left


def test_workers_that_always_die_end_the_run(photos: Path, plain: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = Command(photos, "-o", out, "--shard-size", IMAGES, "--cluster", "local", "--workers", 1)
    over = threading.Event()

    def kill() -> None:
        while not over.is_set():
            for pid in run.workers():
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        stderr = run.end(1)
    finally:
        over.set()
        killer.join()
    assert "features-00000.parquet: 3 workers died while they computed it" in stderr
    assert "--resume goes on" in stderr
    assert run.processes() == {}


def test_a_node_that_dies_costs_only_its_shards(
    photos: Path, plain: dict[str, bytes], tmp_path: Path, nodes: Nodes
) -> None:
    """Of a run that began without a cluster; and failures are tried again there."""
    out, options = tmp_path / "out", ("--shard-size", SHARD)
    plainly = Command(photos, "-o", out, *options)
    plainly.until(lambda: len(shards(out)) > 1)
    plainly.process.send_signal(signal.SIGINT)
    plainly.end(130)
    second, begun = nodes.add(), len(shards(out))
    run = Command(photos, "-o", out, *options, "--resume", *nodes.flag, RAY_AUTH_MODE="disabled")
    run.until(lambda: len(shards(out)) > begun + 2)
    nodes.remove(second)
    run.end(3)
    assert content(out) == plain

    was = (photos / "004.png").read_bytes()
    try:
        (photos / "004.png").write_bytes((photos / "005.png").read_bytes())
        run = Command(photos, "-o", out, *options, "--retry-failed", *nodes.flag, RAY_AUTH_MODE="disabled")
        assert run.end(3).startswith("23 failed")
        Command(photos, "-o", tmp_path / "anew", *options).end(3)
    finally:
        (photos / "004.png").write_bytes(was)
    assert content(out) == content(tmp_path / "anew")


def test_a_node_gets_what_was_compiled_and_measured(photos: Path, tmp_path: Path, nodes: Nodes) -> None:
    few = tmp_path / "list.txt"
    few.write_text("\n".join(str(path) for path in sorted(photos.iterdir())[5:14]))
    for out, there in (("plain", ()), ("there", nodes.flag)):
        run = Command(few, "-o", tmp_path / out, "--precision", "int8", *there, RAY_AUTH_MODE="disabled")
        run.end(0)
    assert content(tmp_path / "there") == content(tmp_path / "plain")


def test_other_versions_on_a_node_are_refused(photos: Path, tmp_path: Path, nodes: Nodes) -> None:
    code = (
        "import sys; from resnetfea.features import cluster_staff; there = cluster_staff.versions;"
        "cluster_staff.versions = lambda engine: {**there(engine), 'pillow': '0.1'};"
        "from resnetfea.cli import app; app(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "extract", photos, "-o", tmp_path / "out", *nodes.flag]
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 1
    assert "and not 0.1; rows would differ, install the same" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_address_that_is_no_ray(photos: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        stderr = Command(photos, "-o", tmp_path / "out", "--cluster", address).process.communicate(timeout=120)[1]
    assert stderr.startswith(f"resnetfea: --cluster {address}: Ray could not be joined: ")
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
