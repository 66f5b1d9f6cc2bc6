"""What is no file, and files that are much larger in memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import read
from resnetfea.weights.hdf5_parts import SIGNATURE
from weights.making import (
    Refuse,
    field,
    pickled_dict,
    safetensors,
    storage,
    tensor,
    text,
    torch_zip,
    zipped,
)


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ResnetFeaError, match="pipe: not a regular file"):
        read(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["/dev/zero", "/", "/proc/self/mem", "/dev/null"])
def test_not_a_file(name: str) -> None:
    with pytest.raises(ResnetFeaError, match=f"^{name}: "):
        read(name)


@pytest.mark.parametrize("name", ["missing.pth", "a/b/c.pth", "n" * 5000, "nul\0.pth", "\udcff.pth", "", "opennsfw2"])
def test_no_such_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResnetFeaError):
        read(name)


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(ResnetFeaError, match="cannot be opened"):
        read(tmp_path / "a")


@pytest.mark.parametrize("data", [b"", b"\0", b"\x08", b"\x0a", b"PK", b"PK\3\4", b"{}", b"\x89PNG", b"\0" * 1000])
def test_not_weights(data: bytes, refuse: Refuse) -> None:
    refuse(data)


def shared_zip() -> bytes:
    """265 tensors that are all cut across 64 MB of numbers: 17 GB once each is copied."""
    count = 4096 * 4096
    views = tensor(storage("Float", "0", count), [4096, 4096, 1, 1], [1, 4096, 1, 1])
    names = [
        f"layer{s}.{b}.conv{c}.weight" for s, n in ((1, 3), (2, 4), (3, 6), (4, 3)) for b in range(n) for c in (1, 3)
    ]
    return torch_zip(pickled_dict([(text(name), views) for name in names]), {"0": bytes(4 * count)})


def large_header() -> bytes:
    """90 MB of names in a header, under the format's limit of 100 MB."""
    names = (f'"{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(1_500_000))
    return safetensors("{" + ",".join(names) + "}")


def hdf5_messages() -> bytes:
    """A superblock, and one object header of 25 million empty messages."""
    header = b"OHDR\2\2" + struct.pack("<I", 100_000_000) + bytes(100_000_004)
    addresses = struct.pack("<4Q", 0, (1 << 64) - 1, 48 + len(header), 48)
    return SIGNATURE + bytes((3, 8, 8, 0)) + addresses + bytes(4) + header


def hdf5_texts() -> bytes:
    """The same, of attributes that say 6 million times where a text is."""
    count = 4000
    attribute = struct.pack("<BBHHHB", 3, 0, 1, 8, 4, 0) + b"a" + struct.pack("<B3xI", 0x19, 16) + bytes(4)
    message = struct.pack("<BHB", 12, len(attribute) + 16 * count, 0) + attribute + bytes(16 * count)
    body = message * 1500
    header = b"OHDR\2\2" + struct.pack("<I", len(body)) + body + bytes(4)
    addresses = struct.pack("<4Q", 0, (1 << 64) - 1, 48 + len(header), 48)
    return SIGNATURE + bytes((3, 8, 8, 0)) + addresses + bytes(4) + header


def npz_bomb(size: int) -> bytes:
    """0.6 MB that unpack to 600 MB."""
    return zipped([("bn1.weight.npy", bytes(size))], zipfile.ZIP_DEFLATED)


WORST: dict[str, Callable[[], bytes]] = {
    "shared numbers": shared_zip,
    "large header": large_header,
    "empty nodes": lambda: field(1, 8) + field(7, b"\x0a\x00" * 50_000_000),
    "zip entries": lambda: b"PK\3\4" + b"PK\1\2".ljust(46, b"\0") * 2_000_000 + zipped([]),
    "npz bomb": lambda: npz_bomb(600 << 20),
    "npz that says it is small": lambda: npz_bomb(600 << 20).replace(struct.pack("<I", 600 << 20), b"\t\0\0\0"),
    "packed dims": lambda: field(1, field(1, b"a") + field(2, field(1, b"\x01" * 100_000_000))),
    "messages of HDF5": hdf5_messages,
    "texts of HDF5": hdf5_texts,
    "unknown fields": lambda: field(1, field(1, b"a") + field(2, field(9, 1) * 50_000_000)),
}
LIMITED = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import read
try:
    read(sys.argv[1])
except ResnetFeaError:
    # not ru_maxrss: that counts pytest's own peak in, which the child has between fork and exec
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST)
def test_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "worst.pth"
    path.write_bytes(WORST[name]())
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout, "it was read"
    assert int(done.stdout) < 2 << 20  # kilobytes
