"""HDF5 that lies, leads out of itself, or is larger than it looks: written by h5py, or patched byte by byte."""

from __future__ import annotations

import random
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import h5_file, read
from weights.making import CANARY, DATA, Fill, Refuse, h5
from weights.making import h5_dataset as of

FOUR = np.arange(4, dtype="<f4")
NAMES = frozenset({"name", "dtype"})


def soft_link(file: Any) -> None:
    file["a/kernel"] = FOUR
    file["b"] = h5py.SoftLink("/a")


def external_link(file: Any) -> None:
    file["a"] = h5py.ExternalLink(CANARY, "/a")


def external_storage(file: Any) -> None:
    file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "a", (4,))
    file.create_virtual_dataset("a", layout)


def bomb(file: Any) -> None:
    """4 GiB in 1 KB."""
    file.create_dataset("a", (1 << 30,), "f4", chunks=(1 << 20,), compression="gzip")


def many_bombs(file: Any) -> None:
    """Each below any cap, 200 GiB together."""
    for index in range(200):
        file.create_dataset(f"a{index}", (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip")


def never_written(file: Any) -> None:
    for index in range(200):
        file.create_dataset(f"a{index}", (1 << 28,), "f4")


def link_cycle(file: Any) -> None:
    inner = file.create_group("a/b")
    inner["c"] = file["a"]


def one_dataset_twice(file: Any) -> None:
    file["a"] = FOUR
    file["b"] = file["a"]


def named_type(file: Any) -> None:
    file["type"] = np.dtype("f4")
    file.create_dataset("a", data=FOUR, dtype=file["type"])


def references(file: Any) -> None:
    file.create_dataset("a", data=[file.ref], dtype=h5py.ref_dtype)


def deep(file: Any) -> None:
    file["/".join("a" * 40)] = FOUR


def many_names(file: Any) -> None:
    for index in range(20):
        file[f"a{index}"] = FOUR


HOSTILE: dict[str, tuple[Fill, dict[str, Any], str]] = {  # who writes it, how, and what the error must say
    "soft link": (soft_link, {}, "soft link"),
    "soft link in a new group": (soft_link, {"libver": "latest"}, "soft link"),
    "external link": (external_link, {}, "link to another file"),
    "external storage": (external_storage, {}, "another file"),
    "virtual dataset": (virtual, {}, "virtual"),
    "4 GiB in 1 KB": (bomb, {}, "compression"),
    "200 GiB in sum": (many_bombs, {}, "compression"),
    "200 GiB never written": (never_written, {}, "never been written"),
    "chunks": (of(FOUR, chunks=(2,)), {}, "chunks"),
    "chunks of the newest kind": (of(FOUR, chunks=(2,)), {"libver": "latest"}, "chunks"),
    "checksums": (of(FOUR, fletcher32=True), {}, "compression"),
    "cycle of links": (link_cycle, {}, "two names"),
    "one dataset twice": (one_dataset_twice, {}, "two names"),
    "a type of its own": (named_type, {}, "type"),
    "references": (references, {}, "references"),
    "compounds": (of(np.zeros(4, "f4,i4")), {}, "compounds"),
    "complex numbers": (of(np.zeros(4, "c8")), {}, "compounds"),
    "texts": (of(np.array([b"four"])), {}, "texts"),
    "texts of any length": (of(["four"]), {}, "lists of any length"),
    "truth values": (of(np.array([True])), {}, "enumerations"),
    "opaque bytes": (of(np.zeros(4, "V2")), {}, "opaque"),
    "arrays": (of(None, shape=(4,), dtype=np.dtype(("f4", (2,)))), {}, "arrays"),
    "big-endian floats": (of(FOUR.astype(">f4")), {}, "big-endian"),
    "big-endian integers": (of(FOUR.astype(">i4")), {}, "big-endian"),
    "long doubles": (of(FOUR.astype("g")), {}, "strange build"),
    "nothing at all": (of(h5py.Empty("f4")), {}, "no shape"),
    "ten dimensions": (of(FOUR.reshape(1, 1, 1, 1, 1, 1, 1, 1, 1, 4)), {}, "10 dimensions"),
    "groups in groups": (deep, {}, "one in the other"),
    "a long name": (lambda file: file.create_group("a" * 5000), {}, "names in its HDF5"),
    "a name in Latin-1": (lambda file: file.create_group(b"\xe9"), {}, "not UTF-8"),
    "names in a heap by track_order": (many_names, {"track_order": True}, "track_order"),
    "names in a heap by libver": (many_names, {"libver": "latest"}, "libver"),
    "nothing, of impossible sizes": (of(None, shape=(0, 1 << 62), dtype="f4"), {}, "0 bytes are there"),
    "nothing": (lambda file: None, {}, "no numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_by_name(name: str, refuse: Refuse) -> None:
    fill, how, reason = HOSTILE[name]
    data = h5(fill, **how)
    with pytest.raises(ResnetFeaError, match=reason):
        h5_file.read(data)
    refuse(data)


def two() -> tuple[bytes, int, int]:
    """A file of two datasets, and where the numbers of each are."""

    def fill(file: Any) -> None:
        file["a/kernel"], file["b/kernel"] = FOUR, FOUR + 4

    data = h5(fill)
    with h5py.File(BytesIO(data)) as file:
        return data, file["a/kernel"].id.get_offset(), file["b/kernel"].id.get_offset()


def place(start: int, size: int) -> bytes:
    """As a dataset's layout says where its numbers are."""
    return struct.pack("<QQ", start, size)


@pytest.mark.parametrize(
    ("start", "size", "reason"),
    [
        (0, 16, "overlap"),  # onto the superblock
        (-8, 16, "overlap"),  # onto what stands in front
        ("first", 16, "overlap"),
        (1 << 40, 16, "beyond the end"),
        ((1 << 64) - 9, 16, "beyond the end"),
        ((1 << 64) - 1, 16, "never been written"),
        (None, 15, "bytes are there"),
        (None, 1 << 62, "beyond the end"),
        (None, 0, "bytes are there"),
    ],
)
def test_numbers_in_a_wrong_place(start: int | str | None, size: int, reason: str, refuse: Refuse) -> None:
    data, first, second = two()
    was = place(second, 16)
    assert data.count(was) == 1
    where = {None: second, "first": first, -8: second - 8}.get(start, start)
    changed = data.replace(was, place(int(where or 0), size))
    with pytest.raises(ResnetFeaError, match=reason):
        h5_file.read(changed)
    refuse(changed)


def test_more_behind_the_end_and_less(refuse: Refuse) -> None:
    data, _, _ = two()
    assert set(h5_file.read(data).tensors) == {"a/kernel", "b/kernel"}
    refuse(data + b"\0")
    for size in (*range(0, len(data), 29), len(data) - 1):
        refuse(data[:size])


@pytest.mark.parametrize("level", [0, 1, 8, 9])
def test_a_tree_that_leads_back_to_itself(level: int, refuse: Refuse) -> None:
    data, _, _ = two()
    root = data.index(b"TREE")
    height, child = root + 5, root + 32
    changed = bytearray(data)
    changed[height] = level
    changed[child : child + 8] = struct.pack("<Q", root)
    with pytest.raises(ResnetFeaError, match=r"not where its HDF5 says|overlap"):
        h5_file.read(bytes(changed))
    refuse(bytes(changed))


@pytest.mark.parametrize("value", [7, [1.0], ["a", "b"], "", h5py.Empty("f4"), b"\xff", "x" * 3000])
def test_a_name_that_is_no_text(value: Any, refuse: Refuse) -> None:
    def fill(file: Any) -> None:
        file.create_group("layers/conv2d/vars").attrs["name"] = value
        file["layers/conv2d/vars/0"] = FOUR

    refuse(h5(fill))


@pytest.mark.parametrize("file", ["tiny-keras-legacy.h5", "tiny-keras3.weights.h5"])
def test_one_bit_changed(file: str, tmp_path: Path) -> None:
    """Refused, or only the number changed that the bit belongs to: HDF5 has no checksums."""
    original, rng, path = (DATA / file).read_bytes(), random.Random(4), tmp_path / "changed.h5"
    truth = read(DATA / file).tensors
    numbers = spans(DATA / file)
    for at in range(8, len(original), 97 * 101):
        changed = bytearray(original)
        changed[at] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            found = read(path).tensors
        except ResnetFeaError:
            continue
        different = [name for name in truth if found[name].tobytes() != truth[name].tobytes()]
        assert len(different) <= any(start <= at < end for start, end in numbers), f"{at}: {different}"


def spans(path: Path) -> list[tuple[int, int]]:
    """Where the numbers are, as h5py says."""
    found: list[tuple[int, int]] = []
    with h5py.File(path) as file:
        file.visititems(
            lambda _, one: (
                found.append((one.id.get_offset(), one.id.get_offset() + one.nbytes))
                if isinstance(one, h5py.Dataset)
                else None
            )
        )
    return found
