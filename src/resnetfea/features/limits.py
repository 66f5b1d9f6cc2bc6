"""What one image may take, so that no file keeps a run busy or takes its memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Beyond these a file is a failure. They change no row: a run may go on with others.

    pixels: width x height, as the header says.
    bytes: of the file.
    seconds: of reading and decoding it, once it is its turn.
    """

    pixels: int = 89_478_485  # Pillow's own limit, a quarter of a gigabyte in RGB
    bytes: int = 512 << 20
    seconds: float = 60.0  # so many pixels of JPEG, WebP, AVIF, JPEG XL or HEIC take 2 to 5 on one core

    def __post_init__(self) -> None:
        if not (self.pixels > 0 and self.bytes > 0 and self.seconds > 0):
            raise ValueError("Limits: numbers above 0")
