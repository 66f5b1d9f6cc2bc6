"""Measure resnetfea beside its peers, and write docs/performance.md:  PYTHONPATH=src:tests python -m benchmarks.

make bench; make bench-short looks at the numbers' quality only. Raw times go to build/bench/numbers.json.
Exit code 1 where a row's numbers are not good enough, or a peer does other work. A ratio below its goal is not an
error: it is what this machine gives, and stands in the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import page
from benchmarks.rows import AGREE
from benchmarks.session import Session

BUILD = Path("build/bench")
NUMBERS = BUILD / "numbers.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--web", type=int, default=512, help="images of a run over 500x375 photos")
    parser.add_argument("--phone", type=int, default=96, help="images of a run over 4000x3000 photos")
    parser.add_argument("--only", default="", help="rows and peers whose names have this in them; writes no page")
    parser.add_argument("--short", action="store_true", help="quality on few photos; no ratios, writes no page")
    parser.add_argument("--page", action="store_true", help="write the pages from the numbers that are there")
    options = parser.parse_args()
    if options.page:
        written(json.loads(NUMBERS.read_text()))
        return
    if min(options.rounds, options.web // 16, options.phone // 16) < 1:
        parser.error("at least 1 round, and 16 images of each kind")
    BUILD.mkdir(parents=True, exist_ok=True)
    counts = {"web": 24, "phone": 4} if options.short else {"web": options.web, "phone": options.phone}
    session = Session(BUILD, counts, only=options.only, told=lambda line: print(line, file=sys.stderr, flush=True))
    if options.short:
        sys.exit("\n".join(session.checked()) or None)
    measured = session.measured(options.rounds)
    NUMBERS.write_text(json.dumps(measured, indent=1) + "\n")
    if not options.only:
        written(measured)
    for name in ("goals", "more", "peers", "profile"):
        print(page.blocks(measured)[name])
    bad = [row["key"] for row in measured["rows"] if not row["missing"] and not row["good"]]
    bad += [peer["key"] for peer in measured["peers"] if (peer.get("agrees") or 0) > AGREE]
    sys.exit(f"not good enough: {', '.join(bad)}" if bad else None)


def written(measured: dict[str, object]) -> None:
    """The pages, with these numbers."""
    for path in page.PAGES:
        path.write_text(page.filled(path.read_text(), measured))


if __name__ == "__main__":
    main()
