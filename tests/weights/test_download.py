"""Downloads against a server on this machine: cut, lied to, asked for twice. Nothing else is reached, nothing waits."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import download as module
from resnetfea.weights.download import ATTEMPTS, WORTH, Expected, check_url, download
from resnetfea.weights.part import Part
from weights.serving import Handler, Server, chunked, cut, endless, in_chunks, moved, serving, status, without_length

CONTENT = np.random.default_rng(7).bytes(3 << 20)
OTHER = np.random.default_rng(8).bytes(3 << 20)
LIMIT = 8 << 20
SOME = 1_000_000  # bytes before a cut

Fetch = Callable[..., bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Fetch:
    """Downloads, and gives what then lies under the final name; nothing else may lie beside it."""

    def run(url: str = "", limit: int = LIMIT, **expected: object) -> bytes:
        path = tmp_path / "file.pth"
        download(url or server.url(), path, expected=Expected(limit=limit, **expected), pause=0)  # type: ignore[arg-type]
        assert os.listdir(tmp_path) == ["file.pth"]
        return path.read_bytes()

    return run


@pytest.fixture
def interrupt(server: Server, tmp_path: Path) -> Callable[[int], None]:
    """Ctrl-C as soon as so many bytes have come. What has come stays."""

    def run(at: int) -> None:
        def progress(done: int, total: int) -> None:
            if done >= at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            download(server.url(), tmp_path / "file.pth", expected=Expected(limit=LIMIT), progress=progress, pause=0)
        assert sorted(os.listdir(tmp_path)) == ["file.pth.part", "file.pth.part.json"]

    return run


def refused(fetch: Fetch, tmp_path: Path, says: str, *, left: int = 0, **expected: Any) -> None:
    with pytest.raises(ResnetFeaError, match=says) as caught:
        fetch(**expected)
    assert "http" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "file.pth").exists()
    assert len(os.listdir(tmp_path)) == left


def test_whole(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "file.pth"
    expected = Expected(limit=LIMIT, sha256=sha256(CONTENT), size=len(CONTENT))
    download(server.url(), path, expected=expected, progress=lambda *now: told.append(now))
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.pth"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    assert server.parts == [None]
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


# ---- cut connections -------------------------------------------------------------------------------------------------


def test_a_cut_download_goes_on_where_it_was(server: Server, fetch: Fetch) -> None:
    server.answers = [cut(SOME), cut(2 * SOME)]
    assert fetch(sha256=sha256(CONTENT)) == CONTENT
    assert server.parts == [None, f"bytes={SOME}-", f"bytes={2 * SOME}-"]
    assert server.asked[1][1]["If-Range"] == '"one"'


def test_an_interrupted_download_goes_on_in_the_next_run(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None], tmp_path: Path
) -> None:
    interrupt(SOME)
    have = (tmp_path / "file.pth.part").stat().st_size
    assert SOME <= have < len(CONTENT)
    assert fetch() == CONTENT
    assert server.parts == [None, f"bytes={have}-"]


def test_an_interrupted_download_says_that_it_is_kept(
    interrupt: Callable[[int], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "resnetfea")
    interrupt(100_000)
    size = (tmp_path / "file.pth.part").stat().st_size
    assert caplog.messages == [f"{size:,} bytes of file.pth have come; the next run goes on from there"]


def test_interrupted_behind_the_last_byte_nothing_is_asked_again(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None]
) -> None:
    interrupt(len(CONTENT))
    assert fetch(sha256=sha256(CONTENT)) == CONTENT
    assert len(server.asked) == 1


def test_the_part_of_another_url_is_not_gone_on_from(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None]
) -> None:
    interrupt(SOME)
    assert fetch(server.url("/mirror.pth")) == CONTENT
    assert server.parts == [None, None]


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"url": 1, "validator": 2, "total": "x"}', None])
def test_a_part_of_unknown_version_is_not_gone_on_from(
    note: bytes | None, server: Server, fetch: Fetch, interrupt: Callable[[int], None], tmp_path: Path
) -> None:
    interrupt(SOME)
    path = tmp_path / "file.pth.part.json"
    if note is None:
        path.unlink()
    else:
        path.write_bytes(note)
    assert fetch() == CONTENT
    assert server.parts == [None, None]


def test_a_server_without_ranges_sends_all_again(server: Server, fetch: Fetch) -> None:
    server.ranges = False
    server.answers = [cut(SOME)]
    assert fetch() == CONTENT
    assert server.parts == [None, f"bytes={SOME}-"]


def test_a_server_that_names_no_version_is_asked_for_all_again(server: Server, fetch: Fetch) -> None:
    def cut_without_version(handler: Handler) -> None:
        handler.begin(200, Content_Length=len(CONTENT), ETag='W/"weak"')
        handler.wfile.write(CONTENT[:SOME])

    server.answers = [cut_without_version]
    assert fetch() == CONTENT
    assert server.parts == [None, None]


def test_a_file_that_changed_meanwhile_comes_whole(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None]
) -> None:
    interrupt(SOME)
    server.content, server.etag = OTHER, '"two"'
    assert fetch() == OTHER
    assert server.asked[1][1]["If-Range"] == '"one"'


def test_a_changed_file_is_noticed_though_the_server_ignores_if_range(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None]
) -> None:
    def rude(handler: Handler) -> None:
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        where = f"bytes {start}-{len(OTHER) - 1}/{len(OTHER)}"
        handler.begin(206, ETag='"two"', Content_Length=len(OTHER) - start, Content_Range=where)
        handler.wfile.write(OTHER[start:])

    interrupt(SOME)
    server.content, server.etag, server.answers = OTHER, '"two"', [rude]
    assert fetch() == OTHER
    assert server.parts[2] is None


@pytest.mark.parametrize(
    "where", ["bytes 0-{end}/{all}", "bytes {start}-{end}/*", "bytes {start}-99/{all}", "{start}-{end}/{all}", ""]
)
def test_another_part_than_asked_for_is_not_taken(where: str, server: Server, fetch: Fetch) -> None:
    def another(handler: Handler) -> None:
        told = where.format(start=SOME, end=len(CONTENT) - 1, all=len(CONTENT))
        handler.begin(206, ETag='"one"', Content_Length=len(CONTENT), Content_Range=told)
        handler.wfile.write(CONTENT)

    server.answers = [cut(SOME), another]
    assert fetch() == CONTENT
    assert server.parts == [None, f"bytes={SOME}-", None]


def test_a_part_that_the_server_has_no_more_is_dropped(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None]
) -> None:
    interrupt(SOME)
    server.content = OTHER[:1000]  # under the old ETag
    assert fetch() == OTHER[:1000]
    assert server.parts[2] is None


def test_cuts_that_get_further_are_not_counted(server: Server, fetch: Fetch) -> None:
    cuts = ATTEMPTS + 2
    server.content = bytes(cuts * WORTH + 1)
    server.answers = [cut((count + 1) * WORTH) for count in range(cuts)]
    assert len(fetch(limit=len(server.content))) == len(server.content)
    assert len(server.asked) == cuts + 1


def test_cuts_that_bring_nothing_new_end(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [cut(SOME)] * 100
    refused(fetch, tmp_path, "cut after 1,000,000 of 3,145,728 bytes; 1,000,000 bytes have come, run again", left=2)
    assert len(server.asked) == ATTEMPTS
    server.answers = []
    assert fetch() == CONTENT
    assert server.parts[-1] == f"bytes={SOME}-"


# ---- lies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expected", [{"sha256": sha256(OTHER)}, {"prefix": sha256(OTHER)[:8]}])
def test_wrong_bytes(expected: dict[str, Any], server: Server, fetch: Fetch, tmp_path: Path) -> None:
    refused(fetch, tmp_path, f"its sha256 is {sha256(CONTENT)} and must .*{next(iter(expected.values()))}", **expected)
    assert len(server.asked) == 1


def test_wrong_bytes_of_the_part_before_the_cut(
    server: Server, fetch: Fetch, interrupt: Callable[[int], None], tmp_path: Path
) -> None:
    interrupt(SOME)
    with (tmp_path / "file.pth.part").open("r+b") as part:
        part.write(b"\0\0\0\0")
    refused(fetch, tmp_path, "not the file that was published", sha256=sha256(CONTENT))
    assert fetch(sha256=sha256(CONTENT)) == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_wrong_size_as_announced(size: int, fetch: Fetch, tmp_path: Path) -> None:
    refused(fetch, tmp_path, f"3,145,728 bytes where {size:,} belong", size=size)


@pytest.mark.parametrize(("size", "says"), [(len(CONTENT) - 1, "longer than"), (len(CONTENT) + 1, "bytes came where")])
def test_wrong_size_unannounced(size: int, says: str, server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [chunked]
    refused(fetch, tmp_path, says, size=size)


def test_too_large_as_announced(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [endless(200, Content_Length=1 << 60)]
    refused(fetch, tmp_path, "no ResNet's weights need more than 8,388,608", size=None)


@pytest.mark.parametrize("headers", [{}, {"Content_Length": "-1"}, {"Content_Length": "many"}])
def test_never_ending(headers: dict[str, str], server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [endless(200, **headers)]
    refused(fetch, tmp_path, "longer than 8,388,608 bytes", sha256=sha256(CONTENT))


def test_a_file_whose_end_nobody_knows_is_refused(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [without_length] * 3
    refused(fetch, tmp_path, "does not say how long it is")
    assert fetch(sha256=sha256(CONTENT)) == CONTENT


def test_chunks_mark_their_end(server: Server, fetch: Fetch) -> None:
    server.answers = [in_chunks(b"fffff\r\n" + CONTENT[:SOME]), in_chunks(b"many\r\n" + CONTENT[:SOME]), chunked]
    assert fetch() == CONTENT
    assert len(server.asked) == 3


def test_packed_content_is_refused(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [status(200, Content_Encoding="gzip")]
    refused(fetch, tmp_path, "sends it packed")


# ---- other answers ---------------------------------------------------------------------------------------------------


def test_redirects_are_followed_with_the_range(server: Server, fetch: Fetch) -> None:
    server.answers = [moved("/there.pth"), cut(SOME), moved(server.url("/there.pth"))]
    assert fetch() == CONTENT
    assert [path for path, _ in server.asked] == ["/file.pth", "/there.pth"] * 2
    assert server.parts == [None, None, f"bytes={SOME}-", f"bytes={SOME}-"]


@pytest.mark.parametrize(
    "location", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "//[bad", "https://a b/"]
)
def test_bad_redirects(location: str, server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [moved(location)]
    refused(fetch, tmp_path, "its redirect cannot be followed")
    assert len(server.asked) == 1


def test_https_never_becomes_http() -> None:
    assert module._redirected("http://localhost/a", "b") == "http://localhost/b"
    assert module._redirected("https://example.org/a", "https://cdn.example.org/b") == "https://cdn.example.org/b"
    with pytest.raises(ResnetFeaError, match="from https to http"):
        module._redirected("https://example.org/a", "http://localhost/b")


def test_redirects_in_a_ring(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [moved("/file.pth")] * 100
    refused(fetch, tmp_path, "more than 10 redirects")


def test_the_text_of_a_redirect_or_an_error_is_not_read(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [endless(302, Location="/there"), endless(503)]
    assert fetch() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_what_will_not_change_is_asked_once(code: int, server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [status(code)] * 100
    refused(fetch, tmp_path, f"the server answered {code}")
    assert len(server.asked) == 1


def test_a_web_page_is_not_the_file_and_costs_no_bytes(
    interrupt: Callable[[int], None], server: Server, fetch: Fetch, tmp_path: Path
) -> None:
    """A hotel's login, a company's proxy: what came before it stays."""

    def page(handler: Handler) -> None:
        handler.begin(200, Content_Type="text/html; charset=utf-8", Content_Length=6)
        handler.wfile.write(b"<html>")

    server.answers = [page]
    refused(fetch, tmp_path, "a web page instead of the file")
    interrupt(100_000)
    server.answers = [page]
    refused(fetch, tmp_path, "a web page instead of the file", left=2)
    assert fetch() == CONTENT
    assert server.parts[-1] not in (None, "bytes=0-")


def test_server_errors_are_tried_again_and_then_told(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    server.answers = [status(500)] * ATTEMPTS
    refused(fetch, tmp_path, "the server answered 500")
    assert len(server.asked) == ATTEMPTS
    server.answers = [status(500), status(429)]
    assert fetch() == CONTENT


def test_nobody_answers(fetch: Fetch, tmp_path: Path) -> None:
    with serving(b"") as gone:
        url = gone.url()
    refused(fetch, tmp_path, "no connection", url=url)


def test_what_is_no_http_is_an_error(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    def noise(handler: Handler) -> None:
        handler.wfile.write(b"\0\1\2\x1b[2J\n" * 100)

    server.answers = [noise] * ATTEMPTS
    refused(fetch, tmp_path, "no answer")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/x.pth", "only https"),
        ("http://localhost.example.org/x.pth", "only https"),
        ("ftp://example.org/x.pth", "only https"),
        ("file:///etc/passwd", "not a URL"),
        ("https:///x.pth", "not a URL"),
        ("https://example.org:port/x.pth", "not a URL"),
        ("https://[::1/x.pth", "not a URL"),
        ("https://example.org/x y.pth", "not a URL"),
        ("https://example.org/x\r\nHost: y", "not a URL"),
        ("https://ex\u00e4mple.org/x.pth", "not a URL"),
        ("https://me:secret@example.org/x.pth", "name or password"),
    ],
)
def test_urls_that_are_not_taken(url: str, says: str) -> None:
    with pytest.raises(ResnetFeaError, match=says) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_host_that_cannot_be_one(fetch: Fetch, tmp_path: Path) -> None:
    refused(fetch, tmp_path, "not a URL", url=f"https://{'x' * 70}.example/")


# ---- two at once -----------------------------------------------------------------------------------------------------

DOWNLOAD = """
import logging, sys
from pathlib import Path
from resnetfea.weights.download import Expected, download
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
download(sys.argv[1], Path(sys.argv[2]), expected=Expected(limit=1 << 30))
"""


def process(server: Server, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, server.url(), str(path)], stderr=subprocess.PIPE, text=True
    )


class Held:
    """Answers in two halves, the second when it is let go."""

    def __init__(self, server: Server) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        server.answers = [self.answer]

    def answer(self, handler: Handler) -> None:
        content = handler.server.content
        handler.begin(200, ETag=handler.server.etag, Content_Length=len(content))
        handler.wfile.write(content[:SOME])
        self.begun.set()
        self.go.wait(60)
        handler.wfile.write(content[SOME:])


def waits(one: subprocess.Popen[str]) -> None:
    assert one.stderr is not None
    assert "another process is downloading" in one.stderr.readline()


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    held, path = Held(server), tmp_path / "file.pth"
    first = process(server, path)
    assert held.begun.wait(60)
    second = process(server, path)
    waits(second)
    held.go.set()
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert server.parts == [None]
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.pth"]


def test_who_waits_goes_on_when_the_other_is_killed(server: Server, tmp_path: Path) -> None:
    held, path = Held(server), tmp_path / "file.pth"
    first = process(server, path)
    assert held.begun.wait(60)
    second = process(server, path)
    waits(second)
    first.kill()
    first.wait(60)
    assert second.wait(60) == 0
    held.go.set()
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.pth"]
    assert len(server.asked) == 2


def test_a_file_that_is_there_already_is_left_alone(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "file.pth").write_bytes(OTHER)
    assert fetch() == OTHER
    assert server.asked == []


def test_without_locks_each_downloads_for_itself(server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    server.answers = [cut(SOME)]
    assert fetch() == CONTENT
    assert server.parts == [None, f"bytes={SOME}-"]


# ---- this machine ----------------------------------------------------------------------------------------------------


def test_a_part_that_is_a_link_is_not_written_through(server: Server, fetch: Fetch, tmp_path: Path) -> None:
    """In a cache that others can write to."""
    (tmp_path / "mine").write_bytes(b"precious")
    (tmp_path / "file.pth.part").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic links"):
        fetch()
    assert (tmp_path / "mine").read_bytes() == b"precious"


def test_a_full_disk_is_the_callers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Part, "append", full)
    with pytest.raises(OSError, match="No space left"):
        download(server.url(), tmp_path / "file.pth", expected=Expected(limit=LIMIT), pause=0)
    assert len(server.asked) == 1
    assert not (tmp_path / "file.pth").exists()


def test_the_note_says_which_version(interrupt: Callable[[int], None], server: Server, tmp_path: Path) -> None:
    interrupt(SOME)
    note = json.loads((tmp_path / "file.pth.part.json").read_text())
    assert note == {"url": server.url(), "validator": '"one"', "total": len(CONTENT)}
