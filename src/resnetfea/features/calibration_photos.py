"""Photos that int8 is calibrated on: some of the run's own, or of another source that the user gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.precision import Calibration
from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import read
from resnetfea.features.decoding import Decoders
from resnetfea.features.source import Source

PHOTOS = 64


def of_source(source: str | Path, decoders: Decoders) -> Calibration:
    """Of a folder, list or image that the user gives.

    Args:
        source: as extract's.
        decoders: open until the pictures are asked for.

    Raises:
        ResnetFeaError: there is no image in it.
    """
    found = listing.images(source)
    count = sum(1 for _ in found.names())
    if not count:
        raise ResnetFeaError(f"{source}: no images in it to calibrate on")
    return of_names(found, found.names(), count, decoders)


def of_names(source: Source, names: Iterable[bytes], count: int, decoders: Decoders) -> Calibration:
    """Up to PHOTOS of `count` names, evenly spread, since neighbours in a folder are often alike.

    Which they are, and so every row of the run, depends on the files' contents and order, and on what the decoders
    take and make of them, alone.
    """
    wanted = {index * count // PHOTOS for index in range(PHOTOS)}
    contents = [source.content(name) for index, name in enumerate(names) if index in wanted]
    limits = decoders.limits
    digest = hashlib.sha256(repr((decoders.recipe, decoders.mode, limits.pixels)).encode())
    for content in contents:
        try:
            digest.update(hashlib.sha256(read(content, limits.bytes)).digest())
        except BadImage:  # it will be among the run's failures
            digest.update(b"-")

    def pictures() -> list[NDArray[np.uint8]]:
        decoded = [future.result() for future in [decoders.submit(content) for content in contents]]
        found = [picture.pixels for picture in decoded if not isinstance(picture, BadImage)]
        if not found:
            raise ResnetFeaError(
                f"{source.where}: none of the {len(contents)} images chosen to calibrate on can be read; "
                "give others with --calibration"
            )
        return found

    return Calibration(digest.hexdigest(), pictures)
