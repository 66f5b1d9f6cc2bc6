"""What the fuzzer starts from: for each reader small files, and what of them is damaged.

A checksum or a length that any damage contradicts would keep the fuzzer out of what lies behind it, so some targets
damage the inside only and close the file around it again.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from data.tiny import weights
from resnetfea.network.variant import Variant
from resnetfea.weights import ckpt_file, npz_file, onnx_notes, safetensors_file, write_pkl
from resnetfea.weights.card import Card
from resnetfea.weights.recipe import OPEN_NSFW
from weights.making import (
    DATA,
    WRITERS,
    Arrays,
    h5,
    mention,
    npz_of,
    number,
    pickled_tensors,
    safetensors,
    text,
    torch_legacy_of,
    torch_zip,
    torch_zip_of,
)
from weights.making_pickles import WRITERS as PICKLES
from weights.onnx_making import STYLES, model

SMALL = {name: weights()[name] for name in ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")}
NARROW = {name: array.astype(np.float16) for name, array in SMALL.items()}


@dataclass(frozen=True)
class Target:
    """One reader, or a part of it.

    Attributes:
        seeds: what is damaged.
        close: makes a file of a damaged seed.
        beside: files that must lie in its folder.
        words: what the format is made of, to be put in one another's places.
    """

    seeds: Callable[[], list[bytes]]
    close: Callable[[bytes], bytes] = bytes
    beside: tuple[Path, ...] = ()
    words: tuple[bytes, ...] = ()


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


def _written(write: Callable[[BinaryIO, Arrays, bytes], None], card: bytes, arrays: Arrays = SMALL) -> bytes:
    """By our own writers."""
    stream = BytesIO()
    write(stream, arrays, card)
    return stream.getvalue()


def _saved(save: Callable[..., None]) -> bytes:
    """By NumPy's."""
    stream = BytesIO()
    save(stream, **SMALL)
    return stream.getvalue()


def _arrays_of_all_kinds() -> list[bytes]:
    """Fortran's order, big-endian, a number alone; protocols 2 to 5; what else lies in checkpoints."""
    kernel = SMALL["layer1.0.conv1.weight"]
    arrays = {"conv1_w": kernel.T, "res_conv1_bn_s": kernel.astype(">f4"), "lr": np.float32(0.1), "epoch": 7}
    beside = {
        "blobs": OrderedDict(arrays),
        "args": Namespace(lr=0.1),
        "cfg": "网络" * 3000,
        "best": [1.5, (None, True)],
    }
    return [pickle.dumps(beside, protocol=protocol) for protocol in range(2, 6)]


def _latest() -> bytes:
    """HDF5's newer groups and headers, which h5py writes when it is told to."""

    def fill(file: Any) -> None:
        for name, array in SMALL.items():
            file[f"layers/{name.replace('.', '_')}/vars/0"] = array
            file[f"layers/{name.replace('.', '_')}/vars"].attrs["name"] = "conv1_conv"
            break
        file["conv1_bn/gamma"] = SMALL["bn1.weight"]

    return h5(fill, libver="latest")


def _without_names() -> bytes:
    """Keras 3.0's: layers are told apart by their places alone."""
    stream = BytesIO((DATA / "tiny-keras3.weights.h5").read_bytes())
    with h5py.File(stream, "r+") as file:
        file.visititems(lambda _, one: one.attrs.pop("name", None) and None)
    return stream.getvalue()


CARD = Card(
    variant=Variant(stride_in="1x1"), recipe=OPEN_NSFW, recipe_of="somebody", ecosystem="onnx", sha256="a" * 64
).to_json()
PICKLE_WORDS = (  # opcodes, names and values, of which some are allowed
    *(opcode.code.encode("latin-1") for opcode in pickletools.opcodes),
    *(
        mention(*name.rsplit(".", 1))
        for name in (
            "torch.FloatStorage collections.OrderedDict torch._utils._rebuild_tensor_v2 "
            "torch._utils._rebuild_parameter numpy.ndarray numpy.dtype numpy.core.multiarray.scalar "
            "numpy._core.numeric._frombuffer _codecs.encode builtins.getattr argparse.Namespace os.system"
        ).split()
    ),
    *(b"q\0", b"q\1", b"h\0", b"h\1", b"K\0", b")R", b"}b", b"tR", b"tb", b"\x85", b"\x86", b"\x87"),
    *(text("model"), text("latin1"), number(-1), number((1 << 63) - 1)),
)
JSON_WORDS = tuple(
    b'null true -1 0 1e999 1e-300 NaN "x" [] {} [1,2] [0,0] "3x3" "format" "depth" "crop" "__metadata__" "dtype" '
    b'"shape" "data_offsets" "F32" "BF16" "\\ud800" 99999999999999999999999999'.split()
)

TARGETS: dict[str, Target] = {
    "torch-zip": Target(lambda: [torch_zip_of(SMALL), torch_zip_of(NARROW)]),
    "torch-zip's pickle": Target(lambda: [pickled_tensors(SMALL)], _zip_closed, words=PICKLE_WORDS),
    "torch-legacy": Target(lambda: [torch_legacy_of(SMALL)], words=PICKLE_WORDS),
    "pickle": Target(lambda: [write(SMALL) for write in PICKLES.values()]),
    "pickle of all kinds": Target(
        lambda: [*_arrays_of_all_kinds(), _written(write_pkl.write, CARD, {"conv1_w": SMALL["conv1.weight"]})],
        words=PICKLE_WORDS,
    ),
    "card": Target(lambda: [CARD], lambda card: _written(ckpt_file.write, card), words=JSON_WORDS),
    "card in .npz": Target(lambda: [CARD], lambda card: _written(npz_file.write, card), words=JSON_WORDS),
    "safetensors": Target(lambda: [WRITERS["safetensors"](SMALL), _written(safetensors_file.write, CARD)]),
    "safetensors' header": Target(_safetensors_header, _safetensors_closed, words=JSON_WORDS),
    "ckpt": Target(lambda: [WRITERS["ckpt"](SMALL), WRITERS["ckpt"](NARROW), _written(ckpt_file.write, CARD)]),
    "npz": Target(
        lambda: [
            npz_of(SMALL),
            _npz_closed(_npy()[0]),
            _saved(np.savez),
            _saved(np.savez_compressed),
            _written(npz_file.write, CARD),
        ]
    ),
    "npz's array": Target(_npy, _npz_closed),
    "h5": Target(lambda: [WRITERS["h5"](SMALL), (DATA / "tiny-keras3.weights.h5").read_bytes()]),
    "h5 of other layouts": Target(
        lambda: [_latest(), _latest(), _without_names(), (DATA / "tiny-keras-legacy.h5").read_bytes()]
    ),
    "onnx": Target(lambda: [(DATA / "tiny-bn.onnx").read_bytes(), (DATA / "tiny-folded.onnx").read_bytes()]),
    "onnx of other exporters": Target(
        lambda: (
            [model(style).SerializeToString() for style in STYLES.values()]
            + [(DATA / "tiny-bn.onnx").read_bytes() + onnx_notes.entry(CARD)]
        )
    ),
    "onnx's structure": Target(  # its numbers lie in another file
        lambda: [(DATA / "tiny-dynamo.onnx").read_bytes()], beside=(DATA / "tiny-dynamo.onnx.data",)
    ),
}
