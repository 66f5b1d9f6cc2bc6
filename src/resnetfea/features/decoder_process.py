"""A decoder, a process of its own (`python -m resnetfea.features.decoder_process`): what a file does to it stays there.

It is asked on stdin and answers on stdout (decoder_messages.py), and ends when its parent does. It may have so much
memory and no more, and nothing that libraries print gets anywhere.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import BinaryIO, NamedTuple

from PIL import Image

from resnetfea.features import decoder_messages as messages
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import LARGE_PIXELS, Decode, decoded
from resnetfea.features.limits import Limits
from resnetfea.features.memory import AddressSpace, die_with_parent, keep_freed, offer_to_the_system
from resnetfea.features.source import Content, Place

BYTES_A_PIXEL = 40  # what decoders take at most: 12-bit HEIC with alpha 32, lossless JPEG XL 17, WebP 16, JPEG 8
BESIDE = 512 << 20  # bytes for libraries that are loaded later, palettes, profiles, tables


class Told(NamedTuple):
    """What holds for all further files."""

    resize: int | tuple[int, int] | None
    rounding: str
    interpolation: str
    crop: int | None
    mode: Decode
    limits: Limits

    @classmethod
    def by(cls, message: bytes) -> Told:
        """From the parent's JSON."""
        told = json.loads(message)
        told["resize"] = tuple(told["resize"]) if isinstance(told["resize"], list) else told["resize"]
        return cls(**{**told, "limits": Limits(**told["limits"])})


class Decoder:
    """Answers one question after another.

    Args:
        asked: where questions come from.
        answers: where answers go.
    """

    def __init__(self, asked: BinaryIO, answers: BinaryIO) -> None:
        self._asked, self._answers = asked, answers
        self._space = AddressSpace()

    def run(self) -> None:
        """Until nobody asks any more."""
        self._say(messages.READY)
        while question := messages.question(self._asked):
            tag, body = question
            if tag == messages.TOLD:
                self._told = Told.by(body)
                # ours is checked for the header; this, of which Pillow takes twice as many, for crops and frames too
                Image.MAX_IMAGE_PIXELS = max(self._told.limits.pixels, Limits.pixels)
                self._reading = self._space.used() + 2 * self._told.limits.bytes + BESIDE  # the file, and once more
                self._space.limit(self._reading)
            else:
                self._answer(_place(body) if tag == messages.PLACE else partial(bytes, body))

    def _answer(self, content: Content) -> None:
        told = self._told
        try:
            width, height, image = decoded(content, told, told.mode, told.limits, self._room)
            pixels = image.tobytes()
        except BadImage as bad:
            why = [bad.kind, bad.reason]
        except MemoryError:
            why = ["memory", "too large for the memory"]
        else:
            return self._say(messages.PICTURE, (width, height, *image.size), pixels)
        self._say(messages.BAD, body=json.dumps(why).encode())  # here the exception is gone, and what it held

    @contextmanager
    def _room(self, pixels: int, size: int) -> Iterator[None]:
        """Memory for one picture. For a large one the parent is asked, who allows one at a time."""
        if pixels > LARGE_PIXELS:
            self._say(messages.LARGE)
            messages.question(self._asked)
        self._space.limit(self._space.used() + size + BYTES_A_PIXEL * pixels + BESIDE)  # some decoders copy the file
        try:
            yield
        finally:
            self._space.limit(self._reading)

    def _say(self, tag: bytes, numbers: tuple[int, int, int, int] = (0, 0, 0, 0), body: bytes = b"") -> None:
        self._answers.write(messages.ANSWER.pack(tag, *numbers, len(body)))
        self._answers.write(body)
        self._answers.flush()


def _place(body: bytes) -> Place:
    offset, size = messages.SPAN.unpack_from(body)
    return Place(body[messages.SPAN.size :], offset, None if size < 0 else size)


def _main() -> None:
    die_with_parent()
    offer_to_the_system()
    keep_freed()
    warnings.simplefilter("ignore")  # about odd files; what matters becomes a failure
    asked, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what was said until now is why it could not start
        os.dup2(nothing, standard)
    with suppress(BrokenPipeError), open(asked, "rb") as questions, open(answers, "wb") as out:
        Decoder(questions, out).run()


if __name__ == "__main__":
    _main()
