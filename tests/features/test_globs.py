"""Patterns as the source."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.test_listing import touch
from resnetfea.errors import ResnetFeaError
from resnetfea.features import globs, listing, walking
from resnetfea.features.local import Local


def names(source: str | Path) -> list[bytes]:
    return list(listing.images(source).names())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    touch(tmp_path, *"a.jpg B.PNG notes.txt 1/b.jpg 1/b.png 1/raw/c.jpg 2/b.jpg 2/raw/d.jpeg 2/raw/deep/e.jpg".split())
    touch(tmp_path, ".hidden.jpg", ".cache/f.jpg", "1/.thumbs/g.jpg", "1/.h.jpg")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*", "B.PNG a.jpg"),
        ("*.jpg", "a.jpg"),
        ("*/*.jpg", "1/b.jpg 2/b.jpg"),
        ("?/b.*", "1/b.jpg 1/b.png 2/b.jpg"),
        ("[!1]/**", "2/b.jpg 2/raw/d.jpeg 2/raw/deep/e.jpg"),
        ("**", "1/b.jpg 1/b.png 1/raw/c.jpg 2/b.jpg 2/raw/d.jpeg 2/raw/deep/e.jpg B.PNG a.jpg"),
        ("**/*.jpg", "1/b.jpg 1/raw/c.jpg 2/b.jpg 2/raw/deep/e.jpg a.jpg"),
        ("**/raw/*", "1/raw/c.jpg 2/raw/d.jpeg"),
        ("**/raw/**/*", "1/raw/c.jpg 2/raw/d.jpeg 2/raw/deep/e.jpg"),
        ("*/./raw//*", "1/raw/c.jpg 2/raw/d.jpeg"),
        (".*", ".hidden.jpg"),
        (".*/*", ".cache/f.jpg"),
        ("**/.*", ".hidden.jpg 1/.h.jpg"),
        ("**/.thumbs/*", "1/.thumbs/g.jpg"),
    ],
)
def test_what_matches(photos: Path, pattern: str, wanted: str) -> None:
    assert names(f"{photos}/{pattern}") == [os.fsencode(name) for name in wanted.split()]


def test_paths_are_relative_to_the_last_plain_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = listing.images(f"{photos}/2/r*/**/e.jpg")
    assert list(source.names()) == [b"raw/deep/e.jpg"]
    assert source.content(b"raw/deep/e.jpg") == (os.fsencode(photos / "2" / "raw/deep/e.jpg"), 0, None)
    assert source.where == f"{photos}/2/r*/**/e.jpg"
    monkeypatch.chdir(photos)
    assert names("*.jpg") == [b"a.jpg"]
    assert names("1/*.jpg") == [b"b.jpg"]


def test_a_path_that_exists_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "[1]/a.jpg", "1/b.jpg", "img[2].jpg", "img2.jpg")
    assert names(tmp_path / "[1]") == [b"a.jpg"]
    assert names(tmp_path / "img[2].jpg") == [b"img[2].jpg"]
    assert names(tmp_path / "[1]*" / "*.jpg") == [b"1/b.jpg"]
    assert names(tmp_path / "[[]1]" / "*.jpg") == [b"[1]/a.jpg"]


def test_characters_are_matched_whole_and_other_bytes_too(tmp_path: Path) -> None:
    touch(tmp_path, "雪.jpg", b"\xff.jpg", "ab.jpg")
    assert names(tmp_path / "?.jpg") == ["雪.jpg".encode(), b"\xff.jpg"]


@pytest.mark.parametrize("pattern", ["*.gif", "3*/*.jpg", "**/*.txt", "*/../a.jpg"])
def test_nothing_matches(photos: Path, pattern: str) -> None:
    with pytest.raises(ResnetFeaError, match=r"no image and no \.tar matches"):
        names(f"{photos}/{pattern}")


def test_the_folder_before_the_pattern_is_missing(photos: Path) -> None:
    with pytest.raises(ResnetFeaError, match=r"there is no folder .*nowhere"):
        listing.images(f"{photos}/nowhere/*.jpg")


def test_only_folders_that_can_match_are_entered(photos: Path) -> None:
    entered = []

    class Watched(Local):
        def entries(self, folder: bytes) -> Iterator[bytes]:
            entered.append(folder)
            return super().entries(folder)

    _, pattern = globs.parted(b"[12]/raw/*.jpg")
    assert list(walking.walk(Watched(os.fsencode(photos)), pattern, (b".jpg",), None)) == [b"1/raw/c.jpg"]
    assert entered == [b"", b"1/", b"1/raw/", b"2/", b"2/raw/"]


SEGMENT = st.sampled_from(["*", "**", "a", "b", "?", "a*", "[ab]", "*b", "[!a]*"])
NAME = st.text(st.sampled_from("ab"), min_size=1, max_size=2)


@settings(max_examples=80, deadline=None)
@given(st.sets(st.lists(NAME, min_size=1, max_size=4).map("/".join), max_size=12), st.lists(SEGMENT, max_size=4))
def test_as_pathlib_matches(tmp_path_factory: pytest.TempPathFactory, paths: set[str], segments: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    touch(folder, *(f"{path}.jpg" for path in paths))
    pattern = "/".join([*segments, "*.jpg"])
    wanted = {os.fsencode(path.relative_to(folder)) for path in folder.glob(pattern) if path.is_file()}
    parsed = globs.Pattern((*segments, "*.jpg"))
    assert list(walking.walk(Local(os.fsencode(folder)), parsed, (b".jpg",), None)) == sorted(wanted)
