"""Which photos int8 is calibrated on, and what tells one set of them from another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.test_decoding import PLAYED_COMMAND
from resnetfea.engine.precision import Calibration
from resnetfea.errors import ResnetFeaError
from resnetfea.features import calibration_photos, listing
from resnetfea.features.calibration_photos import PHOTOS, of_names, of_source
from resnetfea.features.decoding import Decoders
from resnetfea.features.images import decode
from resnetfea.features.limits import Limits
from resnetfea.features.local import Local
from resnetfea.features.source import Content, Place, file
from resnetfea.weights.recipe import TORCHVISION

RECIPE = replace(TORCHVISION, resize=8, crop=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures, each of one grey."""
    for index in range(10):
        Image.new("RGB", (12, 9), (20 * index,) * 3).save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.fixture(scope="module")
def pair() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


@pytest.fixture
def decoders(pair: Decoders) -> Decoders:
    pair.prepare(RECIPE)
    return pair


def of_folder(folder: Path, decoders: Decoders, names: Iterable[str] | None = None) -> Calibration:
    found = [os.fsencode(name) for name in (names or sorted(os.listdir(folder)))]
    return of_names(listing.images(folder), found, len(found), decoders)


def greys(found: Calibration) -> list[int]:
    return [int(one[0, 0, 0]) for one in found.pictures()]


def test_all_of_a_few_in_their_order(folder: Path, decoders: Decoders) -> None:
    found = of_folder(folder, decoders)
    assert greys(found) == [20 * index for index in range(10)]
    assert {one.shape for one in found.pictures()} == {(8, 8, 3)}
    (first, *_) = found.pictures()
    assert np.array_equal(first, decode(file(folder / "0.png"), RECIPE).pixels)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 100, 128, 1000, 123_457])
def test_many_are_thinned_evenly(count: int, decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def note(content: Content, limit: int) -> bytes:
        assert isinstance(content, Place)
        read.append(int(content.path))
        return b""

    monkeypatch.setattr(calibration_photos, "read", note)
    nowhere = listing.Files("", Local(b""), lambda: iter(()))
    of_names(nowhere, (b"%d" % index for index in range(count)), count, decoders)
    assert len(read) == min(count, PHOTOS)
    assert read[0] == 0
    gaps = {after - before for before, after in pairwise(read)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert count - read[-1] <= max(gaps, default=0) + 1


def test_the_identity_is_that_of_the_pictures(folder: Path, decoders: Decoders) -> None:
    same = of_folder(folder, decoders).identity
    assert of_folder(folder, decoders).identity == same
    os.utime(folder / "3.png", (0, 0))
    assert of_folder(folder, decoders).identity == same
    copy = folder / "elsewhere"
    copy.mkdir()
    for index in range(10):
        (copy / f"{index}.png").write_bytes((folder / f"{index}.png").read_bytes())
    names = [f"{index}.png" for index in range(10)]
    assert of_folder(copy, decoders, names).identity == same
    others = [
        of_folder(folder, decoders, names[:9]),
        of_folder(folder, decoders, names[::-1]),
    ]
    for told in ((RECIPE, "fast"), (replace(RECIPE, crop=7), "exact")):
        decoders.prepare(*told)
        others.append(of_folder(folder, decoders, names))
    decoders.prepare(RECIPE)
    with Decoders(1, Limits(pixels=200)) as strict:
        strict.prepare(RECIPE)
        others.append(of_folder(folder, strict, names))
    Image.new("RGB", (12, 9), (1, 2, 3)).save(folder / "3.png")
    others.append(of_folder(folder, decoders, names))
    (folder / "3.png").unlink()
    others.append(of_folder(folder, decoders, names))
    assert len({same, *(one.identity for one in others)}) == 1 + len(others)


def test_broken_photos_are_left_out(folder: Path, decoders: Decoders) -> None:
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:-4])
    (folder / "3.png").write_text("no picture")
    (folder / "4.png").write_bytes(b"")
    (folder / "5.png").unlink()
    names = [f"{index}.png" for index in range(10)]
    assert greys(of_folder(folder, decoders, names)) == [20 * index for index in (0, 1, 6, 7, 8, 9)]


def test_a_photo_that_crashes_its_decoder_is_left_out(folder: Path) -> None:
    (folder / "3.png").rename(folder / "3-crash")
    with Decoders(2, command=PLAYED_COMMAND) as played:
        played.prepare(RECIPE)
        assert greys(of_folder(folder, played)) == [20 * index for index in (0, 1, 2, 4, 5, 6, 7, 8, 9)]


def test_none_that_can_be_read(folder: Path, decoders: Decoders) -> None:
    for index in range(10):
        (folder / f"{index}.png").write_text("no picture")
    found = of_folder(folder, decoders)
    with pytest.raises(ResnetFeaError, match=r"none of the 10 images .* can be read; .*--calibration"):
        found.pictures()


def test_of_a_folder_a_list_or_an_image(folder: Path, decoders: Decoders) -> None:
    assert greys(of_source(folder, decoders)) == [20 * index for index in range(10)]
    (folder / "some.txt").write_text("7.png\n1.png\n")
    assert greys(of_source(folder / "some.txt", decoders)) == [140, 20]
    assert greys(of_source(folder / "9.png", decoders)) == [180]
    found = listing.images(folder)
    assert of_source(folder, decoders).identity == of_names(found, found.names(), 10, decoders).identity


def test_of_nothing(tmp_path: Path, decoders: Decoders) -> None:
    with pytest.raises(ResnetFeaError, match="missing: no such folder or file"):
        of_source(tmp_path / "missing", decoders)
    with pytest.raises(ResnetFeaError, match="no images in it to calibrate on"):
        of_source(tmp_path, decoders)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ResnetFeaError, match=r"empty\.txt: no images in it to calibrate on"):
        of_source(tmp_path / "empty.txt", decoders)
