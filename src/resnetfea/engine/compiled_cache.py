"""What OpenVINO compiled, kept for later processes: its import takes a fifth to a half of what making it anew takes.

Measured on two cores of a Zen 4, ResNet-50: CPU time 0.2 instead of 0.37 s in fp32 and bf16, 0.14 instead of 0.69 in
int8. An entry holds the weights once more, 94 MB and 24, so there is an end to how much is kept.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from resnetfea.cpu_guard import cpu_flags
from resnetfea.engine import cache
from resnetfea.engine.precision import telling_flags
from resnetfea.errors import ResnetFeaError

KIND, BLOB = "compiled", "network.blob"
ROOM = 512 << 20  # bytes that all entries may take: five ResNet-50 in fp32, 20 in int8

log = logging.getLogger("resnetfea")
# OpenVINO (2026.4.1) reads weights where they are mapped for as long as a request lives, and does not hold the mapping.
# So it stays until the process ends; its pages are the file's, and take no memory of their own.
_mapped: list[mmap.mmap] = []
What = dict[str, object]


def described(graph: Mapping[str, object], core: Any, **more: object) -> What:
    """All that decides what is compiled: the graph, what is made of it here, and who compiles it for which CPU.

    Args:
        graph: of the entry that it is made from.
        core: an openvino.Core.
        more: what else the caller chose.
    """
    try:
        flags = sorted(cpu_flags())
    except OSError:  # not Linux
        flags = []
    cpu = [core.get_property("CPU", "FULL_DEVICE_NAME"), telling_flags(), flags]
    return {**graph, **more, "cpu": cpu, "openvino": ov.__version__, "code": _code()}


def imported(core: Any, what: What, settings: Mapping[str, object]) -> Any | None:
    """The compiled network; None where there is none, or OpenVINO refuses it: of another version or CPU, whatever."""
    folder = cache.found(KIND, what)
    if folder is None:
        return None
    try:
        with (folder / BLOB).open("rb") as file:
            _mapped.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))  # OpenVINO takes nothing read-only
        blob = ov.Tensor(np.frombuffer(_mapped[-1], np.uint8), shared_memory=True)
        network = core.import_model(blob, "CPU", settings)
    except (OSError, ValueError, RuntimeError) as error:  # the first two: another process has just made room
        log.debug("%s: %s", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with suppress(OSError):  # a cache that can only be read
        os.utime(folder)  # used last
    return network


def keep(network: Any, what: What) -> None:
    """For later processes; those used longest ago make room. Where it can't be, they compile again."""
    try:
        folder = cache.kept(KIND, what, lambda work: _write(network, work / BLOB))
    except (OSError, ResnetFeaError) as error:  # a full disk, a quota, a broken one: nothing that this run needs
        log.warning("%s; the compiled network is not kept", error)
        return
    if folder is not None:
        _make_room(folder)


def _write(network: Any, path: Path) -> None:
    path.write_bytes(network.export_model().getbuffer())


def _make_room(newest: Path) -> None:
    """Remove the entries used longest ago, until the rest fits; never the newest."""
    used: dict[Path, tuple[float, int]] = {}
    for path in newest.parent.glob("[!.]*"):
        with suppress(OSError):  # another process is making room as well
            used[path] = (path.stat().st_mtime, (path / BLOB).stat().st_size)
    total = sum(size for _, size in used.values())
    for path in sorted(used, key=lambda one: used[one]):
        if total > ROOM and path != newest:
            shutil.rmtree(path, ignore_errors=True)
            total -= used[path][1]


@once
def _code() -> str:
    """Of this room's sources: whoever changes what is compiled need not think of what is kept."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
