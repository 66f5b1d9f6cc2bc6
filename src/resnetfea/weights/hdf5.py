"""HDF5, as much of it as Keras writes: groups, plain datasets and short texts. Every address is compared with the file.

Refused by name, because a file of weights has no use for them: soft and external links, data in other files, virtual,
chunked and compressed data, one object under two names. Keras 3.15.1's own guards against these are the list's source
(saving/saving_lib.py, safe_get_h5_dataset); its cap on the sum of all sizes is missing there (keras#23100), here the
sum can't exceed the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import from_bytes
from resnetfea.weights.hdf5_messages import Attribute, attribute, decoded, dtype, link, shape
from resnetfea.weights.hdf5_parts import SIGNATURE, UNDEFINED, WORD, Message, Parts, Root, unpack

MAX_OBJECTS = 20_000  # groups and datasets; a ResNet-152 with its optimiser's state has 4,000
MAX_DEPTH = 16  # groups in groups; Keras' nested models have 6
MAX_PATH = 2000  # characters
DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL_FILES, LAYOUT = 1, 2, 3, 6, 7, 8  # kinds of messages
FILTERS, ATTRIBUTE, SYMBOL_TABLE = 11, 12, 17
WITHOUT_MEANING = {0, 4, 5, 10, 13, 14, 16, 18, 21, 22}  # padding, fill values, comments, times, counts
COMPACT, CONTIGUOUS, CHUNKED, VIRTUAL = range(4)  # layouts


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
        if len(self.seen) > MAX_OBJECTS or depth > MAX_DEPTH or len(path) > MAX_PATH:
            raise ResnetFeaError("its HDF5 has more groups, one in the other, than any ResNet's")
        try:
            messages = self.parts.messages(address)
            texts = self._texts(messages)
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

    def _children(self, messages: list[Message], kinds: dict[int, memoryview]) -> Iterable[tuple[str, int]]:
        """Names in a group, of the old kind (a symbol table, read as it is asked for) or the new (link messages)."""
        if SYMBOL_TABLE in kinds:
            tree, heap = unpack("<QQ", kinds[SYMBOL_TABLE])
            return self.parts.entries(tree, heap, self.root)
        if LINK_INFO not in kinds:
            raise ResnetFeaError("its HDF5 holds what is neither a group nor a dataset")
        version, flags = unpack("<BB", kinds[LINK_INFO])
        (dense,) = unpack("<Q", kinds[LINK_INFO][2 + (WORD if flags & 1 else 0) :])
        if version or dense != UNDEFINED:
            raise ResnetFeaError(
                "its HDF5 keeps many names in one heap, as h5py does with track_order or libver; "
                "save it again with Keras' own save_weights"
            )
        links = [link(message.body) for message in messages if message.kind == LINK]
        if len({name for name, _ in links}) != len(links):
            raise ResnetFeaError("its HDF5 has one name twice")
        return links

    def _array(self, kinds: dict[int, memoryview], texts: dict[str, str]) -> NDArray[Any]:
        """IV.A.2 of the specification: dataspace, datatype and layout of one dataset, its bytes between them."""
        if EXTERNAL_FILES in kinds:
            raise ResnetFeaError("its numbers lie in another file; save it again with Keras' own save_weights")
        if DATASPACE not in kinds or LAYOUT not in kinds:
            raise ResnetFeaError("has no shape or no place")
        sizes, kind = shape(kinds[DATASPACE]), dtype(kinds[DATATYPE], texts)
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
            return from_bytes(kind, sizes, body[2 : 2 + size])
        if layout != CONTIGUOUS:
            raise ResnetFeaError(f"has the unknown layout {layout}")
        address, size = unpack("<QQ", body)
        if address == UNDEFINED and size:
            raise ResnetFeaError("has never been written")
        return from_bytes(kind, sizes, self.parts.take(address if size else 0, size, "its numbers"))

    def _texts(self, messages: list[Message]) -> dict[str, str]:
        """The wanted attributes. The heaps of all are taken, so that no dataset's numbers can lie in one."""
        found = {}
        for message in messages:
            if message.kind != ATTRIBUTE:
                continue
            one = attribute(message.body)
            self.parts.step(len(one.elsewhere))
            for _, address, _ in one.elsewhere:
                if address not in self.heaps and address not in (0, UNDEFINED):  # an empty text's
                    self.heaps[address] = self.parts.collection(address)
            if one.name in self.wanted:
                found[one.name] = self._text(one)
        return found

    def _text(self, one: Attribute) -> str:
        if one.text is not None:
            return decoded(one.text)
        if len(one.elsewhere) != 1:
            raise ResnetFeaError(f"its attribute {one.name} is not a text")
        ((length, address, index),) = one.elsewhere
        stored = self.heaps.get(address, {}).get(index, memoryview(b""))
        if not 0 < length <= len(stored) or length > MAX_PATH:
            raise ResnetFeaError(f"its attribute {one.name} has no text where it should be")
        return decoded(bytes(stored[:length]))


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
