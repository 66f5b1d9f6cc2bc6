"""What the fuzzer starts from: for each reader small files, and what of them is damaged.

A checksum or a length that any damage contradicts would keep the fuzzer out of what lies behind it, so some targets
damage the inside only and close the file around it again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from data.tiny import weights
from weights.making import DATA, WRITERS, npz_of, pickled_tensors, safetensors, torch_legacy_of, torch_zip, torch_zip_of
from weights.making_pickles import WRITERS as PICKLES

SMALL = {name: weights()[name] for name in ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")}
NARROW = {name: array.astype(np.float16) for name, array in SMALL.items()}


@dataclass(frozen=True)
class Target:
    """One reader, or a part of it.

    Attributes:
        seeds: what is damaged.
        close: makes a file of a damaged seed.
        beside: files that must lie in its folder.
    """

    seeds: Callable[[], list[bytes]]
    close: Callable[[bytes], bytes] = bytes
    beside: tuple[Path, ...] = ()


def _safetensors_header() -> list[bytes]:
    data = WRITERS["safetensors"](SMALL)
    return [data[8 : 8 + int.from_bytes(data[:8], "little")]]


def _safetensors_closed(header: bytes) -> bytes:
    return safetensors(header, b"".join(array.tobytes() for array in SMALL.values()))


def _zip_closed(pickle: bytes) -> bytes:
    return torch_zip(pickle, {str(key): array.tobytes() for key, array in enumerate(SMALL.values())})


def _npy() -> list[bytes]:
    with zipfile.ZipFile(BytesIO(npz_of(SMALL))) as archive:
        return [archive.read(name) for name in archive.namelist()]


def _npz_closed(array: bytes) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conv1.weight.npy", array)
    return stream.getvalue()


TARGETS: dict[str, Target] = {
    "torch-zip": Target(lambda: [torch_zip_of(SMALL), torch_zip_of(NARROW)]),
    "torch-zip's pickle": Target(lambda: [pickled_tensors(SMALL)], _zip_closed),
    "torch-legacy": Target(lambda: [torch_legacy_of(SMALL)]),
    "pickle": Target(lambda: [write(SMALL) for write in PICKLES.values()]),
    "safetensors": Target(lambda: [WRITERS["safetensors"](SMALL)]),
    "safetensors' header": Target(_safetensors_header, _safetensors_closed),
    "ckpt": Target(lambda: [WRITERS["ckpt"](SMALL), WRITERS["ckpt"](NARROW)]),
    "npz": Target(lambda: [npz_of(SMALL), _npz_closed(_npy()[0])]),
    "npz's array": Target(_npy, _npz_closed),
    "h5": Target(lambda: [WRITERS["h5"](SMALL), (DATA / "tiny-keras3.weights.h5").read_bytes()]),
    "onnx": Target(lambda: [(DATA / "tiny-bn.onnx").read_bytes(), (DATA / "tiny-folded.onnx").read_bytes()]),
    "onnx's structure": Target(  # its numbers lie in another file
        lambda: [(DATA / "tiny-dynamo.onnx").read_bytes()], beside=(DATA / "tiny-dynamo.onnx.data",)
    ),
}
