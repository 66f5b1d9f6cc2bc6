"""For each image the one that is most like it: reads what `resnetfea extract` wrote.

examples/nearest.py FEATURES_FOLDER [LAYER]
"""

import sys

import numpy as np
import pyarrow.dataset as ds


def main(folder: str, layer: str = "c5") -> None:
    """Print a line for each row: path, nearest path, cosine."""
    shards = sorted(ds.dataset(folder, format="parquet").files)
    table = ds.dataset([path for path in shards if "/features-" in path], format="parquet").to_table()
    paths = table["path"].to_pylist()
    features = np.stack(table[layer].to_numpy())  # (N, C)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = units @ units.T
    np.fill_diagonal(cosines, -1)
    print(f"\nnearest neighbour by cosine of {layer}:")
    for path, row in zip(paths, cosines, strict=True):
        print(f"  {path:{max(map(len, paths))}}  {paths[row.argmax()]}  {row.max():.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
