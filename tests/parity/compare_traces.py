"""`resnetfea verify` on the traces that PyTorch has just written: each agrees, and says where a planted error is."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from parity.traces import CASES, FULL
from resnetfea import read
from resnetfea.parity.reference import reference
from resnetfea.parity.verify import sentence, verify

VICTIM = "layer3.1.conv2"


def wrong_ones(folder: Path) -> list[str]:
    """Print a sentence for each trace of the folder; the names of those that verify is wrong about."""
    wrong = []
    for path in sorted(folder.glob("*.npz")):
        case = (CASES | FULL)[path.stem]
        with tempfile.TemporaryDirectory() as where:
            save_file(case.file, Path(where, "w.safetensors"))
            right = replace(read(Path(where, "w.safetensors")), variant=case.variant)
        tensors = dict(right.tensors)
        tensors[f"{VICTIM}.weight"] = tensors[f"{VICTIM}.weight"] * np.float32(1.1)
        trace = reference(path, right)
        found = verify(right, trace, with_gradients=case.gradients)
        planted = verify(replace(right, tensors=tensors), trace, isolate=True)
        print(f"{path.stem}: {sentence(found)}\n    planted: {sentence(planted)}", flush=True)
        own = [row.name for row in planted.rows if not row.within(planted.tolerance)]
        if found.first is not None or own != [VICTIM]:
            wrong.append(path.stem)
    return wrong
