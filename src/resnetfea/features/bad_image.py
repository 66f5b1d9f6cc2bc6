"""Why a file gives no features: what kind of thing is wrong, for programs, and a few words, for people."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "missing",  # no such file
    "unreadable",  # the system or the server refuses it
    "not a file",  # a folder, a pipe, a device, a socket
    "empty",
    "unknown format",
    "cut short",
    "broken",
    "unsupported",  # whole and valid, but what it holds has no place in 8-bit RGB, or needs a library that is not there
    "too large",  # in bytes, or in pixels
    "too slow",  # more seconds than allowed
    "crash",  # the decoder's process died
    "memory",  # the decoder asked for more than it may have
]


class BadImage(Exception):
    """This file gives no features.

    Args:
        kind: one of Kind.
        reason: a few words, without the file's name.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind: Kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
