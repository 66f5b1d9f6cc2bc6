"""Measure, keep the numbers, write them into both pages:  PYTHONPATH=docs:tests python -m differences [render]."""

import json
import sys
from pathlib import Path

import resnetfea  # noqa: F401  before mindspore: it sets the CPU guard
from differences import page

if "render" not in sys.argv[1:]:  # which writes the numbers that are there
    from differences.measure import measure

    measured = measure(Path("samples"), told=lambda line: print(line, file=sys.stderr))
    page.NUMBERS.write_text(json.dumps(measured, indent=1) + "\n")
for path in page.PAGES.values():
    path.write_text(page.filled(path))
