"""safetensors and .ckpt files whose headers lie."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from resnetfea.weights import look
from weights.making import (
    FOUR,
    Refuse,
    ckpt_tensor,
    ckpt_value,
    field,
    safetensors,
)


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> str:
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})


SAFETENSORS = {
    "twice one name": safetensors(f'{{"bn1.weight":{entry(0, 16, [4])},"bn1.weight":{entry(16, 32, [4])}}}', FOUR * 2),
    "twice one name for one span": safetensors(
        f'{{"bn1.weight":{entry(0, 16, [4])},"bn1.weight":{entry(0, 16, [4])}}}', FOUR
    ),
    "twice one name, once empty": safetensors(
        f'{{"bn1.weight":{entry(0, 0, [0])},"bn1.weight":{entry(0, 16, [4])}}}', FOUR
    ),
    "overlap": safetensors(f'{{"bn1.weight":{entry(0, 16, [4])},"bn1.bias":{entry(8, 24, [4])}}}', FOUR + FOUR[:8]),
    "hole": safetensors(f'{{"bn1.weight":{entry(0, 16, [4])},"bn1.bias":{entry(20, 36, [4])}}}', FOUR * 2 + b"1234"),
    "hole in front": safetensors(f'{{"bn1.weight":{entry(4, 20, [4])}}}', FOUR + b"1234"),
    "more behind": safetensors(f'{{"bn1.weight":{entry(0, 16, [4])}}}', FOUR * 2),
    "beyond the end": safetensors(f'{{"bn1.weight":{entry(0, 32, [8])}}}', FOUR),
    "shape and span differ": safetensors(f'{{"bn1.weight":{entry(0, 16, [5])}}}', FOUR),
    "a product that overflows": safetensors(f'{{"bn1.weight":{entry(0, 16, [2**32, 2**32, 4])}}}', FOUR),
    "nothing, of impossible sizes": safetensors(f'{{"bn1.weight":{entry(0, 0, [0, 2**62])}}}'),
    "a negative size": safetensors(f'{{"bn1.weight":{entry(0, 16, [-2, -2])}}}', FOUR),
    "a strange type": safetensors(f'{{"bn1.weight":{entry(0, 16, [16], "F8_E4M3")}}}', FOUR),
    "a thousand dimensions": safetensors(f'{{"bn1.weight":{entry(0, 16, [1] * 999 + [4])}}}', FOUR),
    "deep": safetensors('{"bn1.weight":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "not JSON": safetensors("{" * 100),
    "not UTF-8": safetensors(b'{"\xff\xfe":1}'),
    "header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "header of 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{}",
    "no tensors": safetensors("{}"),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors(name: str, refuse: Refuse) -> None:
    refuse(SAFETENSORS[name])


GOOD_TENSOR = ckpt_tensor([4], "Float32", FOUR)
HUGE = ckpt_value("conv1.weight", [100_000, 100_000], "Float32", b"")
CKPT = {
    "44 bytes that claim 37 GB": HUGE,
    "wrong product": ckpt_value("bn1.gamma", [5], "Float32", FOUR),
    "negative size": ckpt_value("bn1.gamma", [2**64 - 4], "Float32", FOUR),
    "a product that wraps around": ckpt_value("bn1.gamma", [2**32, 2**32, 4], "Float32", FOUR),
    "nothing, of impossible sizes": ckpt_value("bn1.gamma", [0, 2**62, 4], "Float32", b""),
    "twice one tag": ckpt_value("bn1.gamma", [4], "Float32", FOUR) * 2,
    "two tags": field(1, field(1, b"bn1.gamma") + field(1, b"b") + field(2, GOOD_TENSOR)),
    "two tensors": field(1, field(1, b"bn1.gamma") + field(2, GOOD_TENSOR) + field(2, GOOD_TENSOR)),
    "two contents": field(1, field(1, b"bn1.gamma") + field(2, GOOD_TENSOR + field(3, FOUR))),
    "a tag that is not UTF-8": field(1, field(1, b"\xff\xfe") + field(2, GOOD_TENSOR)),
    "a type that is not UTF-8": field(
        1, field(1, b"bn1.gamma") + field(2, field(1, 4) + field(2, b"\xff") + field(3, FOUR))
    ),
    "an unknown type": ckpt_value("bn1.gamma", [4], "Complex64", FOUR),
    "no type": field(1, field(1, b"bn1.gamma") + field(2, field(1, 4) + field(3, FOUR))),
    "no tensor": field(1, field(1, b"bn1.gamma")),
    "a map tensor": field(1, field(1, b"bn1.gamma") + field(3, GOOD_TENSOR)),
    "a tag that is a number": field(1, field(1, 7) + field(2, GOOD_TENSOR)),
    "dims as a float": field(1, field(1, b"bn1.gamma") + field(2, b"\x0d" + struct.pack("<f", 4) + GOOD_TENSOR)),
    "many dims": ckpt_value("bn1.gamma", [1] * 100_000 + [4], "Float32", FOUR),
    "many packed dims": field(1, field(1, b"bn1.gamma") + field(2, field(1, b"\x01" * 1_000_000) + GOOD_TENSOR)),
    "packed dims cut short": field(1, field(1, b"bn1.gamma") + field(2, field(1, b"\x84\x80") + field(2, b"Float32"))),
    "a number without an end": b"\x0a" + b"\xff" * 20,
    "a group": ckpt_value("bn1.gamma", [4], "Float32", FOUR) + b"\x0b\x0c",
    "an unknown field": ckpt_value("bn1.gamma", [4], "Float32", FOUR) + field(9, b"more"),
    "a length beyond the end": ckpt_value("bn1.gamma", [4], "Float32", FOUR) + b"\x0a\xff\xff\xff\xff\x0f",
    "a name with terminal codes": ckpt_value("\x1b[2J\nconv1.weight", [5], "Float32", FOUR),
    "more than 100,000 parameters": b"".join(
        ckpt_value(f"moments.{i}" if i else "bn1.gamma", [0], "Int8", b"") for i in range(100_001)
    ),
}


@pytest.mark.parametrize("name", CKPT)
def test_ckpt(name: str, refuse: Refuse) -> None:
    refuse(CKPT[name])


def test_packed_dims_are_read(tmp_path: Path) -> None:
    content = field(1, b"\x02\x02") + field(2, b"Float32") + field(3, FOUR)
    (tmp_path / "w.ckpt").write_bytes(field(1, field(1, b"bn1.gamma") + field(2, content)))
    assert look(tmp_path / "w.ckpt").count == 1
