"""One whole process: from its start to its end, with all CPU time and the memory it took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tree import Watch
from resnetfea import cpu_guard

PEERS = Path(".venv-bench/bin/python").absolute()
CACHE = Path("build/bench/cache").absolute()


class NotOffered(Exception):
    """The command does not know these flags."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a process did.

    wall: seconds; cpu: seconds of all its processes; peak: bytes of its own memory, and of its workers' where all were
    watched.
    """

    out: str
    wall: float
    cpu: float
    peak: int


def ours(module: str, *arguments: object) -> list[str]:
    """A module in the environment that resnetfea is in."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def theirs(module: str, *arguments: object) -> list[str]:
    """A module in the peers' environment."""
    return [str(PEERS), "-m", module, *map(str, arguments)]


def run(command: Sequence[str], *, watched: bool = False) -> Done:
    """Run it and wait.

    Args:
        command: what.
        watched: whether peak is of all its processes together; looking takes some time from them.

    Raises:
        NotOffered: it ended with 2, wrong usage.
        SystemExit: it failed otherwise; its own words are shown.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment(command[0]))
        watch = Watch(process.pid) if watched else None
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: nothing of ours stays behind
            process.kill()
            process.wait()
            raise
        finally:
            together = watch.stop() if watch else None
        wall = time.perf_counter() - began
        process.returncode = code = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    if code == 2 and "resnetfea" in command:
        raise NotOffered(texts[1].strip())
    if code:
        raise SystemExit(f"{' '.join(command)}\nended with {code}:\n{texts[1][-3000:]}")
    peak = used.ru_maxrss * 1024 if together is None else together
    return Done(out=texts[0], wall=wall, cpu=used.ru_utime + used.ru_stime, peak=peak)


def environment(python: str) -> dict[str, str]:
    """A child's. The CPU guard of this process, which is MindSpore's, would halve the peers' speed."""
    variables = dict(os.environ) | {"RESNETFEA_CACHE": str(CACHE)}
    if cpu_guard.is_ours():
        del variables[cpu_guard.LIMIT], variables[cpu_guard.OVERRULE]
    if python == str(PEERS):
        variables.pop("PYTHONPATH", None)
    return variables
