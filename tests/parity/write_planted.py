"""Write what the wrong ports of planted.py compute, as traces. Runs in an environment with torch.

Usage: PYTHONPATH=src:tests python tests/parity/write_planted.py FOLDER [--only "eps of Keras" ...]

FOLDER/given.npz, from compare_planted.py, has open_nsfw's tensors and the photo.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from parity.planted import MULTIPLE, PORTS, SEED, Pixels, Port
from parity.torch_net import features
from rich_weights import State, rich_input, rich_state


def main() -> None:
    """One trace for each port."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where given.npz is; the traces go there")
    parser.add_argument("--only", nargs="+", choices=PORTS, default=list(PORTS), help="these ports alone")
    options = parser.parse_args()
    with np.load(options.folder / "given.npz", allow_pickle=False) as file:
        given = {name: file[name] for name in file.files}
    photo = given.pop("photo")
    for name in options.only:
        port = PORTS[name]
        state = dict(given) if port.trained else rich_state(port.variant, SEED)
        arrays = computed(port, state, photo)
        np.savez(options.folder / f"{name}.npz", **arrays)
        print(f"{name:44}{sum(array.nbytes for array in arrays.values()) / 1e6:8.1f} MB", flush=True)


def computed(port: Port, state: State, photo: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The trace's arrays."""
    for edit in port.edits:
        edit(state)
    tensors = {name: rounded(torch.from_numpy(array), port.rounded) for name, array in state.items()}
    variant = replace(port.variant, **port.computes)
    if port.training:
        variant = replace(variant, norm="batch", freeze_at=0)
    arrays: dict[str, NDArray[Any]] = {}
    if port.picture or port.trained:
        pixels, x = pictured(port, torch.from_numpy(photo))
        arrays |= {"image": pixels.numpy()} if port.picture else {}
    else:
        x = torch.from_numpy(rich_input((1, 3, *port.size), SEED))
    arrays["input"] = x.numpy()

    def keep(name: str, output: Tensor) -> Tensor:
        if port.dense:
            arrays[name] = output.numpy()
        return output

    with torch.inference_mode():
        maps = features(tensors, variant, x, training=port.training, keep=keep)
    return arrays | {name: output.numpy() for name, output in maps.items()}


def pictured(port: Port, photo: Tensor) -> tuple[Tensor, Tensor]:
    """The picture, RGB (H, W, 3), and what the port makes of it, (1, 3, H, W)."""
    height, width = port.size
    pixels, recipe = photo[:height, :width], replace(port.recipe, **port.makes)
    margin = (0, -width % MULTIPLE, 0, -height % MULTIPLE)  # behind only
    if not port.padded:
        return pixels, normalised(pixels, recipe)
    whole = F.pad(pixels.permute(2, 0, 1), margin).permute(1, 2, 0).contiguous()
    if port.padded == "after normalising":
        return whole, F.pad(normalised(pixels, recipe), margin)
    return whole, normalised(whole, recipe)


def normalised(pixels: Tensor, recipe: Pixels) -> Tensor:
    """RGB (H, W, 3) to (1, 3, H, W), as torchvision's ToTensor and Normalize: divided by 255 where it is by 255."""
    x = pixels.permute(2, 0, 1).float()
    x = x.flip(0) if recipe.color == "bgr" else x
    x = x / 255 if recipe.scale == 1 / 255 else x * recipe.scale
    mean, std = torch.tensor(recipe.mean), torch.tensor(recipe.std)
    return ((x - mean[:, None, None]) / std[:, None, None])[None].contiguous()


def rounded(tensor: Tensor, kind: str) -> Tensor:
    """Saved as float16 or bfloat16 and read back."""
    return tensor.to(getattr(torch, kind)).float() if kind else tensor


if __name__ == "__main__":
    main()
