"""torch's two containers with sizes, entries and flags that lie."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look
from resnetfea.weights.torch_file import LEGACY_START, read_zip
from weights.making import (
    EMPTY_TUPLE,
    FALSE,
    FOUR,
    REDUCE,
    Refuse,
    group,
    mention,
    nested_twice,
    number,
    numbers,
    one,
    pickled,
    pickled_dict,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    zipped,
)

PKL = pickled_dict([(text("conv1.weight"), tensor(storage("Float", "0", 4), [4], [1]))])


def overlapping() -> bytes:
    """Two entries whose directory points to one place (a quine bomb's trick; zipfile sees it from 3.11.8 on)."""
    data = bytearray(zipped([("w/data.pkl", PKL), ("w/data/0", FOUR), ("w/data/1", FOUR)]))
    directory = [at for at in range(len(data)) if data[at : at + 4] == b"PK\1\2"]
    data[directory[1] + 42 : directory[1] + 46] = data[directory[0] + 42 : directory[0] + 46]
    return bytes(data)


def flagged(offset: int, flag: int) -> bytes:
    """The flags of all entries changed: at 6 in a local header, at 8 in the directory."""
    data = bytearray(torch_zip(PKL, {"0": FOUR}))
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + place + offset] |= flag
    return bytes(data)


def with_duplicates() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped([("w/data.pkl", PKL), ("w/data/0", FOUR), ("w/data/0", FOUR)])


ZIPS: dict[str, Callable[[], bytes]] = {
    "compressed": lambda: zipped([("w/data.pkl", PKL), ("w/data/0", FOUR)], zipfile.ZIP_DEFLATED),
    "a bomb": lambda: zipped([("w/data.pkl", PKL), ("w/data/0", bytes(50 << 20))], zipfile.ZIP_DEFLATED),
    "overlapping": overlapping,
    "twice one name": with_duplicates,
    "encrypted": lambda: flagged(0, 1),
    "broken CRC": lambda: torch_zip(PKL, {"0": FOUR}).replace(FOUR, FOUR[::-1]),
    "no storage": lambda: torch_zip(PKL, {}),
    "a storage too many": lambda: torch_zip(PKL, {"0": FOUR, "1": FOUR}),
    "TorchScript": lambda: zipped([("w/data.pkl", PKL), ("w/data/0", FOUR), ("w/constants.pkl", b"")]),
    "code": lambda: zipped([("w/data.pkl", PKL), ("w/data/0", FOUR), ("w/code/a.py", b"")]),
    "two roots": lambda: zipped([("w/data.pkl", PKL), ("v/data.pkl", PKL)]),
    "no root": lambda: zipped([("data.pkl", PKL), ("data/0", FOUR)]),
    "big-endian": lambda: zipped([("w/data.pkl", PKL), ("w/byteorder", b"big"), ("w/data/0", FOUR)]),
    "a zip of something else": lambda: zipped([("word/document.xml", b"<xml/>")]),
    "an empty zip behind": lambda: torch_zip(PKL, {"0": FOUR}) + zipped([]),
    "another zip behind": lambda: torch_zip(PKL, {"0": FOUR}) + torch_zip(PKL, {"0": FOUR}),
    "more behind the pickle": lambda: torch_zip(PKL + b"more", {"0": FOUR}),
    "a directory far away": lambda: torch_zip(PKL, {"0": FOUR})[:-6] + b"\xff\xff\xff\xff\0\0",
    "200,000 entries": lambda: b"PK\3\4" + b"PK\1\2" * 200_000 + zipped([]),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zip(name: str, refuse: Refuse) -> None:
    refuse(ZIPS[name]())


def test_the_zip_these_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(torch_zip(PKL, {"0": FOUR}))
    assert len(look(tmp_path / "w.pth").missing) == 264


KEYS = pickled(b"](", text("0"), b"e")
LEGACY_PKL = one(tensor(storage("Float", "0", 4, b"N"), [4], [1]))
LEGACY = {
    "the count is wrong": torch_legacy(LEGACY_PKL, KEYS, [(5, FOUR + b"1234")]),
    "the count is huge": torch_legacy(
        one(tensor(storage("Float", "0", 2**64 - 1), [1], [1])), KEYS, [(2**64 - 1, FOUR)]
    ),
    "cut short": torch_legacy(LEGACY_PKL, KEYS, [(4, FOUR[:-1])]),
    "more behind": torch_legacy(LEGACY_PKL, KEYS, [(4, FOUR), (4, FOUR)]),
    "big-endian": torch_legacy(LEGACY_PKL, KEYS, [(4, FOUR)], endian=b"\x89"),
    "keys are no list": torch_legacy(LEGACY_PKL, pickled(text("0")), [(4, FOUR)]),
    "keys are numbers": torch_legacy(LEGACY_PKL, pickled(b"](", number(0), b"e"), [(4, FOUR)]),
    "keys are lists": torch_legacy(
        one(tensor(storage("Float", "['0']", 4), [4], [1])), pickled(b"](](", text("0"), b"ee"), [(4, FOUR)]
    ),
    "keys laugh": torch_legacy(LEGACY_PKL, pickled(b"](", nested_twice(b"\x86"), b"e"), [(4, FOUR)]),
    "a key twice": torch_legacy(LEGACY_PKL, pickled(b"](", text("0"), text("0"), b"e"), [(4, FOUR)] * 2),
    "no keys": torch_legacy(LEGACY_PKL, pickled(b"]"), []),
    "a view": torch_legacy(
        one(tensor(storage("Float", "0", 4, group(text("1"), number(0), number(2))), [4], [1])), KEYS, [(4, FOUR)]
    ),
    "another protocol": LEGACY_START + pickled(number(1002)) + pickled(b"}") + LEGACY_PKL,
    "only the magic": LEGACY_START,
}


@pytest.mark.parametrize("name", LEGACY)
def test_legacy(name: str, refuse: Refuse) -> None:
    refuse(LEGACY[name])


def test_the_stream_these_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(torch_legacy(LEGACY_PKL, KEYS, [(4, FOUR)]))
    assert len(look(tmp_path / "w.pth").missing) == 264


def test_a_tensor_stored_with_the_other_sign(refuse: Refuse) -> None:
    """torch saves a lazily negated view as its base and {"neg": True} (2.13, _utils.py: get_tensor_metadata)."""
    hooks = mention("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE
    negated = b"}(" + text("neg") + b"\x88u"
    parts = storage("Float", "0", 4), number(0), numbers((4,)), numbers((1,)), FALSE, hooks
    for metadata, is_refused in ((negated, True), (b"}", False)):
        rebuilt = mention("torch._utils", "_rebuild_tensor_v2") + group(*parts, metadata) + REDUCE
        data = torch_zip(one(rebuilt), {"0": FOUR})
        if is_refused:
            refuse(data)
            with pytest.raises(ResnetFeaError, match="negated"):
                read_zip(data)
        else:
            assert read_zip(data).tensors["conv1.weight"].tolist() == [0, 1, 2, 3]
