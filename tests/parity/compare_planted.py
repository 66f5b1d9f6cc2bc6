"""`resnetfea diagnose` on the wrong ports of planted.py, as PyTorch computed them: all named exactly, none invented.

Usage, in this order; the second where torch is:
    PYTHONPATH=tests python tests/parity/compare_planted.py FOLDER --give
    PYTHONPATH=src:tests python tests/parity/write_planted.py FOLDER
    PYTHONPATH=tests python tests/parity/compare_planted.py FOLDER [--only "eps of Keras" ...]

Exits 0 when each is right, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from parity.planted import PHOTO, PORTS, SEED, Port
from resnetfea import Weights, read
from resnetfea.parity.diagnose import Diagnosis, diagnose
from resnetfea.parity.reference import reference
from resnetfea.weights import safetensors_file
from resnetfea.weights.card import Card
from resnetfea.weights.recipe import TORCHVISION as RECIPE
from rich_weights import rich_state

SAMPLE = Path(__file__).parents[2] / "samples" / "people-and-things" / "coffee-cup.jpg"
EPS = 2e-9  # within which an eps must be found
CLOSE = 1e-4  # mean, std and scale: relative


def main() -> int:
    """Print a line for each port; 1 when diagnose is wrong about one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the traces")
    parser.add_argument("--give", action="store_true", help="write what write_planted.py needs, and nothing else")
    parser.add_argument("--only", nargs="+", choices=PORTS, default=list(PORTS), help="these ports alone")
    options = parser.parse_args()
    if options.give:
        give(options.folder)
        return 0
    wrong, slowest = [], 0.0
    for name in options.only:
        weights = weights_of(PORTS[name])
        trace = reference(options.folder / f"{name}.npz", weights)
        start = perf_counter()
        try:
            problems = problems_of(PORTS[name], weights, diagnose(weights, trace))
        except Exception as error:  # one that fails is wrong, and the rest is wanted too
            problems = [repr(error)]
        seconds = perf_counter() - start
        slowest = max(slowest, seconds)
        wrong += [name] if problems else []
        print(f"{name:44}{seconds:6.1f} s  {'; '.join(problems) or 'OK'}", flush=True)
    print(f"{len(options.only) - len(wrong)} of {len(options.only)} are right; the slowest took {slowest:.1f} s")
    return 1 if wrong else 0


def give(folder: Path) -> None:
    """open_nsfw's tensors, which nothing in the environment with torch can read, and a photo."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(SAMPLE) as image:
        photo = np.asarray(image.convert("RGB").resize((PHOTO, PHOTO)))
    np.savez(folder / "given.npz", photo=photo, **read("opennsfw").tensors)


def weights_of(port: Port) -> Weights:
    """As a user has them: out of a file, with what they need on its card."""
    if port.trained:
        weights = read("opennsfw")
        if weights.variant != port.variant or weights.recipe != replace(weights.recipe, **asdict(port.recipe)):
            raise RuntimeError(f"opennsfw is {weights.variant}, {weights.recipe}")
        return weights
    known = replace(RECIPE, **asdict(port.recipe))
    card = Card(variant=port.variant, recipe=known, recipe_of="planted", ecosystem=port.ecosystem, sha256="0" * 64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w.safetensors")
        with path.open("wb") as stream:
            safetensors_file.write(stream, rich_state(port.variant, SEED), card.to_json())
        return replace(read(path), ecosystem=port.ecosystem)


def problems_of(port: Port, weights: Weights, diagnosis: Diagnosis) -> list[str]:
    """In words, what is missing, invented, or left open."""
    found = {one.setting: one.found for one in diagnosis.differences}
    problems = [f"missing {name} {value}" for name, value in port.expected.items() if name not in found]
    for one in diagnosis.differences:
        if one.setting not in port.expected:
            problems.append(f"invented {one.setting} {one.found} (for {one.expected})")
        elif not same(one.setting, one.found, port.expected[one.setting]):
            problems.append(f"{one.setting} is {one.found}, not {port.expected[one.setting]}")
        for holder in (weights.variant, weights.recipe):
            if hasattr(holder, one.setting) and not same(one.setting, one.expected, getattr(holder, one.setting)):
                problems.append(f"{one.setting} needs {getattr(holder, one.setting)}, not {one.expected}")
    if len(found) < len(diagnosis.differences):
        problems.append(f"one setting twice: {[one.setting for one in diagnosis.differences]}")
    problems += ["the time ran out"] if problems and diagnosis.hurried else []
    problems += [f"unexplained {name}: {why}" for name, why in diagnosis.unexplained[:3]]
    json.dumps(diagnosis.facts(), allow_nan=False)
    return problems


def same(setting: str, found: Any, wanted: Any) -> bool:
    """Numbers within their tolerance, layers in any order, words exactly."""
    if setting == "bn_eps":
        return bool(abs(found - wanted) <= EPS)
    if setting == "weights":
        return layers(found) == layers(wanted)
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return len(found) == len(wanted) and all(same(setting, a, b) for a, b in zip(found, wanted, strict=True))
    if isinstance(wanted, float):
        return math.isclose(found, wanted, rel_tol=CLOSE, abs_tol=1e-6)
    return bool(found == wanted)


def layers(names: str) -> set[str]:
    """Of a list with commas."""
    return {name.strip() for name in names.split(",")}


if __name__ == "__main__":
    sys.exit(main())
