"""Known names and URLs: downloaded once, held to their digest, and never a connection where none may be."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from resnetfea import cache_folder
from resnetfea.cli import app
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import locate, look, read
from resnetfea.weights.known import KNOWN, Published
from resnetfea.weights.recipe import TORCHVISION
from weights.making import DATA
from weights.serving import Server, cut, serving, status

TINY, OTHER = (DATA / "tiny.pth").read_bytes(), (DATA / "tiny-module.pth").read_bytes()
SHA256 = hashlib.sha256(TINY).hexdigest()
RECIPE = replace(TORCHVISION, resize=100)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of its own, and nothing set by who runs the tests."""
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))
    for name in (*locate.OFFLINE, locate.MIRROR, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves tiny.pth, which is known as `pinned`, with its digest, and as `loose`, without."""
    with serving(TINY) as server:
        common: dict[str, Any] = {"publisher": "Tiny", "what": "a test's", "licence": "none"}
        pinned = Published(url=server.url("/p/pinned.pth"), file="pinned.pth", sha256=SHA256, size=len(TINY), **common)
        loose = Published(url=server.url("/l/loose.pth"), file="loose.pth", **common)
        monkeypatch.setitem(KNOWN, "pinned", replace(pinned, recipe=RECIPE, variant={"bn_eps": 0.0}))
        monkeypatch.setitem(KNOWN, "loose", replace(loose, recipe=RECIPE))
        yield server


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a connection fails the test."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))


@pytest.fixture
def read_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the cache can't be written; by a patch, for root may write anywhere."""
    opened, written = os.open, Path.write_text

    def check(path: Any) -> None:
        if Path(path).is_relative_to(cache):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

    def checked_open(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            check(path)
        return opened(path, flags, *rest, **options)

    def checked_text(path: Path, *rest: Any, **options: Any) -> int:
        check(path)
        return written(path, *rest, **options)

    monkeypatch.setattr(os, "open", checked_open)
    monkeypatch.setattr(Path, "write_text", checked_text)


def refused(weights: str, *says: str, offline: bool = False) -> None:
    with pytest.raises(ResnetFeaError) as caught:
        read(weights, offline=offline)
    for text in says:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- known names -----------------------------------------------------------------------------------------------------


def test_a_known_name_is_downloaded_once(server: Server, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "resnetfea")
    told: list[tuple[int, int]] = []
    found = read("pinned", progress=lambda *now: told.append(now))
    assert (found.path, found.sha256) == (cache / "pinned.pth", SHA256)
    assert told[-1] == (len(TINY), len(TINY))
    assert f"downloading pinned from {server.url('/p/pinned.pth')} (licence: none)" in caplog.text
    assert sorted(os.listdir(cache)) == ["CACHEDIR.TAG", "pinned.pth"]
    assert (cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    caplog.clear()
    assert read("pinned").path == found.path
    assert (len(server.asked), caplog.text) == (1, "")


@pytest.mark.parametrize("name", ["pinned", "loose"])
def test_the_publishers_recipe_comes_with_the_name(name: str, server: Server) -> None:
    for _ in ("downloaded", "from the cache"):
        found = read(name)
        assert (found.recipe, found.recipe_of) == (RECIPE, "Tiny")
        assert found.variant.bn_eps == (0.0 if name == "pinned" else 1e-5)


def test_without_a_recipe_of_its_own_it_is_the_ecosystems(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "pinned", replace(KNOWN["pinned"], recipe=None))
    assert (read("pinned").recipe, read("pinned").recipe_of) == (TORCHVISION, "torchvision")


def test_a_file_is_known_by_its_digest_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    published = replace(KNOWN["imagenet-v2"], sha256=SHA256)
    monkeypatch.setitem(KNOWN, "imagenet-v2", published)
    found = look(DATA / "tiny.pth")
    assert (found.recipe.resize, found.recipe_of) == (232, "torchvision IMAGENET1K_V2")


def test_a_file_is_known_by_the_digits_in_its_publishers_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMMLab's Caffe weights have torchvision's names and stride in the 1x1; nothing in the file tells."""
    assert KNOWN["msra-mmdet"].prefix == "5891d200"
    assert look(DATA / "tiny.pth").variant.stride_in == "3x3"
    url = KNOWN["msra-mmdet"].url.replace("5891d200", SHA256[:8])
    monkeypatch.setitem(KNOWN, "msra-mmdet", replace(KNOWN["msra-mmdet"], url=url))
    found = look(DATA / "tiny.pth")
    assert (found.variant.stride_in, found.recipe.color) == ("1x1", "bgr")


def test_a_known_name_goes_before_a_file_called_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pinned").write_bytes(OTHER)
    monkeypatch.chdir(tmp_path)
    assert read("pinned").sha256 == SHA256
    assert read("./pinned").sha256 != SHA256
    assert len(server.asked) == 1


def test_a_cached_file_that_was_damaged_is_never_used_nor_replaced(server: Server, cache: Path) -> None:
    read("pinned")
    (cache / "pinned.pth").write_bytes(TINY[:-1] + b"x")
    refused("pinned", str(cache / "pinned.pth"), "damaged", SHA256, "remove the file and run again")
    assert (cache / "pinned.pth").read_bytes() == TINY[:-1] + b"x"
    (cache / "pinned.pth").unlink()
    read("pinned")
    assert len(server.asked) == 2


def test_a_file_put_there_by_hand(server: Server, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "pinned.pth").write_bytes(OTHER)
    refused("pinned", "damaged", SHA256)
    (cache / "pinned.pth").write_bytes(TINY)
    assert read("pinned", offline=True).sha256 == SHA256
    assert server.asked == []


def test_an_unknown_name_is_told_the_known_ones(no_network: None) -> None:
    refused("imagnet", "no such weights file", "imagenet", "moco-v2")


def test_a_local_file_is_never_downloaded(no_network: None) -> None:
    assert read(DATA / "tiny.pth").sha256 == SHA256
    assert read(str(DATA / "tiny.pth")).sha256 == SHA256


# ---- offline ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offline", "variable"), [(True, ""), (False, "RESNETFEA_OFFLINE"), (False, "HF_HUB_OFFLINE")])
@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_and_not_cached_says_what_to_do(
    offline: bool, variable: str, value: str, cache: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, value)
    entry = KNOWN["imagenet"]
    where = str(cache / "resnet50-0676ba61.pth")
    because = f"{variable}={value}" if variable else "--offline"
    refused("imagenet", "not in the cache", because, entry.url, f"sha256 {entry.sha256}", where, offline=offline)
    refused("moco-v2", KNOWN["moco-v2"].url, "nobody states its sha256", str(cache), offline=offline)
    refused("mindcv", "its sha256 begins with e0733ab8", offline=offline)
    refused("https://example.org/a-0676ba61.pth", "begins with 0676ba61", "-a-0676ba61.pth", offline=offline)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["pinned", "loose"])
def test_offline_and_cached(name: str, server: Server, request: pytest.FixtureRequest) -> None:
    read(name)
    request.getfixturevalue("no_network")
    assert read(name, offline=True).sha256 == SHA256
    assert len(server.asked) == 1


def test_zero_is_not_offline(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETFEA_OFFLINE", "0")
    assert read("pinned").sha256 == SHA256


# ---- first use -------------------------------------------------------------------------------------------------------


def test_the_first_use_pins(server: Server, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    read("loose")
    assert f"nobody states its sha256; from now on it must be {SHA256}" in caplog.text
    record = json.loads((cache / "loose.pth.first-use.json").read_text())
    date = record.pop("date")
    assert date.endswith("+00:00")
    assert record == {"name": "loose", "url": server.url("/l/loose.pth"), "size": len(TINY), "sha256": SHA256}
    caplog.clear()
    read("loose")
    assert caplog.text == ""


def test_a_file_that_changed_after_its_first_use(server: Server, cache: Path) -> None:
    read("loose")
    (cache / "loose.pth").write_bytes(OTHER)
    refused("loose", "damaged", SHA256)


def test_a_publisher_that_changes_the_file(server: Server, cache: Path) -> None:
    read("loose")
    (cache / "loose.pth").unlink()
    server.content = OTHER
    refused("loose", "not the file that was published", SHA256)
    assert sorted(os.listdir(cache)) == ["CACHEDIR.TAG", "loose.pth.first-use.json"]


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b'{"sha256": 1}', b'{"sha256": "0676ba61"}', b"\xff"])
def test_a_damaged_record_is_not_passed_over(record: bytes, server: Server, cache: Path) -> None:
    read("loose")
    (cache / "loose.pth.first-use.json").write_bytes(record)
    refused("loose", "loose.pth.first-use.json: damaged")


def test_what_is_no_weights_file_is_not_pinned(server: Server, cache: Path) -> None:
    server.content = b"<html>Please log in</html>"
    refused("loose", str(cache / "loose.pth"), "cannot be read as weights")
    assert not (cache / "loose.pth.first-use.json").exists()


# ---- URLs ------------------------------------------------------------------------------------------------------------


def test_a_url(server: Server, cache: Path) -> None:
    url = server.url(f"/some/we%20ights%2f-{SHA256[:8]}.pth?key=secret")
    found = read(url + "#part")
    assert (found.sha256, found.recipe_of) == (SHA256, "torchvision")
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    assert found.path == cache / f"{key}-we_ights_-{SHA256[:8]}.pth"
    assert read(url, offline=True).path == found.path
    assert len(server.asked) == 1
    assert "secret" not in found.path.with_name(f"{found.path.name}.first-use.json").read_text()


def test_two_urls_that_end_alike_are_two_files(server: Server) -> None:
    first = read(server.url("/a/model.pth"))
    server.content = OTHER
    second = read(server.url("/b/model.pth"))
    assert first.path != second.path
    assert first.sha256 != second.sha256


def test_a_urls_own_digest_must_agree(server: Server, cache: Path) -> None:
    refused(server.url("/model-0676ba61.pth"), "must begin with 0676ba61")
    assert os.listdir(cache) == ["CACHEDIR.TAG"]


@pytest.mark.parametrize("url", ["http://example.org/x.pth", "s3://bucket/x.pth", "file:///etc/passwd"])
def test_urls_that_are_not_taken(url: str, no_network: None) -> None:
    refused(url, url)


# ---- mirror ----------------------------------------------------------------------------------------------------------


def test_a_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror/"))
    assert read("pinned").sha256 == SHA256
    assert [path for path, _ in server.asked] == ["/mirror/pinned.pth"]


def test_a_mirror_cannot_swap_a_file(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror"))
    server.content = TINY[:-1] + b"x"
    refused("pinned", "/mirror/pinned.pth", SHA256)
    assert os.listdir(cache) == ["CACHEDIR.TAG"]


def test_a_mirror_does_not_pin(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror"))
    refused("loose", "nobody states its sha256", f"unset {locate.MIRROR}", server.url("/l/loose.pth"))
    assert server.asked == []
    monkeypatch.delenv(locate.MIRROR)
    read("loose")
    (cache / "loose.pth").unlink()
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror"))
    assert read("loose").sha256 == SHA256
    assert [path for path, _ in server.asked] == ["/l/loose.pth", "/mirror/loose.pth"]


def test_a_mirror_by_http_is_not_taken(monkeypatch: pytest.MonkeyPatch, no_network: None) -> None:
    monkeypatch.setenv(locate.MIRROR, "http://mirror.example.org")
    refused("imagenet", f"{locate.MIRROR}: http://mirror.example.org: only https")
    monkeypatch.setenv(locate.MIRROR, "/mnt/mirror")
    refused("imagenet", f"{locate.MIRROR}: /mnt/mirror: not a URL")


def test_a_mirror_that_lacks_the_file(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror"))
    server.answers = [status(404)]
    refused("pinned", "/mirror/pinned.pth", "404", f"does {locate.MIRROR} have it?", server.url("/p/pinned.pth"))


def test_urls_do_not_go_to_the_mirror(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(locate.MIRROR, server.url("/mirror"))
    read(server.url("/model.pth"))
    assert [path for path, _ in server.asked] == ["/model.pth"]


# ---- no way to the publisher -----------------------------------------------------------------------------------------


def test_behind_a_firewall_it_says_what_to_do(server: Server, cache: Path) -> None:
    """The digest and the place too: whoever brings the file from elsewhere needs them."""
    server.answers = [status(403)] * 3
    by_hand = f"bring {server.url('/p/pinned.pth')} (sha256 {SHA256}) here by hand, as {cache / 'pinned.pth'}"
    refused("pinned", "403", f"behind a firewall set HTTPS_PROXY or {locate.MIRROR}, or {by_hand}")
    refused("loose", "403", "set HTTPS_PROXY, or bring", str(cache / "loose.pth"))  # no mirror may send that one
    refused(server.url("/w.pth"), "403", "bring the file here by hand and give its path")
    (cache / "pinned.pth").write_bytes(TINY)
    assert read("pinned").sha256 == SHA256
    assert len(server.asked) == 3


def test_what_turns_out_to_be_a_page_can_be_removed(server: Server, cache: Path) -> None:
    server.content = b"<html>Virus scan warning</html>"
    for name in ("loose", server.url("/w.pth")):
        refused(name, "a web page", "remove it to download it again")
    assert not list(cache.glob("*.first-use.json"))


def test_what_the_user_gave_is_not_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"<html></html>")
    with pytest.raises(ResnetFeaError) as caught:
        read(tmp_path / "w.pth")
    assert "remove" not in str(caught.value)


# ---- a cache that cannot be written ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pinned", "loose"])
def test_a_read_only_cache_that_has_the_file(name: str, server: Server, request: pytest.FixtureRequest) -> None:
    read(name)
    request.getfixturevalue("read_only")
    assert read(name).sha256 == SHA256
    assert len(server.asked) == 1


def test_a_read_only_cache_without_a_record(
    server: Server, cache: Path, read_only: None, caplog: pytest.LogCaptureFixture
) -> None:
    cache.mkdir(parents=True)
    (cache / "loose.pth").write_bytes(TINY)
    assert read("loose").sha256 == SHA256
    assert "cannot be recorded here: Read-only file system" in caplog.text


@pytest.mark.parametrize("tagged", [True, False])
def test_a_read_only_cache_that_lacks_the_file(
    tagged: bool, server: Server, cache: Path, request: pytest.FixtureRequest
) -> None:
    cache.mkdir(parents=True)
    if tagged:
        (cache / "CACHEDIR.TAG").touch()
    request.getfixturevalue("read_only")
    says = ("cannot be written (Read-only file system)", cache_folder.VARIABLE, SHA256, str(cache / "pinned.pth"))
    refused("pinned", *says)
    assert server.asked == []


def test_links_in_the_cache_are_not_written_through(server: Server, cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "CACHEDIR.TAG").symlink_to(tmp_path / "made")
    assert read("pinned").sha256 == SHA256
    assert not (tmp_path / "made").exists()
    (cache / "loose.pth.part").symlink_to(tmp_path / "made")
    refused("loose", "cannot be written")
    assert not (tmp_path / "made").exists()


def test_a_cache_that_is_a_file(server: Server, cache: Path) -> None:
    cache.parent.touch()
    refused("pinned", "cannot be written (Not a directory)", cache_folder.VARIABLE)


# ---- commands --------------------------------------------------------------------------------------------------------


def test_the_list(server: Server) -> None:
    read("loose")
    done = CliRunner().invoke(app, ["weights", "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    listed = {one["name"]: one for one in json.loads(done.stdout)["weights"]}
    assert list(listed) == list(KNOWN)
    assert [name for name, one in listed.items() if one["cached"]] == ["opennsfw", "loose"]
    assert listed["imagenet"]["sha256"] == KNOWN["imagenet"].sha256
    assert listed["loose"].keys() == {"name", "what", "licence", "size", "sha256", "url", "file", "cached"}
    assert (listed["loose"]["sha256"], listed["loose"]["size"]) == (None, None)
    lines = CliRunner().invoke(app, ["weights"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(KNOWN)
    assert "CC-BY-NC-4.0" in next(line for line in lines if line.startswith("swav"))


def test_inspect_downloads(server: Server) -> None:
    server.answers = [cut(1000)]
    done = CliRunner().invoke(app, ["inspect", "pinned", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["sha256"], found["recipe_of"], found["recipe"]["resize"]) == (SHA256, "Tiny", 100)


@pytest.mark.parametrize(
    "command",
    [["inspect", "imagenet"], ["extract", ".", "-o", "out", "--weights", "imagenet"], ["convert", "imagenet", "x.npz"]],
)
def test_offline_is_one_line(
    command: list[str], cache: Path, no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command, "--offline"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert str(cache / "resnet50-0676ba61.pth") in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_publisher_without_the_file_is_one_line(server: Server) -> None:
    server.answers = [status(404)]
    done = CliRunner().invoke(app, ["inspect", "pinned"])
    assert (done.exit_code, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"resnetfea: {server.url('/p/pinned.pth')}: cannot be downloaded: the server answered 404 Not Found; "
    )
