"""One contender in a process of its own (`python -m resnetfea.bench.turns`), which runs whenever it is its turn.

So no framework's threads and memory meet another's, and each reads the CPU guard's limit as it does in `extract`. It is
told everything by one JSON line on stdin; then each line is a number of files to run, and the answer how many images
they gave, in how many seconds. An error is an answer, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from resnetfea.bench.contender import Contender, engine_of
from resnetfea.engine import cores
from resnetfea.errors import ResnetFeaError
from resnetfea.features import calibration_photos, listing
from resnetfea.features.decoding import Decoders
from resnetfea.features.local import Local
from resnetfea.features.pipeline import results
from resnetfea.features.source import Named, file
from resnetfea.features.store import Failure
from resnetfea.weights import read


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it ends this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through all `finally`
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**facts: Any) -> None:
        print(json.dumps(facts), file=answer, flush=True)

    told = json.loads(sys.stdin.readline())
    try:
        processes = cores.usable()
        with Decoders(processes) as decoders:
            weights = read(told["weights"], offline=True)
            if weights.identity != told["identity"]:
                raise ResnetFeaError(f"{told['weights']}: changed while it was being used")
            decoders.prepare(weights.recipe)
            paths = [os.fsencode(path) for path in told["paths"]]
            photos = listing.Files(where="", base=Local(b""), listed=partial(iter, paths))
            calibration = calibration_photos.of_names(photos, paths, len(paths), decoders)
            engine = engine_of(Contender(*told["contender"]), weights, Path(told["graph"]), calibration)
            around: Iterator[bytes] = cycle(paths)

            def named(path: bytes) -> Named:
                return Named("", file(path))

            def run(pictures: int) -> int:
                """How many of them are images."""
                rows = results(
                    map(named, islice(around, pictures)), engine=engine, decoders=decoders, ahead=2 * processes
                )
                return sum(not isinstance(one, Failure) for one in rows)

            run(2 * processes)  # then the network is compiled, and all processes are there
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing is half made from here on: it ends at once
            say(ready=True)
            for line in sys.stdin:
                began = time.perf_counter()
                images = run(int(line))
                say(images=images, seconds=time.perf_counter() - began)
    except Exception as error:
        say(error=f"{'' if isinstance(error, ResnetFeaError) else type(error).__name__ + ': '}{error}")


if __name__ == "__main__":
    _main()
