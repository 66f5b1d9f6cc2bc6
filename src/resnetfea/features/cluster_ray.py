"""Ray for one run: started on this machine, or joined where it runs already; and left without a trace."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resnetfea.engine import cores
from resnetfea.errors import ResnetFeaError

LOCAL = "local"
ANSWER = 5.0  # seconds for a cluster's address to answer
STORE = 256 << 20  # bytes of Ray's shared memory, for what is shipped; where that is larger Ray takes files
PREFIX = "resnetfea-ray-"  # of a folder for Ray
JUST_MADE = 60  # seconds in which a folder may not be locked yet
STDERR = 2  # Unix's number of it
LONGEST = 27  # bytes of a folder in which Ray's sockets still have names that Unix takes, of 107 bytes
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tell its makers nothing
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # where an address answers and is no Ray: end after 40 s, not 13 minutes
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # pack up no folder of the user where `uv run` starts us
}
OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 alone, as it does on these systems by default
    "RAY_AUTH_MODE": "token",
}


@dataclass(frozen=True)
class Session:
    """How many workers there are to be, None for one on each node; threads of each, None for its share of the node."""

    workers: int | None
    threads: int | None


def check(cluster: str) -> None:
    """Whether a run may hope: asked before it lists its images.

    Raises:
        ResnetFeaError: Ray is not installed; or nothing answers at this address, where Ray would try for minutes.
    """
    if find_spec("ray") is None:
        raise ResnetFeaError("--cluster needs Ray: pip install 'resnetfea[cluster]'")
    if cluster == LOCAL:
        return
    host, _, port = cluster.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ResnetFeaError(f"--cluster {cluster}: neither local nor HOST:PORT of a running Ray's head")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ResnetFeaError(f"--cluster {cluster}: cannot be reached: {error}") from error


@contextmanager
def joined(cluster: str, workers: int | None) -> Iterator[Session]:
    """Ray is there meanwhile.

    Args:
        cluster: "local" for one of this machine, which ends with the run; else the address of one that runs.
        workers: how many there will be.

    Raises:
        ResnetFeaError: it can't be started, or not reached.
    """
    if cluster == LOCAL:
        workers = workers or 1
        with _folder() as folder, _environment(_of_our_own()):
            options = {
                "num_cpus": workers,
                "num_gpus": 0,
                "object_store_memory": STORE,
                "_temp_dir": str(folder),
                "include_dashboard": False,
            }
            with _initialised(cluster, folder, options):
                yield Session(workers, max(1, cores.usable() // workers))
    else:
        with _folder() as folder, _environment(QUIET), _initialised(cluster, folder, {}):
            yield Session(workers, None)


@contextmanager
def _initialised(cluster: str, folder: Path, options: dict[str, Any]) -> Iterator[None]:
    import ray  # behind the variables, some of which it reads now

    if ray.is_initialized():
        raise ResnetFeaError("--cluster: this process uses Ray already; call ray.shutdown() first")
    log = logging.getLogger("ray")
    before = log.propagate, log.level
    log.propagate, log.level = False, logging.CRITICAL + 1  # what matters comes as an error, too
    try:
        # in another folder, else its workers look for libraries among the user's files first
        with _sigterm_is_ours(), chdir(folder), _stderr_to(folder / "stderr"):
            try:
                ray._private.worker._worker_logs_enabled = False  # else one of its threads writes to our stdout
                ray.init(cluster, log_to_driver=False, configure_logging=False, **options)
            except Exception as error:
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                raise ResnetFeaError(f"--cluster {cluster}: Ray could not be {_done(cluster)}: {reason}") from error
        yield
    finally:
        ray.shutdown()
        log.propagate, log.level = before


def _done(cluster: str) -> str:
    return "started" if cluster == LOCAL else "joined"


@contextmanager
def _sigterm_is_ours() -> Iterator[None]:
    """Ray has a handler of its own, which ends the process without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:  # from Ray's handler
        signal.signal(signal.SIGTERM, before)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """For what Ray's C++ says on its way; what it means comes as an exception."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)


def _of_our_own() -> dict[str, str]:
    """Variables of a Ray that only this run can use."""
    own = {**QUIET, **OWN, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    if paths := os.environ.get("PYTHONPATH"):  # its processes start in another folder
        own["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths.split(os.pathsep))
    return own


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _folder() -> Iterator[Path]:
    """For Ray's logs and sockets. Those of runs that were killed are removed."""
    parent = Path(tempfile.gettempdir())
    parent = parent if len(os.fsencode(parent)) < LONGEST else Path("/tmp")
    for other in parent.glob(f"{PREFIX}*"):
        _remove_abandoned(other)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    handle = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    with suppress(OSError):  # somebody else's, or in use
        if time.time() - folder.stat().st_mtime > JUST_MADE:
            handle = _locked(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _locked(folder: Path) -> int:
    """The lock is the kernel's: it is gone when the process is.

    Raises:
        OSError: another process has it.
    """
    import fcntl  # Windows has none, and runs without a cluster there

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
