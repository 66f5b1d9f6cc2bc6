"""Decoders: the pictures of decode(), whatever a file does to the process that decodes it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.test_images import FILES
from resnetfea.errors import ResnetFeaError
from resnetfea.features.bad_image import BadImage
from resnetfea.features.decoder_child import TooSlow, _Clock
from resnetfea.features.decoding import Decoders
from resnetfea.features.images import Picture, decode
from resnetfea.features.limits import Limits
from resnetfea.features.source import Content, Place, file
from resnetfea.weights.recipe import TORCHVISION

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "samples/animals/cat-kitten.jpg"
PLAYED = Path(__file__).parent / "played_decoder.py"
PLAYED_COMMAND = (sys.executable, "-P", str(PLAYED))


@pytest.fixture(scope="module")
def pair() -> Iterator[Decoders]:
    with Decoders(2) as decoders:
        yield decoders


@pytest.fixture
def decoders(pair: Decoders) -> Decoders:
    pair.prepare(TORCHVISION)
    return pair


def same(one: Picture | BadImage, other: Picture) -> bool:
    assert isinstance(one, Picture), one
    return one[:2] == other[:2] and np.array_equal(one.pixels, other.pixels)


def failed(future: Future[Picture | BadImage]) -> tuple[str, str]:
    found = future.result(120)
    assert isinstance(found, BadImage)
    return found.kind, found.reason


def kinds(decoders: Decoders, folder: Path, *names: str) -> list[str]:
    """What becomes of files that are called so; all hold the same photo."""
    for name in names:
        if not (folder / name).exists():
            (folder / name).symlink_to(PHOTO)
    futures = [decoders.submit(file(folder / name)) for name in names]
    found = [future.result(120) for future in futures]
    return [one.kind if isinstance(one, BadImage) else "picture" for one in found]


def test_pictures_are_those_of_decode(decoders: Decoders, tmp_path: Path) -> None:
    places = [PHOTO]
    for name, make in FILES.items():
        places.append(tmp_path / name)
        places[-1].write_bytes(make())
    for recipe in (TORCHVISION, replace(TORCHVISION, resize=(300, 200), crop=None, interpolation="bicubic")):
        for mode in ("exact", "fast"):
            decoders.prepare(recipe, mode)
            futures = [decoders.submit(file(place)) for place in places]
            assert all(
                same(future.result(), decode(file(place), recipe, mode))
                for place, future in zip(places, futures, strict=True)
            )


def test_bytes_of_any_kind(decoders: Decoders, tmp_path: Path) -> None:
    data = PHOTO.read_bytes()
    (tmp_path / "archive").write_bytes(b"before" + data + b"behind")
    path = os.fsencode(tmp_path) + b"/\xff\n"
    Path(os.fsdecode(path)).write_bytes(data)
    expected = decode(file(PHOTO), TORCHVISION)
    contents: list[Content] = [
        Place(os.fsencode(tmp_path / "archive"), 6, len(data)),
        Place(path),
        lambda: data,
        lambda: data + bytes(3_000_000),  # more than a pipe holds
    ]
    for content in contents:
        assert same(decoders.submit(content).result(), expected)


def test_failures_are_those_of_decode(decoders: Decoders, tmp_path: Path) -> None:
    def gone() -> bytes:
        raise BadImage("unreadable", "the server is gone")

    assert failed(decoders.submit(file(tmp_path / "none"))) == ("missing", "no such file")
    assert failed(decoders.submit(Place(os.fsencode(PHOTO), 0, 5000))) == ("cut short", "cut short")
    assert failed(decoders.submit(lambda: b"")) == ("empty", "empty file")
    assert failed(decoders.submit(gone)) == ("unreadable", "the server is gone")
    with pytest.raises(ZeroDivisionError):
        decoders.submit(lambda: bytes(1 // 0)).result()
    assert same(decoders.submit(file(PHOTO)).result(), decode(file(PHOTO), TORCHVISION))


def test_limits_of_bytes_and_pixels(tmp_path: Path) -> None:
    large = bytearray(FILES["palette bmp"]())
    struct.pack_into("<ii", large, 18, 13_400, 13_400)  # twice Pillow's own limit and more, of which nothing is there
    (tmp_path / "x").write_bytes(large)
    with Decoders(1, Limits(bytes=9000, pixels=2399)) as decoders:
        decoders.prepare(TORCHVISION)
        reason = f"too large ({PHOTO.stat().st_size:,} bytes)"
        assert (
            failed(decoders.submit(file(PHOTO))) == failed(decoders.submit(PHOTO.read_bytes)) == ("too large", reason)
        )
        assert failed(decoders.submit(FILES["lossless webp"])) == ("too large", "too many pixels (60x40)")
    with Decoders(1, Limits(pixels=200_000_000)) as decoders:
        decoders.prepare(TORCHVISION)
        assert failed(decoders.submit(file(tmp_path / "x"))) == ("cut short", "cut short")


def test_a_crash_is_that_files_failure_alone(tmp_path: Path) -> None:
    with Decoders(2, command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        names = [f"{index}-{'crash' if index % 3 == 1 else 'exit' if index == 5 else 'good'}" for index in range(12)]
        expected = {"crash": "crash", "exit": "crash", "good": "picture"}
        assert kinds(decoders, tmp_path, *names) == [expected[name.split("-")[1]] for name in names]
        assert failed(decoders.submit(file(tmp_path / "1-crash"))) == ("crash", "the decoder crashed (SIGSEGV)")
        assert failed(decoders.submit(file(tmp_path / "5-exit"))) == ("crash", "the decoder crashed (exit code 9)")


def test_a_file_is_not_blamed_for_what_an_earlier_one_did(tmp_path: Path) -> None:
    with Decoders(1, command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "poison", "a", "b") == ["picture"] * 3
        assert kinds(decoders, tmp_path, "nonsense", "a") == ["crash", "picture"]


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    with Decoders(1, Limits(seconds=0.1), command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "hang", "hang") == ["too slow"] * 2
        assert failed(decoders.submit(file(tmp_path / "hang"))) == ("too slow", "more than 0.1 s")


@pytest.mark.skipif(sys.platform != "linux", reason="nothing else says how much address space a process has")
def test_a_memory_bomb_gets_no_memory(tmp_path: Path) -> None:
    with Decoders(1, command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "good", "bomb", "good") == ["picture", "memory", "picture"]


def test_large_pictures_take_turns(tmp_path: Path) -> None:
    log = tmp_path / "log"
    names = [f"large-{index}" for index in range(9)]
    with Decoders(3, command=(*PLAYED_COMMAND, str(log))) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "large-crash") == ["crash"]  # which ends its turn
        log.unlink()
        assert kinds(decoders, tmp_path, *names) == ["picture"] * 9
    said = [line.split()[0] for line in log.read_text().splitlines() if "start" not in line]
    assert said == ["in", "out"] * 9


def test_what_decoders_print_gets_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Decoders(1, command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "talk", "good") == ["picture"] * 2
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_is_not_for_them(tmp_path: Path) -> None:
    with Decoders(1, command=PLAYED_COMMAND) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "interrupt", "good") == ["picture"] * 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not say which files a process has")
def test_they_get_none_of_our_files_and_stay_in_our_group(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(lock, True)
    with Decoders(1, command=(*PLAYED_COMMAND, str(log))) as decoders:
        decoders.prepare(TORCHVISION)
        assert kinds(decoders, tmp_path, "good") == ["picture"]
        process = int(log.read_text().split()[1])
        assert os.getpgid(process) == os.getpgrp()
        files = {os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()}
    os.close(lock)
    own = {os.devnull, f"/proc/{process}/statm"}
    assert {name for name in files if not name.startswith("pipe:")} == own


def test_time_that_all_were_stopped_is_one_second_at_most() -> None:
    """A poll that comes back after an hour says no more than one that comes back in time."""
    waited: list[float] = []

    class Poll:
        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            waited.append(milliseconds)
            return []

    with pytest.raises(TooSlow):
        _Clock(2.5).wait(Poll())  # type: ignore[arg-type]
    assert waited == [1000, 1000, 500]


def test_leaving_ends_all_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Decoders(2, command=(*PLAYED_COMMAND, str(log))) as decoders:
        decoders.prepare(TORCHVISION)
        (tmp_path / "hang").symlink_to(PHOTO)
        futures = [decoders.submit(file(tmp_path / "hang")) for _ in range(9)]
        until(lambda: log.exists() and log.read_text().count("hang") == 2)
        processes = {int(line.split()[1]) for line in log.read_text().splitlines()}
    assert all(future.cancelled() or future.exception(10) for future in futures)
    assert not any(map(alive, processes))
    with pytest.raises(ValueError, match="closed"):
        decoders.submit(file(PHOTO))


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()"])
def test_none_outlives_its_parent(tmp_path: Path, how: str) -> None:
    """Neither one that hangs, nor one that waits."""
    log = tmp_path / "log"
    log.touch()
    (tmp_path / "hang").symlink_to(PHOTO)
    script = (
        "import os, sys, time\n"
        "from resnetfea.features.decoding import Decoders\n"
        "from resnetfea.features.source import file\n"
        "from resnetfea.weights.recipe import TORCHVISION\n"
        f"decoders = Decoders(2, command={(*PLAYED_COMMAND, str(log))!r})\n"
        "decoders.prepare(TORCHVISION)\n"
        f"decoders.submit(file({str(PHOTO)!r})).result(), decoders.submit(file({str(tmp_path / 'hang')!r}))\n"
        f"while 'hang' not in open({str(log)!r}).read(): time.sleep(0.01)\n{how}\n"
    )
    subprocess.run([sys.executable, "-c", script], timeout=120, check=False)
    processes = [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("start")]
    assert processes
    until(lambda: not any(map(alive, processes)))


def test_one_that_cannot_start_says_why(tmp_path: Path) -> None:
    for command, why in (
        ((sys.executable, "-c", "import no_such_module"), "No module named 'no_such_module'"),
        ((sys.executable, "-c", "print('x' * 99)"), "it says something else"),
        ((sys.executable, "-c", ""), "it ended without a word"),
        ((str(tmp_path / "no python"),), "No such file or directory"),
    ):
        with Decoders(1, command=command) as decoders:
            decoders.prepare(TORCHVISION)
            with pytest.raises(ResnetFeaError, match=why):
                decoders.submit(file(PHOTO)).result()


SCRIPT = """
import os, sys
from contextlib import suppress
from resnetfea.features.decoding import Decoders
from resnetfea.features.source import file
from resnetfea.weights.recipe import TORCHVISION
with open(sys.argv[2], "a") as said, Decoders(2) as decoders:
    print("here", file=said)
    decoders.prepare(TORCHVISION)
    for standard in (1, 2) if closed else ():  # as libraries do that print
        with suppress(OSError):
            os.write(standard, b"Warning: " * 99)
    futures = [decoders.submit(file(sys.argv[1])) for _ in range(5)]
    print(*{future.result().pixels.sum() for future in futures}, file=said)
"""


@pytest.mark.parametrize(
    ("before", "options"),
    [
        ("closed = False", []),
        ("import os; closed = True; os.close(0); os.close(1); os.close(2)", []),
        ("closed = False", ["script.py"]),
    ],
)
def test_any_parent_will_do(tmp_path: Path, before: str, options: list[str]) -> None:
    """Without a __main__ file; with its standard descriptors closed; a script that guards nothing."""
    if options:
        (tmp_path / "script.py").write_text(f"{before}\n{SCRIPT}")
    arguments = options or ["-c", f"{before}\n{SCRIPT}"]
    command = [sys.executable, "-W", "error::ResourceWarning", *arguments, str(PHOTO), str(tmp_path / "said")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    expected = decode(file(PHOTO), TORCHVISION).pixels.sum()
    assert (tmp_path / "said").read_text().split() == ["here", str(expected)]


def alive(process: int) -> bool:
    """A zombie that nobody has fetched yet is not."""
    try:
        os.kill(process, 0)
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False


def until(what: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)
