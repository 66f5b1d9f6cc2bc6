"""For each image the one that is most like it: reads what `resnetfea extract` wrote.

examples/nearest.py FEATURES_FOLDER [LAYER]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds


def nearest(folder: str, layer: str = "c5") -> Iterator[tuple[str, str, float]]:
    """Path, nearest path, and their cosine, for each row of all shards; nothing where there is no other row."""
    shards = sorted(str(path) for path in Path(folder).glob("features-*.parquet"))  # by name: in the order of the input
    if not shards:
        sys.exit(f"{folder}: no features-*.parquet in it")
    dataset = ds.dataset(shards, format="parquet")
    if not pa.types.is_fixed_size_list(dataset.schema.field(layer).type):
        sys.exit(f"{folder}: made with --pool none; neighbours need pooled features")
    table = dataset.to_table(columns=["path", layer])
    paths = table["path"].to_pylist()
    features = table[layer].combine_chunks()  # a fixed-size list of float32 in each row
    units = features.flatten().to_numpy().reshape(len(table), features.type.list_size)  # (N, C)
    units = units / np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    for index in range(len(paths) if len(paths) > 1 else 0):
        cosines = units @ units[index]  # (N,)
        cosines[index] = -np.inf  # an image is not its own neighbour
        best = int(cosines.argmax())
        yield paths[index], paths[best], float(cosines[best])


def main(folder: str, layer: str = "c5") -> None:
    """Print a line for each image."""
    found = list(nearest(folder, layer))
    width = max((len(path) for path, _, _ in found), default=0)
    print(f"\nnearest neighbour by cosine of {layer}:" if found else "\none image, so it has no neighbour")
    for path, other, cosine in found:
        print(f"  {path:{width}}  {other:{width}}  {cosine:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
