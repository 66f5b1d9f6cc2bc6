"""The card: what names and numbers of a converted file cannot say, as JSON in a place its format has for notes.

Written as .npz, Caffe2's weights have torchvision's names, and would be read back with its stride and its colours. So
a file that `convert` writes carries how its network computes, what its pixels look like, and where it is from.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights.recipe import Recipe

KEY = "resnetfea"  # the name of its place, where a format's notes have names
FORMAT = 2  # raised when a field is added: a card states every field, so that no default is ever guessed
ADDED_IN_2: dict[str, Any] = {  # Variant's fields that format 1 did not have, and what its networks all did
    "groups": 1,
    "norm": "affine",
    "norm_groups": 32,
    "norm_channels": 0,
    "dilation": 1,
    "deform": ["none"] * 4,
    "deform_groups": 1,
    "freeze_at": 2,
    "out": ["c2", "c3", "c4", "c5"],
}
MAX_BYTES = 16_384  # one has about 900
MAX_TEXT = 200  # characters of a name or a digest
MAX_NUMBER = 1e9  # channels, pixels, means: all are far below


@dataclass(frozen=True, kw_only=True)
class Card:
    """What stands on it.

    Attributes:
        variant, recipe: of the weights as they are in this file.
        recipe_of, ecosystem, sha256: of the file that they were read from.
    """

    variant: Variant
    recipe: Recipe
    recipe_of: str
    ecosystem: str
    sha256: str

    def to_json(self) -> bytes:
        """ASCII only, one line."""
        return json.dumps({"format": FORMAT, **asdict(self)}).encode("ascii")

    def differences(self, variant: Variant) -> tuple[str, ...]:
        """A sentence for each field in which the rest of the file contradicts the card."""
        return tuple(
            f"its card says {field.name} {stated}, the rest of it {found}"
            for field in fields(Variant)
            if not _same(stated := getattr(self.variant, field.name), found := getattr(variant, field.name))
        )


def from_json(data: bytes | memoryview) -> Card:
    """The card in these bytes, which may be a stranger's.

    Raises:
        ResnetFeaError: too long, no JSON, of another format, or a field is missing, unknown or impossible.
    """
    if len(data) > MAX_BYTES:
        raise ResnetFeaError(f"its card has more than {MAX_BYTES:,} bytes")
    try:
        card = json.loads(str(data, "ascii"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ResnetFeaError(f"its card is not JSON ({error})") from error
    if not isinstance(card, dict) or type(card.get("format")) is not int or card["format"] not in (1, FORMAT):
        raise ResnetFeaError(f"its card is not of format {FORMAT}: written by a newer resnetfea?")
    if card.pop("format") == 1 and isinstance(variant := card.get("variant"), dict):
        if variant.keys() & ADDED_IN_2.keys():
            raise ResnetFeaError("its card is of format 1, and has fields that this did not have")
        variant |= ADDED_IN_2
    found: Card = _made(Card, card, "card")
    for name in ("recipe_of", "ecosystem", "sha256"):
        if not getattr(found, name).isprintable() or len(getattr(found, name)) > MAX_TEXT:
            raise ResnetFeaError(f"its card's {name} is not a short line of text")
    if not re.fullmatch("[0-9a-f]{64}", found.sha256):
        raise ResnetFeaError("its card's sha256 is none")
    return found


def _same(one: Any, other: Any) -> bool:
    """An ONNX graph has its eps as float32: 7 digits."""
    return math.isclose(one, other, rel_tol=1e-6) if isinstance(one, float) else bool(one == other)


def _made(kind: Any, value: Any, where: str) -> Any:
    """A dataclass out of a JSON object that has exactly its fields."""
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or value.keys() != hints.keys():
        raise ResnetFeaError(f"its {where} does not have exactly the fields {', '.join(hints)}")
    try:
        return kind(**{name: _value(hints[name], value[name], f"{where}'s {name}") for name in hints})
    except ValueError as error:  # of its __post_init__
        raise ResnetFeaError(f"its {where} is impossible: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    """A JSON value as a field of this type wants it."""
    arguments = get_args(hint)
    if hint in (Variant, Recipe):
        return _made(hint, value, where)
    if get_origin(hint) in (UnionType, Union):
        for one in arguments:
            try:
                return _value(one, value, where)
            except ResnetFeaError:
                continue
    elif get_origin(hint) is Literal:
        if any(type(value) is type(one) and value == one for one in arguments):
            return value
    elif get_origin(hint) is tuple:
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) and isinstance(value, list) else arguments
        if isinstance(value, list) and len(value) == len(kinds):
            return tuple(_value(one, part, where) for one, part in zip(kinds, value, strict=True))
    elif type(value) in (int, float) and not abs(value) <= MAX_NUMBER:
        pass
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint in (int, str, bool, NoneType) and type(value) is hint:
        return value
    raise ResnetFeaError(f"its {where} has a value that none can have")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ResnetFeaError("its card names a field twice")
    return found


def _no_constant(name: str) -> Any:
    raise ResnetFeaError(f"its card has the value {name}")
