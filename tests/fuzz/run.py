"""Fuzz every reader of weights: damaged files must give weights or one ResnetFeaError, in seconds, in little memory.

Usage: python tests/fuzz/run.py [--inputs 1000] [--seconds 0] [--seed 0] [--reader NAME] [--keep FOLDER]

Each reader is tried on so many inputs, all drawn from the seed; with --seconds each goes on, seed after seed, until its
time is over. What fails is written to the folder and named, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType

from fuzz.mutate import mutated
from fuzz.seeds import TARGETS, Target
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look

LONGEST = 10  # seconds for one input of at most a megabyte; an undamaged one takes hundredths
MEMORY = 1 << 30  # bytes that one input may add


class TooLongError(BaseException):
    """Not an Exception: readers turn those of libraries into errors of their own."""


def main() -> int:
    """Number of readers that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=TARGETS, action="append")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    logging.disable()
    failed = 0
    for name in options.reader or TARGETS:
        failed += _fuzz(name, TARGETS[name], options)
    return min(failed, 1)


def _fuzz(name: str, target: Target, options: argparse.Namespace) -> bool:
    """Whether it failed; the first failure ends this reader's run."""
    seeds = target.seeds()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        for beside in target.beside:
            shutil.copy(beside, folder)
        for data in seeds:
            path.write_bytes(target.close(data))
            look(path)  # undamaged, each of them is read
        _limit_memory()
        start, count, readable = time.monotonic(), 0, 0
        while count < options.inputs or time.monotonic() < start + options.seconds:
            rng = random.Random(f"{options.seed} {name} {count}")
            path.write_bytes(target.close(mutated(seeds, rng, target.words)))
            found = _one(path)
            if found is not None and not isinstance(found, ResnetFeaError):
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = shutil.copy(path, options.keep / f"{name}-{options.seed}-{count}".replace(" ", "-"))
                print(f"{name}: input {count} of seed {options.seed}; kept as {kept}", flush=True)
                traceback.print_exception(found)
                return True
            readable += found is None
            count += 1
    took = time.monotonic() - start
    print(f"{name}: {count} inputs in {took:.1f} s, {readable} still read, all others refused", flush=True)
    return False


def _one(path: Path) -> BaseException | None:
    """What reading it raises."""
    signal.alarm(LONGEST)
    try:
        look(path)
    except BaseException as error:
        return error
    finally:
        signal.alarm(0)
    return None


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLongError(f"more than {LONGEST} s")


def _limit_memory() -> None:
    """Beyond it the process gets a MemoryError, which is a failure."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    sys.exit(main())
