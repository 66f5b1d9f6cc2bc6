"""The card's place in an ONNX model: an entry of metadata_props, which runtimes carry and never interpret.

Field numbers are those of onnx/onnx.proto (onnx 1.23): ModelProto.metadata_props 14, StringStringEntryProto key 1,
value 2.
"""

from __future__ import annotations

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import card as cards
from resnetfea.weights.protobuf import encoded, fields

METADATA, KEY, VALUE = 14, 1, 2


def card(model: bytes) -> bytes | None:
    """The card in a model's bytes, if there is one."""
    found: list[bytes] = []
    for number, message in fields(memoryview(model)):
        if number != METADATA or not isinstance(message, memoryview):
            continue
        entry = dict(fields(message))
        if entry.get(KEY) == cards.KEY.encode():
            value = entry.get(VALUE)
            found.append(bytes(value) if isinstance(value, memoryview) else b"")
    if len(found) > 1:
        raise ResnetFeaError("it has two cards")
    return found[0] if found else None


def entry(card: bytes) -> bytes:
    """What appended to a model's bytes gives it this card: protobuf takes a repeated field's parts from anywhere."""
    return encoded(METADATA, encoded(KEY, cards.KEY.encode()) + encoded(VALUE, card))
