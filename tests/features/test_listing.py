"""Which images there are, in which order."""

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing, walking
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import decode
from resnetfea.features.sorting import in_order
from resnetfea.features.source import file
from resnetfea.weights.recipe import TORCHVISION


def names(source: Path) -> list[bytes]:
    return list(listing.images(source).names())


def touch(folder: Path, *paths: str | bytes) -> None:
    for path in paths:
        whole = os.path.join(os.fsencode(folder), os.fsencode(path))
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "wb"):
            pass


def test_recursive_by_suffix_in_any_case(tmp_path: Path) -> None:
    wanted = ["a.JPG", "b/c.jpeg", "b/d/e.PnG", "f.webp", "g.gif", "h.bmp", "i.tif", "j.TIFF"]
    touch(tmp_path, *wanted, "notes.txt", "b/movie.mp4", "jpg", "photo.jpg.part", "b/d/e.npy")
    assert names(tmp_path) == [os.fsencode(name) for name in wanted]


def test_names_that_begin_with_a_dot_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden.jpg", ".cache/thumb.jpg", "a/.trash/b.jpg", "a/._mac.jpg", "a/kept.jpg", "a.b/kept.jpg")
    assert names(tmp_path) == [b"a.b/kept.jpg", b"a/kept.jpg"]


def test_a_name_that_is_only_a_suffix_begins_with_a_dot(tmp_path: Path) -> None:
    touch(tmp_path, ".jpg", "x.jpg")
    assert names(tmp_path) == [b"x.jpg"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "outside/one.jpg", "in/two.jpg")
    inside = tmp_path / "in"
    (inside / "link.jpg").symlink_to("../outside/one.jpg")
    (inside / "folder").symlink_to("../outside")
    (inside / "loop").symlink_to(".")
    (inside / "broken.jpg").symlink_to("nowhere")
    (inside / "itself.jpg").symlink_to("itself.jpg")
    assert names(inside) == [b"broken.jpg", b"itself.jpg", b"link.jpg", b"two.jpg"]  # the first two become failures


def test_the_source_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a.jpg")
    (tmp_path / "link").symlink_to("photos")
    assert names(tmp_path / "link") == [b"a.jpg"]


def test_a_folder_named_like_an_image_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "album.jpg/a.jpg", "album.jpg/b.png", "empty.jpg/notes.txt")
    assert names(tmp_path) == [b"album.jpg/a.jpg", b"album.jpg/b.png"]


def test_special_files_with_an_images_name_are_listed_and_become_failures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    assert names(tmp_path) == [b"pipe.jpg"]
    with pytest.raises(BadImage, match="not a regular file"):
        decode(file(tmp_path / "pipe.jpg"), TORCHVISION)


def test_odd_names(tmp_path: Path) -> None:
    odd = [
        b"-o.jpg",
        b"a b.jpg",
        b"new\nline.jpg",
        b"quote'\".jpg",
        b"\xff\xfe.jpg",
        "雪.jpg".encode(),
        "📷.png".encode(),
    ]
    touch(tmp_path, *odd)
    assert names(tmp_path) == sorted(odd)
    assert listing.shown(b"\xff\xfe.jpg") == "\\xff\\xfe.jpg"
    assert listing.shown("雪.jpg".encode()) == "雪.jpg"


NAME = st.text(st.sampled_from("aAbz-.!0é~ "), min_size=1, max_size=4).filter(lambda name: not name.startswith("."))
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None)
@given(st.sets(PATH, max_size=25))
def test_sorted_by_the_bytes_of_the_whole_path(tmp_path_factory: pytest.TempPathFactory, paths: set[str]) -> None:
    folder = tmp_path_factory.mktemp("tree")
    touch(folder, *(path + ".jpg" for path in paths))
    assert names(folder) == sorted(os.fsencode(path + ".jpg") for path in paths)


def test_folders_too_large_for_the_memory_are_sorted_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "in_order", partial(in_order, run_records=3))
    paths = [f"{folder}{index}.jpg" for folder in ("", "b/", "a/c/") for index in range(20)]
    touch(tmp_path / "photos", *paths)
    listed = listing.images(tmp_path / "photos", tmp_path).names()
    assert list(listed) == sorted(map(os.fsencode, paths))
    assert os.listdir(tmp_path) == ["photos"]
    with pytest.raises(FileNotFoundError, match="nowhere"):  # so that is where it would be
        list(listing.images(tmp_path / "photos", tmp_path / "nowhere").names())


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied by a program that needs no recursion either."""
    folder = tmp_path / "deep"
    folder.mkdir()
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def dig(folder: Path, name: str, levels: int) -> None:
    """Folders in folders, with x.jpg in the last."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("x.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_a_deep_tree_needs_no_recursion(deep: Path) -> None:
    dig(deep, "d", 1_200)
    assert names(deep) == [b"d/" * 1_200 + b"x.jpg"]


def test_what_lies_deeper_than_paths_can_be_long_is_one_failure(deep: Path) -> None:
    dig(deep, "d" * 200, 25)  # 5,000 bytes; Linux takes 4,095
    (name,) = names(deep)
    assert name.endswith(b"d/")
    with pytest.raises(BadImage, match="too long"):
        decode(file(os.path.join(os.fsencode(deep), name)), TORCHVISION)


def test_a_list_keeps_its_order_and_its_spelling(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.jpg")
    lines = ["b.jpg", str(tmp_path / "a.jpg"), "./a.jpg", "missing.jpg", "b.jpg", "sub/../a.jpg", "no suffix", " a.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    source = listing.images(tmp_path / "list.txt")
    assert list(source.names()) == [os.fsencode(line) for line in lines]
    assert source.content(b"a.jpg") == file(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa.jpg\r\n\r\n\xe9\x9b\xaa.jpg\r\n", b"a.jpg\n\n\n\xe9\x9b\xaa.jpg"])
def test_lists_of_windows_editors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "LIST.TXT").write_bytes(content)
    assert names(tmp_path / "LIST.TXT") == [b"a.jpg", "雪.jpg".encode()]


@pytest.mark.parametrize("content", ["a.jpg\n".encode("utf-16"), b"a.jpg\n\xe9.jpg\n", b"a\0b.jpg\n"])
def test_a_list_that_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(ResnetFeaError, match=r"list\.txt: cannot be read as a UTF-8 list"):
        names(tmp_path / "list.txt")


def test_one_image(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    source = listing.images(tmp_path / "a.jpg")
    assert list(source.names()) == [b"a.jpg"]
    assert source.content(b"a.jpg") == file(tmp_path / "a.jpg")


def test_nothing_to_list(tmp_path: Path) -> None:
    assert names(tmp_path) == []
    touch(tmp_path, "movie.mp4")
    for wrong in ("missing", "missing.jpg", "missing.txt", "movie.mp4"):
        with pytest.raises(ResnetFeaError, match=wrong):
            listing.images(tmp_path / wrong)
