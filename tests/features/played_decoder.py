"""A decoder's process to whose decoder things happen, as a file's name says. Started by test_decoding.py.

Given a path, it writes there what it does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnetfea.features import decoder_process, images
from resnetfea.features.images import Decoded
from resnetfea.features.source import Content, Place

LOG = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.devnull)
decoded, picture, say = images.decoded, images._picture, decoder_process.Decoder._say
playing: set[str] = set()


def log(word: str) -> None:
    with LOG.open("a") as file:
        print(word, os.getpid(), file=file)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    log("hang")
    while True:
        time.sleep(0)


def bomb() -> None:
    taken = []
    while True:
        taken.append(bytearray(64 << 20))


def talk() -> None:
    for standard in (1, 2):
        os.write(standard, b"TIFFReadDirectory: Warning\n" * 9999)


ACTS: dict[str, Callable[[], object]] = {
    "crash": crash,
    "exit": lambda: os._exit(9),
    "hang": hang,
    "bomb": bomb,
    "talk": talk,
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
}


def played(content: Content, *rest: Any) -> Decoded:
    if "poison" in playing:  # the file before this one
        crash()
    name = os.path.basename(os.fsdecode(content.path)) if isinstance(content, Place) else ""
    playing.clear()
    playing.update(name.split("-"))
    vars(decoder_process)["LARGE_PIXELS"] = 0 if "large" in playing else images.LARGE_PIXELS
    return decoded(content, *rest)


def played_picture(*arguments: Any) -> Decoded:
    if "large" in playing:
        log("in")
    for act in playing & ACTS.keys():
        ACTS[act]()
    found = picture(*arguments)
    if "large" in playing:
        time.sleep(0.01)  # time for another one to come in
        log("out")
    return found


def played_say(self: Any, tag: bytes, *rest: Any, **more: Any) -> None:
    say(self, b"?" if "nonsense" in playing else tag, *rest, **more)


vars(decoder_process)["decoded"] = played
vars(images)["_picture"] = played_picture
setattr(decoder_process.Decoder, "_say", played_say)  # noqa: B010 (mypy: a method)
log("start")
decoder_process._main()
