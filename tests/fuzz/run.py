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
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType

from fuzz.seeds import SEEDS

from fuzz.mutate import mutated
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
    parser.add_argument("--reader", choices=SEEDS, action="append")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    logging.disable()
    failed = 0
    for reader in options.reader or SEEDS:
        failed += _fuzz(reader, options.inputs, options.seconds, options.seed, options.keep)
    return min(failed, 1)


def _fuzz(reader: str, inputs: int, seconds: float, seed: int, keep: Path) -> bool:
    """Whether it failed; the first failure ends this reader's run."""
    seeds = [data for make in SEEDS[reader].values() for data in make()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        for data in seeds:
            path.write_bytes(data)
            look(path)  # undamaged, each of them is read
        _limit_memory()
        start, count, readable = time.monotonic(), 0, 0
        while count < inputs or time.monotonic() < start + seconds:
            rng = random.Random(f"{seed} {reader} {count}")
            data = mutated(seeds, rng)
            path.write_bytes(data)
            found = _one(path)
            if found is None or isinstance(found, ResnetFeaError):
                readable += found is None
                count += 1
                continue
            keep.mkdir(parents=True, exist_ok=True)
            kept = keep / f"{reader}-{seed}-{count}"
            kept.write_bytes(data)
            print(f"{reader}: input {count} of seed {seed}: {type(found).__name__}; kept as {kept}", flush=True)
            traceback.print_exception(found)
            return True
    took = time.monotonic() - start
    print(f"{reader}: {count} inputs in {took:.1f} s, {readable} still read, all others refused", flush=True)
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
