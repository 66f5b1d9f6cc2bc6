"""Write what PyTorch computes: every variant on every input, traces, pyramids, gradients. Runs where torch is.

Usage: PYTHONPATH=src:tests python tests/parity/write_references.py OUT [--full] [--only default ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from parity import torch_fpn, write_gradients, write_traces
from parity.references import FURTHER, INPUTS, SAMPLES, SEED, SMALL_INPUTS, VARIANTS, Floats, entries, save
from parity.torch_net import State, features
from resnetfea.network.variant import Variant
from rich_weights import digest, rich_input, rich_state

ALL = VARIANTS | FURTHER


def main() -> None:
    """One file for each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the .npz files")
    parser.add_argument("--full", action="store_true", help="whole maps (300 MB), and every layer")
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="these variants alone")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        write(options.out / f"{name}.npz", name, limit=None if options.full else SAMPLES)
    if options.only == list(ALL):
        write_traces.write_all(options.out / "traces", full=options.full)
        torch_fpn.write_all(options.out / "fpn", full=options.full)
        write_gradients.write_all(options.out / "gradients" / "gradients.npz", full=options.full)


def write(path: Path, name: str, limit: int | None) -> None:
    """One variant's file."""
    variant = ALL[name]
    inputs = INPUTS if limit is None or name in VARIANTS else SMALL_INPUTS
    weights = rich_state(variant, SEED)
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    arrays: dict[str, Any] = {}
    for shape in inputs:
        x = rich_input(shape, SEED)
        layers, maps = computed(state, variant, torch.from_numpy(x))
        if limit is None:
            arrays |= entries(shape, x, layers, SAMPLES)
        arrays |= entries(shape, x, maps, limit)
        print(name, shape, {key: f"max {value.max():.3g} mean {value.mean():.3g}" for key, value in maps.items()})
    save(path, variant, digest(weights), list(inputs), arrays)


def computed(state: State, variant: Variant, x: torch.Tensor) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Every layer's output in order of execution, and the maps."""
    layers: dict[str, Floats] = {}

    def keep(name: str, output: torch.Tensor) -> torch.Tensor:
        layers[name] = output.numpy()
        return output

    with torch.inference_mode():
        maps = features(state, variant, x, keep=keep)
    return layers, {name: output.numpy() for name, output in maps.items()}


if __name__ == "__main__":
    main()
