"""Files to pictures in processes of their own, so that what a file does to its decoder ends with that process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from resnetfea.errors import ResnetFeaError
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import too_large
from resnetfea.features.decoder_child import COMMAND, ENVIRONMENT, PATIENCE, Child, Died, Killed, TooSlow
from resnetfea.features.images import Decode, Framing, Picture
from resnetfea.features.limits import Limits
from resnetfea.features.source import Content, Place

STARTS = 3  # of a process that is killed before it is ready


class _Asked(NamedTuple):
    content: Content
    recipe: Framing
    mode: Decode
    future: Future[Picture | BadImage]


class Decoders:
    """Processes that decode; they start at once, and are gone when the block is left.

    Args:
        processes: how many. Each has a thread here that does nothing but wait for it, or fetch what is no file.
        limits: beyond which a file is a failure.
        command: that starts one of them.
    """

    def __init__(self, processes: int, limits: Limits | None = None, command: Sequence[str] = COMMAND) -> None:
        self.limits = limits or Limits()
        self._command = command
        self._environment = os.environ | ENVIRONMENT  # now: later other threads may be changing it
        self._waiting: SimpleQueue[_Asked | None] = SimpleQueue()
        self._alone = threading.Lock()  # held for the one large picture that is decoded
        self._changing = threading.Lock()  # held while children come and go
        self._children: set[Child] = set()
        self._closed = False
        _have_standard()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(processes)]
        for thread in self._threads:
            thread.start()

    def prepare(self, recipe: Framing, mode: Decode = "exact") -> None:
        """What becomes of the pixels of all that is submitted from now on."""
        self.recipe, self.mode = recipe, mode

    def submit(self, content: Content) -> Future[Picture | BadImage]:
        """One file's picture, or why there is none. The future raises what the content's own function raises otherwise.

        Raises:
            ValueError: the block was left.
        """
        if self._closed:
            raise ValueError("these decoders are closed")
        future: Future[Picture | BadImage] = Future()
        self._waiting.put(_Asked(content, self.recipe, self.mode, future))
        return future

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what waits, kill the processes. A thread that is fetching something ends by itself, later."""
        with self._changing:
            self._closed = True
            for child in self._children:
                child.kill()
        while True:
            try:
                asked = self._waiting.get_nowait()
            except Empty:
                break
            if asked:
                asked.future.cancel()
        for _ in self._threads:
            self._waiting.put(None)
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self) -> None:
        """One process after another, as each file needs it."""
        # processes inherit it, so that Ctrl-C, which the terminal sends to all, is for the one that runs the network;
        # and a pipe to one that has died is an error here, whatever the program does with SIGPIPE
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGPIPE})
        child = None
        with suppress(Exception):  # it is tried again for the first file, which then says what is wrong
            child = self._started()
        while asked := self._waiting.get():
            if not asked.future.set_running_or_notify_cancel():
                continue
            try:
                found, child = self._decoded(asked, child)
            except BaseException as error:
                asked.future.set_exception(error)
            else:
                asked.future.set_result(found)
            del asked  # and the picture with it, before the next
        if child:
            self._remove(child).end()

    def _decoded(self, asked: _Asked, child: Child | None) -> tuple[Picture | BadImage, Child | None]:
        """What a file gives, and the process that is still good for the next."""
        try:
            content = asked.content if isinstance(asked.content, Place) else asked.content()
        except BadImage as bad:
            return bad, child
        if not isinstance(content, Place) and len(content) > self.limits.bytes:
            return too_large(len(content)), child
        killed = 0
        while True:
            child = child or self._started()
            fresh = child.fresh
            try:
                child.prepare(asked.recipe, asked.mode, self.limits)
                return child.decode(content, self.limits), child
            except TooSlow:
                self._remove(child).end()
                return BadImage("too slow", f"more than {self.limits.seconds:g} s"), None
            except Killed:
                self._remove(child).end()
                child, killed = None, killed + 1
                if killed == STARTS:
                    raise ResnetFeaError(
                        "processes to decode images are killed as they start; is there memory left?"
                    ) from None
            except Died as died:
                how = self._remove(child).how_it_died()
                how = str(died) or how
                if self._closed:
                    raise CancelledError from None
                if fresh:  # else an earlier file may have damaged it: once more in a new one
                    return BadImage("crash", f"the decoder crashed ({how})"), None
                child = None
            except BaseException:
                self._remove(child).end()
                raise

    def _started(self) -> Child:
        with self._changing:
            if self._closed:
                raise CancelledError
            try:
                child = Child(self._alone, self._command, self._environment)
            except OSError as error:  # no more processes or files for this user, no memory
                raise ResnetFeaError(
                    f"a process to decode images could not start: {error.strerror}; fewer --workers need less"
                ) from error
            self._children.add(child)
        return child

    def _remove(self, child: Child) -> Child:
        with self._changing:
            self._children.discard(child)
        return child


def _have_standard() -> None:
    """No pipe may get number 0, 1 or 2, though these be closed: what libraries print would go into it."""
    for standard in range(3):
        try:
            os.fstat(standard)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
