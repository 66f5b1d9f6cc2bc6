"""Kills a run at random instants, again and again: does --resume still give the bytes of an undisturbed run?

    make crash KILLS=200        # or: PYTHONPATH=tests .venv/bin/python tests/crash/run.py --kills 200 --seed 0

One OUT after another: each run is a command in a process group of its own, which SIGKILL ends whole at an instant drawn
from the time that an undisturbed one takes; the next goes on with --resume. When one gets to its end, OUT is compared
byte for byte, and the next OUT begins. In turn: a new run, an update of a complete one, failures tried again.
After each kill every file that has its final name must be whole: as it was before, or as it will be.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

PHOTOS = 60
FLAGS = ("--shard-size", "4")  # some fifteen files, so that kills fall between, within and beside their commits
MOST = 7  # kills of one run, so that some twenty of them meet every kind
ENDS = (0, 3)  # exit codes of a run that has got to its end


class Kind(NamedTuple):
    """A kind of run: its source and flags, what it finds in OUT, what it leaves there, and its seconds undisturbed."""

    name: str
    command: list[str]
    before: dict[str, bytes]
    after: dict[str, bytes]
    seconds: float


def main() -> int:
    """0, or 1 where bytes were wrong; OUT is kept then, and named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options, extra = parser.parse_known_args()  # what is not known is for extract: --cluster local --workers 2
    chance, done = random.Random(options.seed), Counter[str]()
    folder = Path(tempfile.mkdtemp(prefix="resnetfea-crash."))
    kinds = [new(folder, extra), updating(folder, extra), retrying(folder, extra)]
    for kind in cycle(kinds):
        out = folder / f"out-{done['outputs']}"
        write(kind.before, out)
        for _ in range(min(MOST, options.kills - done["kills"])):
            if not killed(kind, out, chance.uniform(0, 1.2 * kind.seconds)):
                break
            done["kills"] += 1
            done[state(kind, out)] += 1
            if wrong := damaged(kind, out):
                return told(f"{kind.name}: {out / wrong} is neither what it was nor what it will be")
        finished(kind.command, out)
        if held(out) != kind.after:
            return told(f"{kind.name}: {out} differs from {folder / kind.name}")
        done["outputs"] += 1
        shutil.rmtree(out)
        if done["kills"] == options.kills:
            break
    shutil.rmtree(folder)
    states = ", ".join(f"{done[name]} {name}" for name in ("before the first file", "between files", "when complete"))
    print(f"{options.kills} kills ({states}); {done['outputs']} times to the end, each time the bytes as undisturbed")
    return 0


def new(folder: Path, extra: list[str]) -> Kind:
    source = drawn(folder / "photos-new", range(PHOTOS))
    return measured("new", source, folder, {}, extra)


def updating(folder: Path, extra: list[str]) -> Kind:
    source = drawn(folder / "photos-update", range(0, PHOTOS, 2))
    before = finished(command(source, []), folder / "before-update")
    drawn(source, range(1, PHOTOS, 2))
    return measured("update", source, folder, before, ["--update", *extra])


def retrying(folder: Path, extra: list[str]) -> Kind:
    source = drawn(folder / "photos-retry", range(PHOTOS))
    kept = {path: path.read_bytes() for path in sorted(source.iterdir())[::3]}
    for path in kept:
        path.write_bytes(b"no picture")
    before = finished(command(source, []), folder / "before-retry")
    for path, data in kept.items():
        path.write_bytes(data)
    return measured("retry", source, folder, before, ["--retry-failed", *extra])


def drawn(folder: Path, numbers: range) -> Path:
    """Small pictures; every tenth is cut short."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        path = folder / f"{number:03}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (60, 80, 3), np.uint8)).save(path)
        if number % 10 == 4:
            path.write_bytes(path.read_bytes()[:-1])
    return folder


def measured(name: str, source: Path, folder: Path, before: dict[str, bytes], flags: list[str]) -> Kind:
    """With what an undisturbed run leaves; the second of two, since the first may compile the network."""
    out, asked = folder / name, command(source, flags)
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        write(before, out)
        began = time.monotonic()
        after = finished(asked, out)
        seconds = time.monotonic() - began
    return Kind(name, asked, before, after, seconds)


def finished(asked: list[str], out: Path) -> dict[str, bytes]:
    """What is in OUT when a run has got to its end."""
    run = subprocess.run([*asked, "-o", str(out), "--resume"], capture_output=True, text=True, check=False)
    if run.returncode not in ENDS:
        sys.exit(f"exit code {run.returncode}: {run.stderr}")
    return held(out)


def killed(kind: Kind, out: Path, after: float) -> bool:
    """Whether the run had to be killed: False where it got to its end before."""
    asked = [*kind.command, "-o", str(out), "--resume"]
    with subprocess.Popen(
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            _, errors = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
    if process.returncode not in ENDS:
        sys.exit(f"{kind.name}: exit code {process.returncode}: {errors}")
    return False


def state(kind: Kind, out: Path) -> str:
    """What the kill met."""
    found = held(out)
    if found == kind.after:
        return "when complete"
    began = any(kind.before.get(name) != data for name, data in found.items() if name.startswith("features-"))
    return "between files" if began else "before the first file"


def damaged(kind: Kind, out: Path) -> str | None:
    """A shard under its final name that is not one."""
    shards = {name: data for name, data in held(out).items() if name.startswith("features-")}
    good = (kind.before, kind.after)
    return next((name for name, data in shards.items() if all(one.get(name) != data for one in good)), None)


def command(source: Path, flags: list[str]) -> list[str]:
    return [sys.executable, "-m", "resnetfea", "extract", str(source), *FLAGS, *flags]


def held(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()} if out.is_dir() else {}


def write(content: dict[str, bytes], out: Path) -> None:
    if content:
        out.mkdir()
    for name, data in content.items():
        (out / name).write_bytes(data)


def told(wrong: str) -> int:
    print(wrong, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
