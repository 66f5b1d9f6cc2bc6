"""The parts an HDF5 file is built of: superblock, object headers, heaps and tree nodes, each taken once.

Layout from the HDF5 File Format Specification 3.0 (HDF Group), by its section. Of it only what h5py writes by default,
and its small files with libver="latest", is read; whatever else a part says refuses the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from resnetfea.errors import ResnetFeaError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = (1 << 64) - 1  # an address that leads nowhere
WORD = 8  # bytes of an address and of a length; h5py writes no other
DEFAULT_LEAF_K, DEFAULT_NODE_K = 4, 16  # where the superblock is a newer one, which has no place for them
MAX_NAME = 1000  # characters of one name; Keras' longest have 60
MAX_TREE = 8  # levels; two hold 8,000 names
ENTRY = 40  # bytes of a symbol table's entry
SOFT_LINK = 2  # an entry's cache type
SHARED = 2  # a message's flag: its body lies elsewhere
CONTINUATION = 0x10  # a message that says where the header goes on
MAX_STEPS = 500_000  # parts, messages and texts, seconds of work; a ResNet-152 with its optimiser's state has 50,000


class Message(NamedTuple):
    """One statement of an object header, e.g. the shape."""

    kind: int
    body: memoryview


class Root(NamedTuple):
    """What the superblock says: where the first group is, and how large tree nodes are."""

    address: int
    leaf_k: int
    node_k: int


class Parts:
    """The file's bytes. No byte is taken for two things, so the work never exceeds the file's size."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self._taken: list[tuple[int, int]] = []
        self._bytes = self._steps = 0

    def take(self, start: int, size: int, what: str) -> memoryview:
        """A run of bytes, for this and nothing else."""
        if start < 0 or size < 0 or start + size > len(self.data):
            raise ResnetFeaError(f"{what} lies beyond the end of its HDF5: cut short?")
        self.step()
        self._bytes += size
        if self._bytes > len(self.data):
            raise ResnetFeaError("parts of its HDF5 overlap")
        if size:
            self._taken.append((start, start + size))
        return self.data[start : start + size]

    def step(self, count: int = 1) -> None:
        """Counts the work."""
        self._steps += count
        if self._steps > MAX_STEPS:
            raise ResnetFeaError("its HDF5 has more parts than any ResNet's")

    def check_overlaps(self) -> None:
        """To be asked when all has been taken."""
        self._taken.sort()
        if any(end > start for (_, end), (start, _) in zip(self._taken, self._taken[1:], strict=False)):
            raise ResnetFeaError("parts of its HDF5 overlap")

    def root(self) -> Root:
        """II.A Disk Format: Level 0A. The file must end where the superblock says."""
        version = self.data[8] if len(self.data) > 48 else 99
        if version in (0, 1):
            head = self.take(0, 96 + 4 * version, "the superblock")
            sizes, (leaf_k, node_k) = bytes(head[13:15]), struct.unpack_from("<HH", head, 16)
            base, _, end, driver, _, address = struct.unpack_from("<6Q", head, 24 + 4 * version)
            plain = driver == UNDEFINED
        elif version in (2, 3):
            head = self.take(0, 48, "the superblock")
            sizes, leaf_k, node_k = bytes(head[9:11]), DEFAULT_LEAF_K, DEFAULT_NODE_K
            base, extension, end, address = struct.unpack_from("<4Q", head, 12)
            plain = extension == UNDEFINED
        else:
            raise ResnetFeaError(f"its HDF5 is cut short or of version {version}")
        if end != len(self.data):
            raise ResnetFeaError(f"its HDF5 says it has {end:,} bytes, and {len(self.data):,} are there: cut short?")
        if base or sizes != bytes((WORD, WORD)) or not plain:
            raise ResnetFeaError("its HDF5 is built in a way that Keras' own is not")
        return Root(address, leaf_k, node_k)

    def messages(self, address: int) -> list[Message]:
        """IV.A Data Object Headers, of both versions. Their checksums are not asked: they keep nobody out."""
        start = self.take(address, 16, "an object header")
        if bytes(start[:5]) == b"OHDR\2":
            flags = start[5]
            at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)  # times of change; when attributes move
            width = 1 << (flags & 3)
            size = int.from_bytes(self._within(address + at, width), "little")
            self.take(address + 16, max(at + width + size + 4 - 16, 0), "an object header")
            block = self.data[address + at + width :][:size]
            return self._messages(block, 2, tracked=bool(flags & 4))
        version, _, count, _, size = struct.unpack_from("<BBHII", start)
        if version != 1:
            raise ResnetFeaError("an object of its HDF5 has a header of an unknown version")
        found = self._messages(self.take(address + 16, size, "an object header"), 1)
        if len(found) != count:
            raise ResnetFeaError(f"an object of its HDF5 has {len(found)} messages where {count} are announced")
        return found

    def _within(self, start: int, size: int) -> memoryview:
        if start + size > len(self.data):
            raise ResnetFeaError("an object header lies beyond the end of its HDF5: cut short?")
        return self.data[start : start + size]

    def _messages(self, block: memoryview, version: int, tracked: bool = False) -> list[Message]:
        """Those of this block and of all that continue it; the blocks' bytes, each taken once, are the bound."""
        found: list[Message] = []
        blocks = [block]
        head = "<HHB3x" if version == 1 else "<BHBxx" if tracked else "<BHB"
        for block in blocks:
            while len(block) >= struct.calcsize(head):
                kind, size, flags = struct.unpack_from(head, block)
                self.step()
                body, block = block[struct.calcsize(head) :][:size], block[struct.calcsize(head) + size :]
                if len(body) != size:
                    raise ResnetFeaError("a message in its HDF5 is longer than its header: cut short?")
                if flags & SHARED:
                    raise ResnetFeaError("its HDF5 shares types between objects; Keras does not")
                found.append(Message(kind, body))
                if kind == CONTINUATION:
                    start, length = unpack("<QQ", body)
                    more = self.take(start, length, "an object header")
                    if version == 2:
                        if bytes(more[:4]) != b"OCHK" or length < 8:
                            raise ResnetFeaError("an object header in its HDF5 goes on where there is none")
                        more = more[4:-4]
                    blocks.append(more)
        return found

    def entries(self, tree: int, heap: int, root: Root) -> Iterator[tuple[str, int]]:
        """III.A.1, B and D: the names of an old group, ascending, each with the address of its object."""
        names, last = self._heap(heap), ""
        for leaf in self._leaves(tree, root.node_k, None):
            node = self.take(leaf, 8 + 2 * root.leaf_k * ENTRY, "a group's names")
            magic, version, count = struct.unpack_from("<4sBxH", node)
            if magic != b"SNOD" or version != 1 or count > 2 * root.leaf_k:
                raise ResnetFeaError("a group's names are not where its HDF5 says")
            for at in range(8, 8 + count * ENTRY, ENTRY):
                self.step()
                offset, address, cached = struct.unpack_from("<QQI", node, at)
                if cached == SOFT_LINK:
                    raise ResnetFeaError("it holds a soft link, which no weights need")
                stored = bytes(names[offset : offset + MAX_NAME + 1])
                name = text(stored.partition(b"\0")[0])
                if b"\0" not in stored or name.encode() <= last.encode():
                    raise ResnetFeaError("the names in its HDF5 are broken, doubled or not in order")
                last = name
                yield name, address

    def _leaves(self, tree: int, node_k: int, level: int | None) -> Iterator[int]:
        """The lowest nodes of a version 1 tree of names, left to right."""
        node = self.take(tree, 24 + 2 * node_k * 2 * WORD + WORD, "a group's tree")
        magic, kind, height, count = struct.unpack_from("<4sBBH", node)
        if magic != b"TREE" or kind != 0 or count > 2 * node_k or height > MAX_TREE or level not in (None, height):
            raise ResnetFeaError("a group's tree is not where its HDF5 says")
        for index in range(count):
            (child,) = struct.unpack_from("<Q", node, 24 + WORD + index * 2 * WORD)
            if height:
                yield from self._leaves(child, node_k, height - 1)
            else:
                yield child

    def _heap(self, address: int) -> memoryview:
        """III.D Local Heaps: where an old group's names lie."""
        magic, version, size, _, start = struct.unpack("<4sB3xQQQ", self.take(address, 32, "a group's heap"))
        if magic != b"HEAP" or version != 0:
            raise ResnetFeaError("a group's heap is not where its HDF5 says")
        return self.take(start, size, "a group's heap")

    def collection(self, address: int) -> dict[int, memoryview]:
        """III.E Global Heap: texts of any length, by number."""
        magic, version, size = struct.unpack("<4sB3xQ", self.take(address, 16, "a text"))
        if magic != b"GCOL" or version != 1 or size < 16:
            raise ResnetFeaError("a text is not where its HDF5 says")
        block = self.take(address + 16, size - 16, "a text")
        found: dict[int, memoryview] = {}
        while len(block) >= 16:
            self.step()
            index, length = struct.unpack_from("<H6xQ", block)
            if index == 0:  # the free rest
                break
            if length > len(block) - 16 or index in found:
                raise ResnetFeaError("the texts in its HDF5 are broken: cut short?")
            found[index] = block[16 : 16 + length]
            block = block[16 + (length + 7) // 8 * 8 :]
        return found


def unpack(form: str, data: memoryview) -> tuple[int, ...]:
    """Numbers at the beginning of a message."""
    if len(data) < struct.calcsize(form):
        raise ResnetFeaError("a message in its HDF5 is shorter than its kind needs: cut short?")
    return struct.unpack_from(form, data)


def text(data: bytes) -> str:
    """A name: UTF-8, no way to another folder in it."""
    try:
        name = data.decode()
    except UnicodeDecodeError as error:
        raise ResnetFeaError("a name in it is not UTF-8") from error
    if not name or "/" in name or name in (".", ".."):
        raise ResnetFeaError(f"its HDF5 has the name {name!r}, which is none")
    return name
