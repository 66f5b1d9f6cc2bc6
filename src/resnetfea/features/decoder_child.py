"""The parent's end of one decoder's process: asks, waits with a limit, and takes it away."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict

import numpy as np

from resnetfea import cpu_guard, import_order
from resnetfea.errors import ResnetFeaError
from resnetfea.features import decoder_messages as messages
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import Decode, Framing, Picture
from resnetfea.features.limits import Limits
from resnetfea.features.source import Place

COMMAND = (sys.executable, "-P", "-m", "resnetfea.features.decoder_process")
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",  # NumPy's own threads would take address space
    cpu_guard.OVERRULE: "off",  # no network runs there, so nothing must be found out about MindSpore: 20 ms
    import_order.VARIABLE: "python",  # the same
}
START_SECONDS = 300.0  # to be ready: a busy machine may read Python from a slow disk
PATIENCE = 1.0  # seconds for a killed process to be gone; one that waits for a dead disk takes longer
SLICE = 1.0  # seconds: where all processes were stopped for a while (Ctrl-Z), one of these is lost, and no picture
WORDS = 1 << 12  # bytes of a reason, at most
# bytes that a pipe should hold: the pixels of 224x224 in one go. All in all a process costs a picture 0.1 ms of CPU, at
# 1066x800 1.3 ms, more than a thread. Shared memory would save most of that, where the network takes a second
PIPE = 1 << 18


class Died(Exception):
    """The process is gone, or no good any more. Its argument, if any: how."""


class Killed(Exception):
    """A signal ended it before it was ready, as the system does where memory is short."""


class TooSlow(Exception):
    """The time is over."""


class Child:
    """One process.

    Args:
        alone: a lock that one child holds while it has a large picture.
        command: that starts it.
        environment: its variables.
    """

    def __init__(
        self, alone: AbstractContextManager[object], command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._alone = alone
        self._told: object = None
        self.fresh = True  # it has decoded nothing yet
        theirs_in, self._questions = os.pipe()
        self._answers, theirs_out = os.pipe()
        self._words, theirs_err = os.pipe()  # what it says until it is ready
        try:
            self._process = subprocess.Popen(
                command, stdin=theirs_in, stdout=theirs_out, stderr=theirs_err, env=environment
            )
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for end in (theirs_in, theirs_out, theirs_err):
                os.close(end)
        for ours in (self._questions, self._answers):
            os.set_blocking(ours, False)
            with suppress(OSError, AttributeError):  # the user's share of such pipes is used up; not Linux
                fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE)
        self._readable, self._writable = (
            _polling(self._answers, select.POLLIN),
            _polling(self._questions, select.POLLOUT),
        )
        self._ready = False

    def prepare(self, recipe: Framing, mode: Decode, limits: Limits) -> None:
        """Tell it what holds for all further files, where it does not know yet.

        Raises:
            Died: it is gone.
            Killed: before it was ready.
            ResnetFeaError: it does not start.
        """
        if not self._ready:
            self._wait_until_ready()
        if self._told != (recipe, mode, limits):
            asked = {name: getattr(recipe, name) for name in ("resize", "rounding", "interpolation", "crop")}
            told = {**asked, "mode": mode, "limits": asdict(limits)}
            self._ask(messages.TOLD, json.dumps(told).encode(), _Clock(START_SECONDS))
            self._told = (recipe, mode, limits)
            self._most = 3 * max(limits.pixels, Limits.pixels, (recipe.crop or 0) ** 2)

    def decode(self, content: Place | bytes, limits: Limits) -> Picture | BadImage:
        """One file.

        Raises:
            TooSlow: it took longer than it may; the process must be killed.
            Died: the process is gone.
        """
        clock = _Clock(limits.seconds)
        if isinstance(content, Place):
            span = messages.SPAN.pack(content.offset, -1 if content.size is None else content.size)
            self._ask(messages.PLACE, span + content.path, clock)
        else:
            self._ask(messages.DATA, content, clock)
        tag, numbers, length = self._answer(clock)
        if tag == messages.LARGE:
            with self._alone:
                self._ask(messages.GO_ON, b"", clock)
                tag, numbers, length = self._answer(clock)
        self.fresh = False
        width, height, columns, rows = numbers
        right = {messages.BAD: length < WORDS, messages.PICTURE: length == 3 * rows * columns <= self._most}
        if not right.get(tag):
            self.kill()  # what it decoded has run over its memory
            raise Died("it answers nonsense")
        if tag == messages.BAD:
            return BadImage(*json.loads(self._read(length, clock)))
        pixels = np.empty((rows, columns, 3), np.uint8)
        self._read_into(pixels.data.cast("B"), clock)
        return Picture(width, height, pixels)

    def kill(self) -> None:
        """At once. Another thread may do it."""
        self._process.kill()

    def end(self) -> None:
        """Now, and give its things back."""
        self._stop()
        self._close_pipes()

    def how_it_died(self) -> str:
        """The signal that ended it, or its exit code. Its things are given back."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.end()
        code = self._process.returncode
        if code is None:
            return "it does not end"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _stop(self) -> None:
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)

    def _wait_until_ready(self) -> None:
        try:
            tag, _, _ = self._answer(_Clock(START_SECONDS))
            why = "" if tag == messages.READY else "it says something else"
        except TooSlow:
            why = f"not ready after {START_SECONDS:.0f} s"
        except Died as died:
            self._stop()
            if (self._process.returncode or 0) < 0:
                raise Killed from died
            with open(self._words, "rb", closefd=False) as words:
                said = words.read().decode(errors="replace").strip().splitlines()
            why = said[-1] if said else "it ended without a word"
        if why:
            raise ResnetFeaError(f"a process to decode images could not start: {why}")
        os.close(self._words)
        self._words, self._ready = -1, True

    def _ask(self, tag: bytes, body: bytes, clock: _Clock) -> None:
        header = messages.QUESTION.pack(tag, len(body))
        for part in (header + body,) if len(body) <= select.PIPE_BUF else (header, body):
            view = memoryview(part)
            while view:
                try:
                    view = view[os.write(self._questions, view) :]
                except BlockingIOError:
                    clock.wait(self._writable)
                except BrokenPipeError as error:
                    raise Died from error

    def _answer(self, clock: _Clock) -> tuple[bytes, tuple[int, int, int, int], int]:
        tag, a, b, c, d, length = messages.ANSWER.unpack(self._read(messages.ANSWER.size, clock))
        return tag, (a, b, c, d), length

    def _read(self, length: int, clock: _Clock) -> bytes:
        data = bytearray(length)
        self._read_into(memoryview(data), clock)
        return bytes(data)

    def _read_into(self, view: memoryview, clock: _Clock) -> None:
        while view:
            clock.wait(self._readable)
            count = os.readv(self._answers, [view])
            if not count:
                raise Died
            view = view[count:]

    def _close_pipes(self) -> None:
        for end in (self._questions, self._answers, self._words):
            if end >= 0:
                os.close(end)
        self._questions = self._answers = self._words = -1


class _Clock:
    """The seconds that are left for something."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self, poll: select.poll) -> None:
        """Until a pipe's end is ready, or closed on the other side."""
        while not poll.poll(1000 * (part := min(SLICE, self._left))):
            self._left -= part
            if self._left <= 0:
                raise TooSlow


def _polling(end: int, event: int) -> select.poll:
    poll = select.poll()
    poll.register(end, event)
    return poll
