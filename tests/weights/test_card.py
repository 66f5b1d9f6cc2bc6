"""The card goes and comes back unchanged; a stranger's is read only if every field of it could be ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import ckpt_file, npz_file, onnx_notes, pickle_file, recipe, safetensors_file, write_pkl
from resnetfea.weights.card import MAX_BYTES, Card, from_json
from resnetfea.weights.recipe import Recipe
from weights.making import Refuse, ckpt_value, field

CARD = Card(
    variant=replace(tiny.TINY, stride_in="1x1", pool="ceil", conv_pad="same", bn_eps=1.001e-5),
    recipe=recipe.OPEN_NSFW,
    recipe_of="open_nsfw",
    ecosystem="onnx",
    sha256="a" * 64,
)
FORMAT_2 = (
    b'{"format": 2, "variant": {"depth": 50, "stem_channels": 4, "res2_channels": 8, "groups": 1, '
    b'"width_per_group": 2, "stride_in": "1x1", "pool": "ceil", "conv_pad": "same", "bn_eps": 1.001e-05, '
    b'"norm": "affine", "norm_groups": 32, "norm_channels": 0, "dilation": 1, '
    b'"deform": ["none", "none", "none", "none"], "deform_groups": 1, "freeze_at": 2, '
    b'"out": ["c2", "c3", "c4", "c5"]}, "recipe": {"color": "bgr", '
    b'"scale": 1.0, "mean": [104.0, 117.0, 123.0], "std": [1.0, 1.0, 1.0], "resize": [256, 256], "rounding": "floor", '
    b'"interpolation": "bilinear", "antialias": true, "crop": 224}, "recipe_of": "open_nsfw", "ecosystem": "onnx", '
    b'"sha256": "' + b"a" * 64 + b'"}'
)
FORMAT_1 = (
    b'{"format": 1, "variant": {"depth": 50, "stem_channels": 4, "res2_channels": 8, "width_per_group": 2, '
    b'"stride_in": "1x1", "pool": "ceil", "conv_pad": "same", "bn_eps": 1.001e-05}, "recipe": {"color": "bgr", '
    b'"scale": 1.0, "mean": [104.0, 117.0, 123.0], "std": [1.0, 1.0, 1.0], "resize": [256, 256], "rounding": "floor", '
    b'"interpolation": "bilinear", "antialias": true, "crop": 224}, "recipe_of": "open_nsfw", "ecosystem": "onnx", '
    b'"sha256": "' + b"a" * 64 + b'"}'
)
PLAIN: dict[str, Any] = json.loads(CARD.to_json())
RECIPES = [value for value in vars(recipe).values() if isinstance(value, Recipe)]


@pytest.mark.parametrize("pixels", RECIPES)
def test_every_recipe_comes_back(pixels: Recipe) -> None:
    card = replace(CARD, recipe=pixels)
    assert from_json(card.to_json()) == card


@settings(deadline=None, derandomize=True)
@given(st.floats(0, 1, exclude_max=True), st.floats(1e-6, 1e6), st.integers(1, 4096))
def test_every_number_comes_back(eps: float, std: float, side: int) -> None:
    card = replace(
        CARD, variant=Variant(bn_eps=eps), recipe=replace(recipe.TORCHVISION, std=(std, 1.0, std), resize=side)
    )
    assert from_json(card.to_json()) == card


def test_it_is_one_line_of_ascii_whatever_the_names() -> None:
    card = replace(CARD, recipe_of="网络\n", ecosystem='"')
    assert card.to_json().isascii()
    assert b"\n" not in card.to_json()


def changed(**fields: Any) -> bytes:
    return json.dumps(PLAIN | fields).encode()


def variant(**fields: Any) -> bytes:
    return changed(variant=PLAIN["variant"] | fields)


def pixels(**fields: Any) -> bytes:
    return changed(recipe=PLAIN["recipe"] | fields)


def without(part: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != name}


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"{",
    "not ASCII": CARD.to_json().replace(b"onnx", "öññx".encode()),
    "not UTF-8": CARD.to_json().replace(b"onnx", b"\xff\xfe"),
    "more behind": CARD.to_json() + b"x",
    "a list": b"[1]",
    "a number": b"1",
    "null": b"null",
    "too long": CARD.to_json() + b" " * MAX_BYTES,
    "deep": b"[" * 8000 + b"]" * 8000,
    "a number of 8,000 digits": variant(depth=50).replace(b'"depth": 50', b'"depth": ' + b"9" * 8000),
    "a number of 4,000 digits": variant(depth=50).replace(b'"depth": 50', b'"depth": ' + b"9" * 4000),
    "a width of 4,000 digits": variant().replace(b'"stem_channels": 4', b'"stem_channels": ' + b"9" * 4000),
    "a format to come": changed(format=3),
    "format 1 with fields of format 2": changed(format=1),
    "five stages of deform": variant(deform=["none"] * 5),
    "deform that is text": variant(deform="none"),
    "an unknown deform": variant(deform=["none", "v3", "v2", "v2"]),
    "no map that comes out": variant(out=[]),
    "a map twice": variant(out=["c5", "c5"]),
    "a map that is none": variant(out=["p2"]),
    "no groups": variant(groups=0),
    "groups that do not divide": variant(norm="group", norm_groups=7),
    "freeze at 6": variant(freeze_at=6),
    "freeze that is true": variant(freeze_at=True),
    "a format that is true": changed(format=True),
    "a format that is a fraction": changed(format=1.0),
    "no format": json.dumps(without(PLAIN, "format")).encode(),
    "a field too many": changed(more=1),
    "no recipe": json.dumps(without(PLAIN, "recipe")).encode(),
    "a field of the variant too many": variant(blocks=32),
    "a field of the variant too few": changed(variant=without(PLAIN["variant"], "pool")),
    "a field of the recipe too few": changed(recipe=without(PLAIN["recipe"], "mean")),
    "a field twice": CARD.to_json().replace(b'"depth": 50', b'"depth": 50, "depth": 50'),
    "no variant but a list": changed(variant=[]),
    "a depth of 34": variant(depth=34),
    "a depth that is a list": variant(depth=[50]),
    "a depth that is text": variant(depth="50"),
    "a depth that is a fraction": variant(depth=50.0),
    "a depth that is true": variant(depth=True),
    "no channels": variant(res2_channels=0),
    "an unknown pool": variant(pool="pad2"),
    "a pool that is an object": variant(pool={}),
    "eps of 1": variant(bn_eps=1.0),
    "a negative eps": variant(bn_eps=-1e-5),
    "eps that is no number": variant(bn_eps=None),
    "eps of NaN": variant(bn_eps=float("nan")),
    "eps of infinity": variant(bn_eps=float("inf")),
    "eps of 1e999": variant().replace(b"1.001e-05", b"1e999"),
    "grey pixels": pixels(color="grey"),
    "a scale of 0": pixels(scale=0.0),
    "a scale below 0": pixels(scale=-1.0),
    "two means": pixels(mean=[1.0, 2.0]),
    "four means": pixels(mean=[1.0, 2.0, 3.0, 4.0]),
    "a mean that is text": pixels(mean=["1", "2", "3"]),
    "means that are text": pixels(mean="123"),
    "a std of 0": pixels(std=[1.0, 1.0, 0.0]),
    "a picture of a billion pixels' side": pixels(resize=10**9),
    "a picture of 4097 by 1": pixels(resize=[4097, 1]),
    "a picture without pixels": pixels(resize=0),
    "a crop of a billion": pixels(crop=10**9),
    "a crop that is true": pixels(crop=True),
    "three sides": pixels(resize=[1, 2, 3]),
    "an unknown filter": pixels(interpolation="hamming"),
    "no antialias": pixels(antialias=False),
    "antialias that is 1": pixels(antialias=1),
    "a name of two lines": changed(recipe_of="a\nb"),
    "a name with terminal codes": changed(ecosystem="\x1b[2J"),
    "a name of 201 letters": changed(ecosystem="a" * 201),
    "a name that is a number": changed(recipe_of=7),
    "a short digest": changed(sha256="a" * 63),
    "a digest of other letters": changed(sha256="g" * 64),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str) -> None:
    with pytest.raises(ResnetFeaError, match=r"^its card") as caught:
        from_json(HOSTILE[name])
    assert len(str(caught.value)) < 1000


def container(write: Callable[..., None], card: bytes) -> bytes:
    stream = BytesIO()
    write(stream, tiny.weights(), card)
    return stream.getvalue()


WRITES: dict[str, Callable[..., None]] = {
    "npz": npz_file.write,
    "safetensors": safetensors_file.write,
    "ckpt": ckpt_file.write,
    "pkl": write_pkl.write,
}
READS = {
    "npz": npz_file.read,
    "safetensors": safetensors_file.read,
    "ckpt": ckpt_file.read,
    "pkl": pickle_file.read,
}


@pytest.mark.parametrize("kind", WRITES)
def test_every_container_gives_it_back(kind: str) -> None:
    assert READS[kind](container(WRITES[kind], CARD.to_json())).card == CARD.to_json()


@pytest.mark.parametrize("kind", WRITES)
@pytest.mark.parametrize("card", [variant(pool="pad2"), b"x" * 60_000, b" "], ids=["pool", "long", "blank"])
def test_a_hostile_one_refuses_the_file(kind: str, card: bytes, refuse: Refuse) -> None:
    refuse(container(WRITES[kind], card))


def test_two_cards_in_one_file(refuse: Refuse) -> None:
    ckpt = container(ckpt_file.write, CARD.to_json())
    refuse(ckpt + field(ckpt_file.CARD, CARD.to_json()))
    with pytest.raises(ResnetFeaError, match="two cards"):
        onnx_notes.card(onnx_notes.entry(CARD.to_json()) * 2)


def test_a_card_that_is_a_number(refuse: Refuse) -> None:
    refuse(ckpt_value("bn1.gamma", [4], "Float32", bytes(16)) + field(ckpt_file.CARD, 7))


def test_the_onnx_note() -> None:
    model = field(1, 8) + field(14, field(1, b"author") + field(2, b"someone"))
    assert onnx_notes.card(model) is None
    assert onnx_notes.card(model + onnx_notes.entry(b"card") + field(2, b"producer")) == b"card"
    assert onnx_notes.card(field(14, field(1, b"resnetfea"))) == b""


def test_a_card_of_format_1_is_read_for_ever() -> None:
    """Where this fails a field was added: raise FORMAT, and say in from_json what the older format meant by it."""
    assert from_json(FORMAT_1) == CARD
    assert from_json(FORMAT_2) == CARD
    assert CARD.to_json() == FORMAT_2


def test_what_format_1_could_not_say_it_does_not_say() -> None:
    card = json.loads(FORMAT_1)
    card["variant"]["dilation"] = 2
    with pytest.raises(ResnetFeaError, match="format 1"):
        from_json(json.dumps(card).encode())


VARIANTS = [
    Variant(groups=32, width_per_group=4, norm="frozen"),
    Variant(norm="group", norm_groups=16, freeze_at=0),
    Variant(norm="group", norm_channels=16),
    Variant(norm="batch", dilation=2, freeze_at=5),
    Variant(deform=("none", "v1", "v2", "v2"), deform_groups=2, out=("c2", "c4")),
]


@pytest.mark.parametrize("of", VARIANTS)
def test_every_variant_comes_back(of: Variant) -> None:
    card = replace(CARD, variant=of)
    assert from_json(card.to_json()) == card


def test_the_card_has_every_field() -> None:
    assert PLAIN.keys() == {"format", "variant", "recipe", "recipe_of", "ecosystem", "sha256"}
    assert PLAIN["variant"].keys() == asdict(Variant()).keys()
    assert PLAIN["recipe"].keys() == asdict(recipe.TORCHVISION).keys()
