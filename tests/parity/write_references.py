"""Write what PyTorch computes for every variant and input, for compare.py, and traces. Runs where torch is.

Usage: PYTHONPATH=src:tests python tests/parity/write_references.py OUT [--full] [--only default ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from parity.references import FURTHER, INPUTS, SAMPLES, SEED, SMALL_INPUTS, VARIANTS, entries, save
from parity.torch_net import features
from parity.write_traces import write_all
from rich_weights import digest, rich_input, rich_state

ALL = VARIANTS | FURTHER


def main() -> None:
    """One file for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the .npz files")
    parser.add_argument("--full", action="store_true", help="whole maps (100 MB) instead of a sample of each")
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="these variants alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        write(options.out / f"{name}.npz", name, limit=None if options.full else SAMPLES)
    if options.only == list(ALL):
        write_all(options.out / "traces", full=options.full)


def write(path: Path, name: str, limit: int | None) -> None:
    """One variant's file."""
    variant = ALL[name]
    inputs = INPUTS if limit is None or name in VARIANTS else SMALL_INPUTS
    weights = rich_state(variant, SEED)
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    arrays: dict[str, Any] = {}
    for shape in inputs:
        x = rich_input(shape, SEED)
        with torch.inference_mode():
            maps = {key: value.numpy() for key, value in features(state, variant, torch.from_numpy(x)).items()}
        arrays |= entries(shape, x, maps, limit)
        print(name, shape, {key: f"max {value.max():.3g} mean {value.mean():.3g}" for key, value in maps.items()})
    save(path, variant, digest(weights), list(inputs), arrays)


if __name__ == "__main__":
    main()
