"""Archives as the source."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing, tars
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import read
from resnetfea.features.records import Lost, Member, packed, unpacked
from resnetfea.features.source import Place

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def write(path: Path, files: Iterable[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in files:
            tar.addfile(info(name, size=len(data)), io.BytesIO(data))
    return path


def info(name: str, type: bytes = tarfile.REGTYPE, **facts: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = type
    for fact, value in facts.items():
        setattr(member, fact, value)
    return member


def found(source: str | Path) -> list[tuple[str, bytes | str]]:
    """`path` and the bytes, or why there are none."""
    images = listing.images(source)
    result: list[tuple[str, bytes | str]] = []
    for name in images.names():
        assert b"\0" not in name
        try:
            result.append((images.shown(name), read(images.content(name))))
        except BadImage as bad:
            result.append((images.shown(name), f"{bad.kind}: {bad.reason}"))
    return result


def test_a_shard_as_webdataset_writes_it(tmp_path: Path) -> None:
    samples = [(f"{key:06}", [("json", b"{}"), ("jpg", b"J%d" % key), ("txt", b"a cat")]) for key in (3, 1, 2)]
    files = [(f"{key}.{suffix}", data) for key, parts in samples for suffix, data in parts]
    shard = write(tmp_path / "00000.tar", files, tarfile.USTAR_FORMAT)
    assert found(shard) == [("000003.jpg", b"J3"), ("000001.jpg", b"J1"), ("000002.jpg", b"J2")]
    assert isinstance(listing.images(shard).content(next(listing.images(shard).names())), Place)


def test_several_by_a_pattern_and_by_a_list(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "b.tar", [("2.jpg", b"two"), ("1.jpg", b"one")])
    write(tmp_path / "sub" / "a.TAR", [("2.jpg", b"too")])
    (tmp_path / "c.jpg").write_bytes(b"plain")
    several = [("b.tar/2.jpg", b"two"), ("b.tar/1.jpg", b"one")]
    assert found(tmp_path / "*") == [*several, ("c.jpg", b"plain")]
    assert found(tmp_path / "**" / "*.[tT][aA][rR]") == [*several, ("sub/a.TAR/2.jpg", b"too")]
    (tmp_path / "list.txt").write_text("sub/a.TAR\nc.jpg\nmissing.tar\nsub\nb.tar\n")
    assert found(tmp_path / "list.txt") == [
        ("sub/a.TAR/2.jpg", b"too"),
        ("c.jpg", b"plain"),
        ("missing.tar", "missing: no such file"),
        ("sub", "not a file: a folder that was not entered"),
        *several,
    ]


NAME = st.text(st.sampled_from("aé雪 /.\n\udcff") | st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)
BYTES = st.binary(min_size=1, max_size=1100)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAME.map(lambda name: f"x{name}.jpg"), BYTES), max_size=6), st.sampled_from(FORMATS[1:]))
def test_names_and_bytes_as_tarfile_reads_them(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]], format: int
) -> None:
    archive = write(tmp_path_factory.mktemp("tar") / "x.tar", files, format)
    with tarfile.open(archive) as tar:
        kept = [one for one in tar if not any(part.startswith(".") and part.strip(".") for part in one.name.split("/"))]
        wanted = [(listing.shown(os.fsencode(one.name)), tar.extractfile(one).read()) for one in kept]  # type: ignore[union-attr]
    assert [one for one in found(archive) if "..." not in one[0]] == [one for one in wanted if "..." not in one[0]]


def test_ustar_prefixes(tmp_path: Path) -> None:
    name = "/".join(["d" * 50] * 4) + "/a.jpg"
    assert found(write(tmp_path / "x.tar", [(name, b"1")], tarfile.USTAR_FORMAT)) == [(name, b"1")]


def test_odd_names_are_shown_as_they_are(tmp_path: Path) -> None:
    odd = ["./a.jpg", "../b.jpg", "/etc/c.jpg", "a//d.jpg", "same.jpg", "same.jpg", "new\nline.jpg", "/\n1 2 3\n.jpg"]
    files = [(name, b"%d" % index) for index, name in enumerate(odd)]
    assert found(write(tmp_path / "x.tar", files)) == files


def test_hidden_members_and_folders_are_left_out(tmp_path: Path) -> None:
    hidden = [".a.jpg", "._b.jpg", ".git/c.jpg", "d/.e/f.jpg", "__MACOSX/g.jpg", "h/._i.jpg", "./.j.jpg"]
    kept = ["a.b/k.jpg", "x__MACOSX/l.jpg"]
    archive = write(tmp_path / "x.tar", [(name, b"1") for name in hidden + kept])
    with tarfile.open(archive, "a") as tar:
        tar.addfile(info("folder.jpg", tarfile.DIRTYPE))
    assert [name for name, _ in found(archive)] == kept


@pytest.mark.parametrize("format", FORMATS)
def test_links_lead_to_earlier_members(tmp_path: Path, format: int) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=format) as tar:
        tar.addfile(info("./d/a.bin", size=3), io.BytesIO(b"abc"))
        tar.addfile(info("hard.jpg", tarfile.LNKTYPE, linkname="d/a.bin", size=3))  # a size, but no data
        tar.addfile(info("d/soft.jpg", tarfile.SYMTYPE, linkname="a.bin"))
        tar.addfile(info("e/soft.jpg", tarfile.SYMTYPE, linkname="../d/soft.jpg"))
        tar.addfile(info("long.jpg", tarfile.LNKTYPE, linkname="d/" + "x" * 90))
        tar.addfile(info("out.jpg", tarfile.SYMTYPE, linkname="/etc/hostname"))
        tar.addfile(info("later.jpg", tarfile.SYMTYPE, linkname="z.jpg"))
        tar.addfile(info("z.jpg", size=1), io.BytesIO(b"z"))
        tar.addfile(info("pipe.jpg", tarfile.FIFOTYPE))
    nowhere = "missing: a link to what is not before it in the archive"
    assert found(tmp_path / "x.tar") == [
        ("hard.jpg", b"abc"),
        ("d/soft.jpg", b"abc"),
        ("e/soft.jpg", b"abc"),
        ("long.jpg", nowhere),
        ("out.jpg", nowhere),
        ("later.jpg", nowhere),
        ("z.jpg", b"z"),
        ("pipe.jpg", "not a file: not a regular file"),
    ]


def test_links_are_followed_a_bounded_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "REMEMBERED", 2)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for index in range(6):
            tar.addfile(info(f"{index}", size=1), io.BytesIO(b"%d" % index))
        for index in range(6):
            tar.addfile(info(f"{index}.jpg", tarfile.LNKTYPE, linkname=f"{index}"))
    assert [data for _, data in found(tmp_path / "x.tar")][-1] == b"5"
    assert len([data for _, data in found(tmp_path / "x.tar") if isinstance(data, str)]) >= 2


def three(tmp_path: Path) -> tuple[Path, list[int]]:
    """An archive of three members, and where their headers are."""
    archive = write(tmp_path / "x.tar", [(f"{index}.jpg", b"%d" % index * 600) for index in range(3)])
    with tarfile.open(archive) as tar:
        return archive, [one.offset for one in tar]


def test_a_damaged_header_ends_the_archive_with_a_failure(tmp_path: Path) -> None:
    archive, offsets = three(tmp_path)
    data = bytearray(archive.read_bytes())
    data[offsets[2] + 3] ^= 1
    archive.write_bytes(data)
    assert found(archive) == [
        ("0.jpg", b"0" * 600),
        ("1.jpg", b"1" * 600),
        ("x.tar", f"broken: the archive is damaged at byte {offsets[2]:,}"),
    ]
    assert found(tmp_path / "*.tar")[1:] == [
        ("x.tar/1.jpg", b"1" * 600),
        ("x.tar", f"broken: the archive is damaged at byte {offsets[2]:,}"),
    ]


def test_a_cut_archive_is_one_failure_wherever_it_is_cut(tmp_path: Path) -> None:
    archive, offsets = three(tmp_path)
    whole = archive.read_bytes()
    end = offsets[2] + 512 + 1024
    for length in [
        0,
        1,
        511,
        512,
        700,
        *offsets,
        offsets[1] + 100,
        offsets[2] + 512 + 599,
        offsets[2] + 512 + 600,
        end,
    ]:
        archive.write_bytes(whole[:length])
        *members, last = found(archive)
        assert last[0] == "x.tar"
        assert str(last[1]).startswith("cut short: the archive is cut short at byte"), length
        readable = [data for _, data in members if isinstance(data, bytes)]
        assert len(readable) == sum(offset + 512 + 600 <= length for offset in offsets)
        assert len(members) == sum(offset + 512 <= length for offset in offsets)  # the one that is cut too
    archive.write_bytes(whole[: end + 512])
    assert len(found(archive)) == 3


@pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz", "x.TAR.ZST", "*.tar.gz"])
def test_compressed_archives_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    if "*" in name:
        (tmp_path / name).unlink()
    with pytest.raises(ResnetFeaError, match=r"unpack it to a plain \.tar"):
        listing.images(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x1f\x8b" + bytes(2000), "unsupported: compressed with gzip: unpack it to a plain .tar first"),
        (b"\xff\xd8" + b"x" * 2000, "unknown format: not a tar archive"),
        (b"", "cut short: the archive is cut short at byte 0: it has no end mark"),
    ],
)
def test_what_is_no_archive_is_a_failure(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    assert found(tmp_path / "x.tar") == [("x.tar", reason)]


def test_an_empty_archive_and_one_without_images(tmp_path: Path) -> None:
    assert found(write(tmp_path / "x.tar", [])) == []
    assert found(write(tmp_path / "x.tar", [("a.txt", b"1")])) == []


@pytest.mark.parametrize(
    "extension",
    [b"6 x=\n", b"8 path=a\n", b"999 path=a.jpg\n", b"x", b"11 path=a.jp", b"12 size=-1.\n\n", b"11 size=1x\n"],
)
def test_a_broken_pax_header_is_a_failure(tmp_path: Path, extension: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(info("pax", tarfile.XHDTYPE, size=len(extension)), io.BytesIO(extension))
        tar.addfile(info("a.jpg", size=1), io.BytesIO(b"1"))
    ((name, reason),) = found(tmp_path / "x.tar")
    assert name == "x.tar"
    assert str(reason).startswith("broken: a broken pax header at byte")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_anywhere_ends_in_failures(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With sums that fit, as an attacker writes them."""
    archive = tmp_path_factory.mktemp("tar") / "x.tar"
    whole = bytearray(write(archive, [("a.jpg", b"1"), ("é" * 80 + ".jpg", b"2" * 600), ("c.jpg", b"3")]).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = 512 * data.draw(st.integers(0, 9))
        at = start + data.draw(st.integers(0, 511) | st.sampled_from([124, 135, 156, 257, 345, 482]))
        whole[at] = data.draw(st.integers(0, 255) | st.sampled_from(list(b"xgLKS125M0\x80 ")))
        rest = sum(whole[start : start + 148]) + 8 * 32 + sum(whole[start + 156 : start + 512])
        whole[start + 148 : start + 156] = b"%06o\0 " % rest
    archive.write_bytes(whole)
    for name, content in found(archive):
        assert isinstance(name, str)
        assert content


def test_huge_headers_and_sizes_are_not_believed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(info("a.jpg", size=1 << 60))
    assert found(tmp_path / "x.tar")[0][1] == f"too large: too large ({1 << 60:,} bytes)"
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(info("long", tarfile.GNUTYPE_LONGNAME, size=1 << 40))
    assert found(tmp_path / "x.tar") == [("x.tar", f"broken: a header of {1 << 40:,} bytes at byte 0")]


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar program here")
@pytest.mark.parametrize("format", ["v7", "ustar", "gnu", "oldgnu", "pax"])
def test_archives_of_the_tar_program(tmp_path: Path, format: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"1" * 700)
    os.link(folder / "a.jpg", folder / "b.jpg")
    (folder / "c.jpg").symlink_to("a.jpg")
    with (folder / "d.jpg").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    wanted: list[tuple[str, bytes | str]] = [(f"photos/{one}.jpg", b"1" * 700) for one in "abc"]
    if format != "v7":
        long = "n" * 98 + ".jpg" if format == "ustar" else "n" * 200 + ".jpg"
        long = "s" * 90 + "/" + long[-90:] if format == "ustar" else long
        (folder / long).parent.mkdir(exist_ok=True)
        (folder / long).write_bytes(b"2")
        wanted.append((f"photos/{long}", b"2"))
    sparse = ["--sparse"] if format in ("gnu", "oldgnu", "pax") else []
    members = [*(name for name, _ in wanted), "photos/d.jpg"]
    subprocess.run(["tar", f"--format={format}", *sparse, "-cf", "x.tar", *members], cwd=tmp_path, check=True)
    *plain, last = found(tmp_path / "x.tar")
    assert plain == wanted
    hole = (folder / "d.jpg").read_bytes()
    assert last == ("photos/d.jpg", "unsupported: a sparse member of the archive" if sparse else hole)


NAMES = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b"\n"))


@given(NAMES, NAMES.filter(bool), st.integers(0, 1 << 60), st.integers(0, 1 << 60), st.text(max_size=20))
def test_records_give_back_what_they_got(archive: bytes, name: bytes, offset: int, size: int, reason: str) -> None:
    member = Member(archive, name, offset, size)
    assert unpacked(packed(member)) == member
    lost = unpacked(packed(Lost(archive, name, "broken", reason)))
    assert isinstance(lost, Lost)
    assert lost[:3] == (archive, name, "broken")
    assert b"\0" not in packed(lost)
