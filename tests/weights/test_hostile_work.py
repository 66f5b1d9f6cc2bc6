"""Small files that made a reader work for minutes or take gigabytes: each was read so, once."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from resnetfea.network.variant import Variant
from resnetfea.weights import ecosystems
from resnetfea.weights.ecosystem import WRAPPERS
from resnetfea.weights.torch_file import LEGACY_START
from resnetfea.weights.wrappers import NAMES
from weights.making import (
    DATA,
    FOUR,
    REDUCE,
    ckpt_value,
    field,
    group,
    mention,
    npy,
    number,
    numbers,
    pickled,
    pickled_dict,
    safetensors,
    storage,
    tensor,
    text,
    torch_zip,
)
from weights.making_pickles import BUILD, python2_dtype, python2_string, short_text
from weights.test_hostile_files import LIMITED

ALL_HASH_TO_0 = (1 << 61) - 1  # and its multiples, where a Python has 64 bits
GOOD = text("conv1.weight") + tensor(storage("Float", "0", 4), [4], [1])


def of_numbers(count: int) -> Iterator[bytes]:
    """Entries of a dictionary that are no tensors."""
    return (b"J" + struct.pack("<i", index) + b"N" for index in range(count))


def not_tensors() -> bytes:
    """Each was appended to a tuple, which is copied each time."""
    return torch_zip(pickled(b"}(", GOOD, *of_numbers(240_000), b"u"), {"0": FOUR})


def many_ways() -> bytes:
    """12^3 ways of wrappers lead to one dictionary without tensors."""
    inner = b"}(" + b"".join(of_numbers(240_000)) + text("x") + b"}u"
    for index in range(3):
        stored = b"q" + bytes([index]) + b"".join(text(name) + b"h" + bytes([index]) for name in NAMES[1:])
        inner = b"}(" + text(NAMES[0]) + inner + stored + b"u"
    return torch_zip(pickled(inner), {})


def one_hash() -> bytes:
    return pickled(b"}(", *(number(ALL_HASH_TO_0 * index) + b"N" for index in range(1, 100_000)), b"u")


def one_hash_in_the_memo() -> bytes:
    return pickled(b"N", *(b"p%d\n" % (ALL_HASH_TO_0 * index) for index in range(1, 100_000)))


def encoded_again_and_again(size: int = 4_000_000, times: int = 2000) -> bytes:
    """8 GB of bytes from one text."""
    arguments = group(text("a" * size), text("latin1")) + b"q\x02"
    return pickled(mention("_codecs", "encode") + b"q\x00" + arguments + REDUCE, b"h\x00h\x02R" * times, b"t")


def filled_again_and_again() -> bytes:
    """8 GB of big-endian arrays, each turned around into one of its own, from one string."""
    zeros = np.zeros(1_000_000, "f4")
    arguments = group(mention("numpy", "ndarray"), group(number(0)), short_text(b"b")) + b"q\x01"
    stored = python2_dtype(zeros, b">") + b"\x89" + python2_string(zeros.tobytes())
    state = group(number(1), numbers(zeros.shape), stored) + b"q\x02"
    made = mention("numpy.core.multiarray", "_reconstruct") + b"q\x00" + arguments + REDUCE + state + BUILD
    return pickled(made, b"h\x00h\x01Rh\x02b" * 2000, b"t")


def five_pickles() -> bytes:
    """A legacy stream's, each of them long."""
    some = b"".join(of_numbers(240_000))
    head = pickled(b"}(", text("little_endian"), b"\x88", some, b"u")
    return (
        LEGACY_START + pickled(number(1001)) + head + pickled(b"}(", some, b"u") + pickled(b"](", b"N" * 490_000, b"e")
    )


def wide_text() -> bytes:
    """300 MB of letters and one that makes Python take four bytes for each."""
    data = b"a" * 300_000_000 + "😀".encode()
    return b"\x80\x02X" + struct.pack("<I", len(data)) + data + b"."


def views(names: Iterable[str], kind: str, count: int, size: list[int], width: int) -> bytes:
    """Tensors that are all the same numbers."""
    one = tensor(storage(kind, "0", count), size, [1] * len(size))
    return torch_zip(pickled_dict((text(name), one) for name in names), {"0": bytes(width * count)})


def names_of(ecosystem: str, *endings: str) -> list[str]:
    (found,) = (one for one in ecosystems.ECOSYSTEMS if one.name == ecosystem)
    table = found.to_canonical(Variant(depth=152), "")
    return [name for name, ours in table.items() if ours.endswith(endings)]


def pyramid_of_views() -> bytes:
    """The neck was not counted: 120 MB, and eight copies of float32."""
    width = 2600
    count = width * width * 9
    names = [("conv1.weight", [64, 3, 7, 7])]
    for level, channels in enumerate((256, 512, 1024, 2048)):
        names += [(f"fpn.inner_blocks.{level}.0.weight", [width, channels, 1, 1])]
        names += [(f"fpn.layer_blocks.{level}.0.weight", [width, width, 3, 3])]
        names += [(f"fpn.{kind}_blocks.{level}.0.bias", [width]) for kind in ("inner", "layer")]
    items = [(text(name), tensor(storage("Half", "0", count), size, [1] * len(size))) for name, size in names]
    return torch_zip(pickled_dict(items), {"0": bytes(2 * count)})


def doubles() -> bytes:
    """One weight of 350 MB; comparing it with its float32 took three times as much."""
    count = 300_000
    one = tensor(storage("Double", "0", count * 147), [count, 3, 7, 7], [147, 49, 7, 1])
    return torch_zip(pickled_dict([(text("conv1.weight"), one)]), {"0": bytes(8 * count * 147)})


def ckpt_of_names(names: Iterable[str]) -> bytes:
    return b"".join(ckpt_value(name, [0], "Int8", b"") for name in names)


def names_of_every_kind() -> bytes:
    """A first convolution of every ecosystem behind every wrapper, so that all of them are asked about all the rest."""
    heads = {
        wrapper + prefix + one.theirs("conv1.weight")
        for one in ecosystems.ECOSYSTEMS
        for wrapper in WRAPPERS
        for prefix in one.prefixes
    }
    return ckpt_of_names([*sorted(heads), *(f"{WRAPPERS[index % 7]}q{index}" for index in range(99_000 - len(heads)))])


def header_of_names(*names: str) -> bytes:
    entries = (f'"{name}":{{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}' for name in ("conv1.weight", *names))
    return safetensors("{" + ",".join(entries) + "}")


def inflated() -> bytes:
    """13 MB that unpack to 700 MB, 56 times as much: noise between zeros."""
    noise, size = np.random.default_rng(0).bytes(1 << 14), 700 << 20
    head, block = npy("'<f4'", f"({size // 4},)", b""), noise.ljust(1 << 20, b"\0")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts, crc = [packer.compress(head)], zlib.crc32(head)
    for _ in range(700):
        parts.append(packer.compress(block))
        crc = zlib.crc32(block, crc)
    packed = b"".join([*parts, packer.flush()])
    return one_entry(b"bn1.weight.npy", packed, struct.pack("<HHHIII", 8, 0, 0, crc, len(packed), len(head) + size))


def one_entry(name: bytes, packed: bytes, method: bytes, extra: bytes = b"", times: int = 1) -> bytes:
    """A zip; `method` is the 18 bytes from an entry's method to its size."""
    local = b"PK\3\4" + struct.pack("<HH", 20, 0) + method + struct.pack("<HH", len(name), 0) + name + packed
    entry = b"PK\1\2" + struct.pack("<HHH", 20, 20, 0) + method + struct.pack("<HH", len(name), len(extra))
    entry += bytes(14) + name + extra
    return local + entry * times + b"PK\5\6" + struct.pack("<4xHHIIH", times, times, len(entry) * times, len(local), 0)


def notes_in_a_zip() -> bytes:
    """zipfile takes four bytes off each note, and copies the rest of it, until nothing is left."""
    return one_entry(b"w/data.pkl", b"", bytes(18), bytes(65_532), times=500)


def edited(change: Callable[[onnx.GraphProto, onnx.NodeProto], object]) -> bytes:
    model = onnx.load(DATA / "tiny-bn.onnx")
    change(model.graph, next(node for node in model.graph.node if node.op_type == "Conv"))
    return bytes(model.SerializeToString())


def channels_of_nothing(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """No numbers, but a norm was made for each of 2^40 channels."""
    weight = next(one for one in graph.initializer if one.name == conv.input[1])
    weight.dims[:], weight.raw_data = [1 << 40, 0, 7, 7], b""


def widened(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """300 MB of half precision, made 1.2 GB of double."""
    count = 150_000_000
    graph.initializer.append(TensorProto(name="half", data_type=10, dims=[count], raw_data=bytes(2 * count)))
    graph.node.append(helper.make_node("Cast", ["half"], ["wide"], to=TensorProto.DOUBLE))
    conv.input[1] = "wide"


def shared_bias(graph: onnx.GraphProto, conv: onnx.NodeProto) -> None:
    """Every convolution has one bias of 32 MB, and every norm one mean of 32 MB, which it lowers."""
    count = 8_000_000
    graph.initializer.append(TensorProto(name="shared", data_type=1, dims=[count], raw_data=b"\1" * 4 * count))
    for node in graph.node:
        if node.op_type == "Conv":
            node.input[2:] = ["shared"]
        if node.op_type == "BatchNormalization":
            node.input[3] = "shared"


def made(operator: bytes, output: bytes, *inputs: bytes) -> bytes:
    """A graph's field: one node."""
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator))


def row_of_pads() -> bytes:
    """36,000 Pad nodes one behind the other, a convolution on each: the way to each was kept."""
    nodes = (
        made(b"Pad", b"v%d" % (index + 1), b"v%d" % index) + made(b"Conv", b"c%d" % index, b"v%d" % index, b"w")
        for index in range(36_000)
    )
    return field(1, 8) + field(7, field(11, field(1, b"v0")) + b"".join(nodes))


WORK: dict[str, Callable[[], bytes]] = {
    "what is no tensor": not_tensors,
    "many ways to one dictionary": many_ways,
    "keys of one hash": one_hash,
    "memo numbers of one hash": one_hash_in_the_memo,
    "a text encoded 2,000 times": encoded_again_and_again,
    "the same in a zip": lambda: torch_zip(encoded_again_and_again(), {}),
    "an array filled 2,000 times": filled_again_and_again,
    "five pickles": five_pickles,
    "a wide text": wide_text,
    "bfloat16, shared by 500": lambda: views((f"bn{i}" for i in range(500)), "BFloat16", 10_000_000, [1], 2),
    "norms to be filled": lambda: views(
        names_of("detectron1", ".bias", "1.weight"), "Float", 2_500_000, [2_500_000], 4
    ),
    "biases to be absorbed": lambda: views(
        names_of("keras", "v1.bias", "v2.bias", "v3.bias", "running_mean"), "Float", 2_500_000, [2_500_000], 4
    ),
    "a pyramid of views": pyramid_of_views,
    "doubles": doubles,
    "a name of 300 MB": lambda: ckpt_of_names(["a" * 300_000_000 + "😀"]),
    "a name of dots": lambda: ckpt_of_names(["conv1.weight", "bbox_assigner" + "." * 1_000_000 + "\n"]),
    "a name of names": lambda: header_of_names("attnpool." * 200_000 + "\\n"),
    "99,000 names of every kind": names_of_every_kind,
    "an .npz of 56 times its size": inflated,
    "notes in a zip": notes_in_a_zip,
    "channels of nothing": lambda: edited(channels_of_nothing),
    "a tensor that is widened": lambda: edited(widened),
    "a row of pads": row_of_pads,
    "one bias for all": lambda: edited(shared_bias),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORK)
def test_in_seconds_and_less_than_a_gigabyte(name: str, tmp_path: Path) -> None:
    path = tmp_path / "work.pth"
    path.write_bytes(WORK[name]())
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout, "it was read"
    assert int(done.stdout) < 1 << 20  # kilobytes
