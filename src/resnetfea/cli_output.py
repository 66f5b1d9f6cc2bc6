"""What commands print, and how they end."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from resnetfea.errors import ResnetFeaError, printable

SHOWN = 6  # names of a long list that a person gets to see
OfflineOption = Annotated[bool, typer.Option("--offline", help="Download nothing; make no connection at all.")]
FATAL, SOME_FAILED = 1, 3  # 2, wrong usage, is typer's own
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM  # as shells count


def text(path: Path | str) -> str:
    """A path for a terminal: bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"


def show(facts: dict[str, Any], as_json: bool) -> None:
    """As JSON, or a line for each fact."""
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        elif isinstance(value, tuple | list):
            value = ", ".join(map(str, value[:SHOWN])) or "nothing"
            value += f", ... ({len(facts[name])} in all; --json lists them)" if len(facts[name]) > SHOWN else ""
        typer.echo(f"{name:24} {printable(str(value))}")


@contextmanager
def errors(out: Path | None = None) -> Iterator[None]:
    """A user's mistake, a full disk, Ctrl-C and SIGTERM become one line and an exit code; a bug keeps its traceback."""
    terminated = False  # the exception would not tell: what waits in Ray makes a new one of it

    def terminate(*_: object) -> NoReturn:
        """As Ctrl-C does: through all `finally`."""
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGTERM, terminate)
        yield
    except ResnetFeaError as error:
        _stop(str(error), FATAL)
    except OSError as error:
        file = error.filename or out
        _stop(f"{file}: {error.strerror or error}{_kept(out)}" if file else str(error), FATAL)
    except KeyboardInterrupt:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)  # a second one must not cut the message
        what, code = ("terminated", TERMINATED) if terminated else ("interrupted", INTERRUPTED)
        _stop(f"{what}{_kept(out)}", code)


def _kept(out: Path | None) -> str:
    """What an extract run leaves in OUT, once it has begun."""
    begun = out is not None and (out / "manifest.json").is_file()
    return f"; {out} keeps the finished shards, --resume goes on with them" if begun else ""


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(printable(text(f"resnetfea: {message}")), err=True)  # a file's name may hold line breaks too
    raise typer.Exit(code)
