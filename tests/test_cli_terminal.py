"""What a person sees on a terminal while weights are downloaded."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from resnetfea.cache_folder import VARIABLE
from weights.making import DATA
from weights.serving import cut, serving


def test_messages_stand_above_the_bar(tmp_path: Path) -> None:
    """rich draws the bar where the cursor is, and does not know what else is written there."""
    with serving((DATA / "tiny.pth").read_bytes()) as server:
        server.answers = [cut(1000)]
        shown = on_a_terminal("inspect", server.url(), cache=tmp_path)
    lines = re.split(r"[\r\n]+(?:\x1b\[1A)?(?:\x1b\[2K)?", shown)
    bars = [line for line in lines if "━" in line]
    assert "kB" in bars[-1]
    digest = hashlib.sha256((DATA / "tiny.pth").read_bytes()).hexdigest()
    for says in ("the connection was cut", f"it must be {digest}, as it is today"):  # too long for a line, and left so
        assert any(says in line for line in lines), shown
        assert not any(says in line for line in bars), shown


def on_a_terminal(*arguments: str, cache: Path) -> str:
    """All of stderr, which is a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {VARIABLE: str(cache), "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-m", "resnetfea", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode()
