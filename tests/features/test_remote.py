"""URLs as the source. fsspec's memory:// stands for a store in the net."""

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import fsspec.core
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry, known_implementations

from features.test_tars import found, info
from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing, remote
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import read


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(store: MemoryFileSystem, *paths: str) -> None:
    """Files that hold their own name."""
    for path in paths:
        store.pipe_file(f"/{path}", path.encode())


def tar(*names: str) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name in names:
            archive.addfile(info(name, size=len(name)), io.BytesIO(name.encode()))
    return whole.getvalue()


def test_a_folder_as_a_local_one(store: MemoryFileSystem) -> None:
    put(store, "b/p/z.jpg", "b/p/a/x.PNG", "b/p/a.b/雪.jpg", "b/p/n.txt", "b/p/.h.jpg", "b/p/.c/y.jpg", "b/other.jpg")
    wanted = [(name, f"b/p/{name}".encode()) for name in ("a.b/雪.jpg", "a/x.PNG", "z.jpg")]
    assert found("memory://b/p") == wanted
    assert found("memory://b/p/") == wanted
    assert listing.images("memory://b/p").where == "memory://b/p"


def test_objects_that_stand_for_folders_are_no_images(monkeypatch: pytest.MonkeyPatch, store: MemoryFileSystem) -> None:
    put(store, "b/p/a.jpg")
    ls = MemoryFileSystem.ls

    def with_markers(self: MemoryFileSystem, path: str, **options: Any) -> list[dict[str, Any]]:
        markers = [{"name": name, "size": 0, "type": "file"} for name in (path, path + "/", path + "/album.jpg/")]
        return markers + list(ls(self, path, **options))

    monkeypatch.setattr(MemoryFileSystem, "ls", with_markers)
    assert found("memory://b/p") == [("a.jpg", b"b/p/a.jpg")]


def test_patterns(store: MemoryFileSystem) -> None:
    put(store, "b/1/x.jpg", "b/2/x.jpg", "b/2/deep/y.jpg", "b/[1]/z.jpg")
    store.pipe_file("/b/2/s.tar", tar("m.jpg"))
    assert [name for name, _ in found("memory://b/*/x.jpg")] == ["1/x.jpg", "2/x.jpg"]
    assert found("memory://b/2/**") == [
        ("deep/y.jpg", b"b/2/deep/y.jpg"),
        ("s.tar/m.jpg", b"m.jpg"),
        ("x.jpg", b"b/2/x.jpg"),
    ]
    assert [name for name, _ in found("memory://b/[1]")] == ["z.jpg"]
    with pytest.raises(ResnetFeaError, match="no image and no"):
        found("memory://b/*.gif")


def test_archives_are_read_in_spans(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tar("2.jpg", "1.json", "1.jpg")
    store.pipe_file("/b/x.tar", whole)
    images = listing.images("memory://b/x.tar")
    contents = [(images.shown(name), images.content(name)) for name in images.names()]
    spans = []
    cat_file = MemoryFileSystem.cat_file

    def noted(self: MemoryFileSystem, path: str, start: int | None = None, end: int | None = None) -> bytes:
        spans.append((start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", noted)
    assert [(name, read(content)) for name, content in contents] == [("2.jpg", b"2.jpg"), ("1.jpg", b"1.jpg")]
    assert spans == [(512, 517), (512 * 5, 512 * 5 + 5)]
    store.pipe_file("/b/x.tar", whole[: 512 * 5 + 2])
    assert found("memory://b/x.tar")[1:] == [
        ("1.jpg", "cut short: cut short"),
        ("x.tar", "cut short: the archive is cut short at byte 2,562"),
    ]


def test_one_image_and_a_list(store: MemoryFileSystem, tmp_path: Path) -> None:
    put(store, "b/a.jpg", "b/sub/c.jpg", "d/e.jpg")
    store.pipe_file("/b/x.tar", tar("m.jpg"))
    assert found("memory://b/a.jpg") == [("a.jpg", b"b/a.jpg")]
    (tmp_path / "here.jpg").write_bytes(b"here")
    lines = [
        "sub/c.jpg",
        "memory://d/e.jpg",
        "missing.jpg",
        "x.tar",
        "memory://b/x.tar",
        f"file://{tmp_path}/here.jpg",
        "sub/",
    ]
    store.pipe_file("/b/list.txt", "\r\n".join(lines).encode("utf-8-sig"))
    assert found("memory://b/list.txt") == [
        ("sub/c.jpg", b"b/sub/c.jpg"),
        ("memory://d/e.jpg", b"d/e.jpg"),
        ("missing.jpg", "missing: no such file"),
        ("x.tar/m.jpg", b"m.jpg"),
        ("memory://b/x.tar/m.jpg", b"m.jpg"),
        (f"file://{tmp_path}/here.jpg", b"here"),
        ("sub/", "unreadable: a folder that could not be listed"),
    ]
    (tmp_path / "list.txt").write_text("here.jpg\nmemory://d/e.jpg\nnosuch://a.jpg\n")
    assert found(tmp_path / "list.txt") == [
        ("here.jpg", b"here"),
        ("memory://d/e.jpg", b"d/e.jpg"),
        ("nosuch://a.jpg", "missing: no such file"),
    ]


def test_files_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    for url in (f"file://{tmp_path}", f"file://{tmp_path}/*.jpg", f"file://{tmp_path}/a.jpg"):
        assert found(url) == [("a.jpg", b"a")]
        assert listing.images(url).content(b"a.jpg") == (os.fsencode(tmp_path / "a.jpg"), 0, None)


def test_what_is_not_there(store: MemoryFileSystem) -> None:
    put(store, "b/movie.mp4")
    for url in (
        "memory://nowhere",
        "memory://b/x.jpg",
        "memory://nowhere/*.jpg",
        "memory://b/movie.mp4",
        "memory://b/x.tar.gz",
    ):
        with pytest.raises(ResnetFeaError, match="memory://"):
            found(url)
    with pytest.raises(ResnetFeaError, match="Protocol not known: nosuch"):
        found("nosuch://b/a.jpg")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_implementations, "s9", {"class": "s9fs_absent.S9", "err": "Install s9fs"})
    with pytest.raises(ResnetFeaError, match=r"^s9://bucket: needs .*: pip install s9fs_absent$"):
        listing.images("s9://user:secret@bucket")


class Flaky(MemoryFileSystem):  # type: ignore[misc]
    """Fails in all ways, by name."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("flaky://", "memory://")))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path.endswith("locked"):
            raise PermissionError("Forbidden")
        return super().ls(path, detail=detail, **options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if "reset" in path:
            raise RuntimeError("connection reset\nby peer")
        if "nothing" in path:
            raise ValueError("416 Range Not Satisfiable")
        if "whole" in path:
            start = end = None
        return bytes(super().cat_file(path, start=start, end=end, **options))


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    yield fsspec.filesystem("flaky")
    Flaky.store.clear()
    del _registry["flaky"]


def test_failures_stay_with_their_images(flaky: Flaky) -> None:
    put(flaky, "b/a.jpg", "b/locked/x.jpg", "b/reset.jpg", "b/z.jpg")
    flaky.pipe_file("/b/nothing.jpg", b"")
    flaky.pipe_file("/b/whole.tar", tar("m.jpg"))
    flaky.pipe_file("/b/y.jpg", b"0123456789abcdef")
    (large,) = [images.content(b"y.jpg") for images in [listing.images("flaky://b", most=9)]]
    assert callable(large)
    assert len(large()) == 10  # one more than allowed, and images.read says so
    assert found("flaky://b/**") == [
        ("a.jpg", b"b/a.jpg"),
        ("locked/", "unreadable: a folder that could not be listed"),
        ("nothing.jpg", "empty: empty file"),
        ("reset.jpg", "unreadable: cannot be fetched: RuntimeError: connection reset"),
        ("whole.tar/m.jpg", "unreadable: the server does not give parts of a file"),
        ("y.jpg", b"0123456789abcdef"),
        ("z.jpg", b"b/z.jpg"),
    ]
    with pytest.raises(ResnetFeaError, match=r"flaky://b/locked: cannot be listed: PermissionError: Forbidden"):
        found("flaky://b/locked")


def test_contents_are_fetched_by_threads_one_at_a_time_where_the_system_is_not_asynchronous(
    flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"b/{index}.jpg" for index in range(40)]
    put(flaky, *names)
    inside = []

    def alone(self: Flaky, path: str, **options: Any) -> bytes:
        inside.append(path)
        assert inside == [path]
        data = bytes(MemoryFileSystem.cat_file(self, path))
        inside.remove(path)
        return data

    monkeypatch.setattr(Flaky, "cat_file", alone)
    images = pickle.loads(pickle.dumps(listing.images("flaky://b")))  # as another process gets it
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(read, [images.content(name) for name in images.names()]))
    assert sorted(got) == sorted(name.encode() for name in names)


def test_a_member_that_is_gone_meanwhile(store: MemoryFileSystem) -> None:
    put(store, "b/a.jpg")
    content = listing.images("memory://b").content(b"a.jpg")
    store.rm_file("/b/a.jpg")
    with pytest.raises(BadImage, match="no such file"):
        read(content)


@pytest.mark.parametrize("line", ["ftp://127.0.0.1:1/a.jpg", "ftp://[bad/a.jpg", "zip://a.jpg::/nofile.zip"])
def test_a_line_that_leads_nowhere_is_one_failure(tmp_path: Path, line: str) -> None:
    """It is looked at where its bytes are wanted, not when the list is read: a dead server keeps nobody waiting."""
    (tmp_path / "b.jpg").write_bytes(b"bytes")
    (tmp_path / "list.txt").write_text(f"{line}\nb.jpg\n")
    (nowhere, image) = found(str(tmp_path / "list.txt"))
    assert nowhere[0] == line
    assert isinstance(nowhere[1], str)
    assert nowhere[1].startswith("unreadable: ")
    assert image == ("b.jpg", b"bytes")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/photos/**/*.jpg", "s3://bucket/photos/**/*.jpg"),
        ("s3://bucket/img?.jpg", "s3://bucket/img?.jpg"),
        ("https://user:pass@host:8080/a/list.txt", "https://host:8080/a/list.txt"),
        ("https://h/a.jpg?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/a.jpg"),
        ("sftp://token@host/@home/a.jpg", "sftp://host/@home/a.jpg"),
        ("simplecache::https://u:p@h/a.jpg", "simplecache::https://h/a.jpg"),
    ],
)
def test_secrets_stay_out_of_the_manifest(url: str, shown: str) -> None:
    assert remote.public(url) == shown


def test_a_query_goes_with_every_name_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, store: MemoryFileSystem
) -> None:
    """As signed https addresses need it; here a memory store plays the server."""
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (store, url))
    signed = "?sig=a/b&se=1"
    for name in ("a.jpg", "list.txt"):
        store.pipe_file(f"https://host/c/{name}{signed}", b"a.jpg")
    for url in (f"https://host/c/a.jpg{signed}", f"https://host/c/list.txt{signed}"):
        assert found(url) == [("a.jpg", b"a.jpg")]
        assert "sig" not in listing.images(url).where


@pytest.mark.parametrize("cause", [OSError("refused"), None])
def test_a_server_that_is_not_there_is_no_missing_file(
    monkeypatch: pytest.MonkeyPatch, store: MemoryFileSystem, cause: Exception | None
) -> None:
    def info(*_: object) -> None:
        raise FileNotFoundError("memory://b/a.jpg") from cause

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    with pytest.raises(ResnetFeaError, match="cannot be reached: OSError: refused" if cause else "no such"):
        listing.images("memory://b/a.jpg")
