"""Write PyTorch's gradients for every case of gradients.py. Runs in an environment with torch.

Usage: PYTHONPATH=src:tests python tests/parity/write_gradients.py tests/golden/gradients/gradients.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from parity.gradients import CASES, SAMPLES, SEED, SHAPE, Expected, Gradient, loss, sampled, save
from parity.torch_net import features
from resnetfea.network.variant import Variant
from rich_weights import digest, rich_input, rich_state


def write_all(path: Path, *, full: bool) -> None:
    """All cases in one file; all values of every gradient, or a sample."""
    found = {case: expected(variant, full) for case, variant in CASES.items()}
    for case, one in found.items():
        print(
            f"{case:28}{len(one.gradients):4} tensors train, peaks to {max([g.peak for g in one.gradients] or [0]):.3g}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, found)


def expected(variant: Variant, full: bool) -> Expected:
    """By autograd, of what trains there."""
    weights = rich_state(variant, SEED)
    state = {name: torch.from_numpy(array).requires_grad_(trains(name, variant)) for name, array in weights.items()}
    maps = features(state, variant, torch.from_numpy(rich_input(SHAPE, SEED)), training=True)
    learned = [name for name in state if state[name].requires_grad]
    if learned:
        loss(maps, torch.from_numpy).backward()
    gradients = []
    for name in learned:
        grad = state[name].grad
        assert grad is not None, name
        most = grad.numel() if full else SAMPLES
        gradients.append(Gradient(name, float(grad.abs().max()), sampled(grad.numpy(), most)))
    return Expected(variant, digest(weights), tuple(gradients))


def trains(name: str, variant: Variant) -> bool:
    """maskrcnn-benchmark's _freeze_backbone: stage i (0 is the stem) trains from freeze_at = i down.

    Its frozen norms have no parameters at all. The source document trains scales and shifts, but never the stem's.
    """
    stage = int(name[5]) if name.startswith("layer") else 0
    of_norm = ".bn" in name or name.startswith("bn1.") or ".downsample.1." in name
    if ".running_" in name or stage < variant.freeze_at:
        return False
    if variant.norm == "frozen":
        return not of_norm
    return not (variant.norm == "affine" and name.startswith("bn1."))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), full=False)
