"""HDF5, as much of it as Keras writes: groups, plain datasets and short texts. Every address is compared with the file.

Refused by name, because a file of weights has no use for them: soft and external links, data in other files, virtual,
chunked and compressed data, one object under two names. Keras 3.15.1's own guards against these are the list's source
(saving/saving_lib.py, safe_get_h5_dataset); its cap on the sum of all sizes is missing there (keras#23100), here the
sum can't exceed the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK, MAX_TENSORS, from_bytes
from resnetfea.weights.hdf5_parts import SIGNATURE, UNDEFINED, WORD, Message, Parts, Root, text, unpack

MAX_DEPTH = 16  # groups in groups; Keras' nested models have 6
MAX_PATH = 2000  # characters
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT = 1, 2, 3, 6, 7, 8  # kinds of messages
FILTERS, ATTRIBUTE, SYMBOL_TABLE = 11, 12, 17
WITHOUT_MEANING = {0, 4, 5, 10, 13, 14, 16, 18, 21, 22}  # padding, fill values, comments, times, counts
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)  # layouts
HARD, SOFT, OUTSIDE = 0, 1, 64  # links
FIXED_TEXT, OPAQUE, VARIABLE = 3, 5, 9  # classes of types
OTHER_CLASSES = {
    2: "times", 3: "texts", 4: "bit fields", 5: "opaque bytes", 6: "compounds", 7: "references", 8: "enumerations",
    9: "lists of any length", 10: "arrays",
}  # fmt: skip
OPAQUE_BFLOAT16 = 2  # bytes; Keras 3 stores bfloat16 as these, with the attribute dtype beside


@dataclass
class Content:
    """Arrays by path (`layers/conv2d/vars/0`), and for groups and datasets the texts among their attributes."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)


def looks_like(data: bytes) -> bool:
    """HDF5's first eight bytes."""
    return data.startswith(SIGNATURE)


def read(data: bytes, wanted: frozenset[str]) -> Content:
    """All datasets of the file, and the wanted attributes' texts."""
    return _Walk(data, wanted).content()


class _Walk:
    """Goes through the groups once."""

    def __init__(self, data: bytes, wanted: frozenset[str]) -> None:
        self.parts = Parts(data)
        self.root: Root = self.parts.root()
        self.wanted = wanted
        self.found = Content()
        self.seen: set[int] = set()
        self.heaps: dict[int, dict[int, memoryview]] = {}

    def content(self) -> Content:
        self._object(self.root.address, "", 0)
        self.parts.check_overlaps()
        return self.found

    def _object(self, address: int, path: str, depth: int) -> None:
        if address in self.seen:
            raise ResnetFeaError(f"{path or 'its root'} is there under two names")
        self.seen.add(address)
        if len(self.seen) > MAX_TENSORS or depth > MAX_DEPTH or len(path) > MAX_PATH:
            raise ResnetFeaError("its HDF5 has more groups, one in the other, than any ResNet's")
        try:
            messages = self.parts.messages(address)
            texts = dict(self._text(message.body) for message in messages if self._is_wanted(message))
            kinds = _single(messages)
            if texts:
                self.found.texts[path] = texts
            if DATATYPE in kinds:
                self.found.arrays[path] = self._array(kinds, texts)
                return
        except ResnetFeaError as error:
            raise ResnetFeaError(f"{path or 'its root'}: {error}") from error
        for name, child in self._children(messages, kinds):
            self._object(child, f"{path}/{name}" if path else name, depth + 1)

    def _children(self, messages: list[Message], kinds: dict[int, memoryview]) -> list[tuple[str, int]]:
        """Names in a group, of the old kind (a symbol table) or the new (link messages)."""
        if SYMBOL_TABLE in kinds:
            tree, heap = unpack("<QQ", kinds[SYMBOL_TABLE])
            return list(self.parts.entries(tree, heap, self.root))
        if LINK_INFO not in kinds:
            raise ResnetFeaError("its HDF5 holds what is neither a group nor a dataset")
        version, flags = unpack("<BB", kinds[LINK_INFO])
        (dense,) = unpack("<Q", kinds[LINK_INFO][2 + (WORD if flags & 1 else 0) :])
        if version or dense != UNDEFINED:
            raise ResnetFeaError(
                "its HDF5 keeps many names in one heap, as h5py does with track_order or libver; "
                "save it again with Keras' own save_weights"
            )
        links = [_link(message.body) for message in messages if message.kind == LINK]
        if len({name for name, _ in links}) != len(links):
            raise ResnetFeaError("its HDF5 has one name twice")
        return links

    def _array(self, kinds: dict[int, memoryview], texts: dict[str, str]) -> NDArray[Any]:
        """IV.A.2 of the specification: dataspace, datatype and layout of one dataset, its bytes between them."""
        if EXTERNAL_FILES in kinds:
            raise ResnetFeaError("its numbers lie in another file; save it again with Keras' own save_weights")
        if DATASPACE not in kinds or LAYOUT not in kinds:
            raise ResnetFeaError("has no shape or no place")
        shape, dtype = _shape(kinds[DATASPACE]), _dtype(kinds[DATATYPE], texts)
        version, layout = unpack("<BB", kinds[LAYOUT])
        if version not in (3, 4):
            raise ResnetFeaError(f"is laid out in version {version}, from before HDF5 1.6.3")
        if layout == VIRTUAL:
            raise ResnetFeaError("is virtual: its numbers lie elsewhere; save it again with Keras' own save_weights")
        if layout == CHUNKED or FILTERS in kinds:
            raise ResnetFeaError("is saved in chunks or with compression; save it again with Keras' own save_weights")
        body = kinds[LAYOUT][2:]
        if layout == COMPACT:
            (size,) = unpack("<H", body)
            return from_bytes(dtype, shape, body[2 : 2 + size])
        if layout != CONTIGUOUS:
            raise ResnetFeaError(f"has the unknown layout {layout}")
        address, size = unpack("<QQ", body)
        if address == UNDEFINED and size:
            raise ResnetFeaError("has never been written")
        return from_bytes(dtype, shape, self.parts.take(address if size else 0, size, "its numbers"))

    def _is_wanted(self, message: Message) -> bool:
        return message.kind == ATTRIBUTE and _attribute(message.body)[0] in self.wanted

    def _text(self, body: memoryview) -> tuple[str, str]:
        """Name and text of an attribute."""
        name, kind, data = _attribute(body)
        (head, size) = unpack("<B3xI", kind)
        if head & 15 == FIXED_TEXT:
            return name, _decoded(bytes(data[:size]).rstrip(b"\0"))
        if head & 15 != VARIABLE or kind[1] & 15 != 1:  # 1: a text, not a list
            raise ResnetFeaError(f"its attribute {name} is not a text")
        length, address, index = unpack("<IQI", data)
        if address not in self.heaps:
            self.heaps[address] = self.parts.collection(address)
        stored = self.heaps[address].get(index, memoryview(b""))
        if not 0 < length <= len(stored) or length > MAX_PATH:
            raise ResnetFeaError(f"its attribute {name} has no text where it should be")
        return name, _decoded(bytes(stored[:length]))


def _single(messages: list[Message]) -> dict[int, memoryview]:
    """The messages that an object has but once; a kind that is not known refuses the file."""
    kinds: dict[int, memoryview] = {}
    for kind, body in messages:
        if kind in WITHOUT_MEANING or kind in (LINK, ATTRIBUTE):
            continue
        if kind not in (DATASPACE, LINK_INFO, DATATYPE, EXTERNAL_FILES, LAYOUT, FILTERS, SYMBOL_TABLE) or kind in kinds:
            raise ResnetFeaError(f"has message {kind:#x} twice, or it is none that Keras' files have")
        kinds[kind] = body
    return kinds


def _link(body: memoryview) -> tuple[str, int]:
    """IV.A.2.g: name and address."""
    version, flags = unpack("<BB", body)
    at = 2
    kind = HARD
    if flags & 8:
        (kind,) = unpack("<B", body[at:])
        at += 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)  # creation order, character set
    width = 1 << (flags & 3)
    length = int.from_bytes(body[at : at + width], "little")
    rest = body[at + width :]
    if version != 1 or length > len(rest):
        raise ResnetFeaError("a link in its HDF5 is broken: cut short?")
    name = text(bytes(rest[:length]))
    if kind != HARD:
        kinds = {SOFT: "a soft link", OUTSIDE: "a link to another file"}
        raise ResnetFeaError(f"{name} is {kinds.get(kind, 'a strange link')}, which no weights need")
    return name, *unpack("<Q", rest[length:])  # type: ignore[return-value]


def _shape(body: memoryview) -> tuple[int, ...]:
    """IV.A.2.b; () is one number. The largest shape it may grow to says nothing about the bytes."""
    version, rank, flags, kind = unpack("<BBBB", body)
    if version not in (1, 2) or (version == 2 and kind != (1 if rank else 0)) or flags > 1:
        raise ResnetFeaError("has no shape that weights have")
    if rank > MAX_RANK:
        raise ResnetFeaError(f"has {rank} dimensions")
    return unpack(f"<{rank}Q", body[8 if version == 1 else 4 :])


def _dtype(body: memoryview, texts: dict[str, str]) -> str:
    """IV.A.2.d: a numpy type, by comparing every property that the type has."""
    head, size = unpack("<B3xI", body)
    if head & 15 == OPAQUE and size == OPAQUE_BFLOAT16 and texts.get("dtype") == BFLOAT16:
        return BFLOAT16
    known = TYPES.get(bytes([head & 15]) + bytes(body[1:20])) or TYPES.get(bytes([head & 15]) + bytes(body[1:12]))
    if known is None or head >> 4 not in (1, 3):
        what = OTHER_CLASSES.get(head & 15, f"{size}-byte numbers, big-endian or of a strange build")
        raise ResnetFeaError(f"holds {what}, which no ResNet's weights are")
    return known


def _float(size: int, sign: int, exponent_at: int, exponent: int, mantissa: int, bias: int) -> bytes:
    """IEEE, little-endian (0x20: the mantissa's first bit is implied)."""
    return struct.pack("<BBBBIHHBBBBI", 1, 0x20, sign, 0, size, 0, 8 * size, exponent_at, exponent, 0, mantissa, bias)


def _integer(size: int, signed: bool) -> bytes:
    return struct.pack("<BBBBIHH", 0, 8 if signed else 0, 0, 0, size, 0, 8 * size)


TYPES = {
    _float(2, 15, 10, 5, 10, 15): "f2",
    _float(4, 31, 23, 8, 23, 127): "f4",
    _float(8, 63, 52, 11, 52, 1023): "f8",
    _float(2, 15, 7, 8, 7, 127): BFLOAT16,
    **{_integer(size, True): f"i{size}" for size in (1, 2, 4, 8)},
    **{_integer(size, False): f"u{size}" for size in (1, 2, 4, 8)},
}


def _attribute(body: memoryview) -> tuple[str, memoryview, memoryview]:
    """IV.A.2.m: name, type and content of an attribute."""
    version, flags, name, kind, space = unpack("<BBHHH", body)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise ResnetFeaError("has an attribute of an unknown version or a shared type")
    step = 8 if version == 1 else 1  # version 1 pads each part to eight bytes
    at = 9 if version == 3 else 8  # version 3 has a character set more
    ends = [at]
    for size in (name, kind, space):
        ends.append(ends[-1] + (size + step - 1) // step * step)
    if ends[-1] > len(body):
        raise ResnetFeaError("has an attribute that is cut short")
    stored = bytes(body[at : at + name])
    return _decoded(stored.rstrip(b"\0")), body[ends[1] : ends[2]], body[ends[3] :]


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ResnetFeaError("has an attribute that is not UTF-8") from error
