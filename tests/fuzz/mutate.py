"""Seeded damage to bytes: what disks, networks and people with bad intentions do to a file."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

# sizes, counts and offsets that readers get wrong: nothing, one, signs, the ends of 8, 16, 32 and 64 bits
EDGES = [0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40]
EDGES += [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
LONGEST = 64  # bytes of a piece that is moved, removed or repeated
Mutation = Callable[[bytearray, random.Random], None]


def mutated(seeds: Sequence[bytes], rng: random.Random, words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds with one to eight damages; now and then its end is another seed's.

    words: what a format is made of. Half of the damages put one of them in front of another, or in its place.
    """
    data = bytearray(rng.choice(seeds))
    if rng.random() < 0.1:
        other = rng.choice(seeds)
        data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if words and rng.random() < 0.5:
            _word(data, rng, words)
        else:
            rng.choice(MUTATIONS)(data, rng)
    return bytes(data)


def _word(data: bytearray, rng: random.Random, words: Sequence[bytes]) -> None:
    """Where one of the words stands, so that what is around it stays whole."""
    old = rng.choice(words)
    places: list[int] = []
    at = -1
    while (at := data.find(old, at + 1)) >= 0 and len(places) < 1000:
        places.append(at)
    at = rng.choice(places) if places else rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, len(old)))] = rng.choice(words)


def _bit(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _edge(data: bytearray, rng: random.Random) -> None:
    """A number of 1, 2, 4 or 8 bytes becomes one that hurts."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) >= size:
        at = rng.randrange(len(data) - size + 1)
        value = rng.choice([*EDGES, len(data), len(data) + 1]) & ((1 << 8 * size) - 1)
        data[at : at + size] = struct.pack("<Q", value)[:size]


def _digits(data: bytearray, rng: random.Random) -> None:
    """A number written as text."""
    places = [at for at, byte in enumerate(data[:4096]) if 48 <= byte < 58]
    if places:
        at = rng.choice(places)
        data[at : at + 1] = rng.choice((b"-1", b"9" * 20, b"0", b"1e9", b"99999999"))


def _remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.randrange(1, LONGEST)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at, to = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
    data[to:to] = data[at : at + rng.randrange(1, LONGEST)]


def _insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 9))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


MUTATIONS: tuple[Mutation, ...] = (_bit, _byte, _byte, _edge, _edge, _digits, _remove, _repeat, _insert, _cut)
