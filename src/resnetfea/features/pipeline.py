"""Images in, rows and failures out, in the same order: decoders ahead, the engine behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.layers import Maps
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import Picture
from resnetfea.features.source import Content, Named
from resnetfea.features.store import Failure, Row

IN_A_ROW = 256  # failures that wait for a picture behind them: a dead server has millions


class Engine(Protocol):
    """What runs the network: CompiledEngine or MindSporeEngine."""

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The layers of each picture (H, W, 3), pooled or whole, in order."""


class Decoders(Protocol):
    """What turns files into pictures: decoding.Decoders."""

    def submit(self, content: Content) -> Future[Picture | BadImage]:
        """A picture, or why there is none, some time."""


class Decoded(NamedTuple):
    """A picture that is with the engine: what its row needs besides the features."""

    path: str
    width: int
    height: int


def results(
    images: Iterable[Named],
    *,
    engine: Engine,
    decoders: Decoders,
    ahead: int,
) -> Generator[Row | Failure]:
    """A row or a failure for each image, in order.

    Args:
        images: their names and where their bytes are.
        engine: runs the network.
        decoders: what decodes the pictures, by the engine's recipe.
        ahead: pictures decoded before the engine asks for them; memory grows with it.
    """
    seen: deque[Decoded | Failure] = deque()  # decoded, not given out yet
    decoded = _decoded(images, decoders, ahead)
    ended = False

    def pictures() -> Iterator[NDArray[np.uint8]]:
        """Up to the end, or to so many failures in a row that they should be given out first."""
        nonlocal ended
        bad = 0
        for path, picture in decoded:
            if isinstance(picture, BadImage):
                seen.append(Failure(path, picture.kind, picture.reason))
                bad += 1
                if bad == IN_A_ROW:
                    return
            else:
                bad = 0
                seen.append(Decoded(path, picture.width, picture.height))
                yield picture.pixels
        ended = True

    while not ended:
        for features in engine.features(pictures()):
            while isinstance(first := seen.popleft(), Failure):
                yield first
            yield Row(first.path, first.width, first.height, features)
        yield from (failure for failure in seen if isinstance(failure, Failure))
        seen.clear()


def _decoded(images: Iterable[Named], decoders: Decoders, ahead: int) -> Iterator[tuple[str, Picture | BadImage]]:
    """Each path with its picture, or with why there is none."""
    waiting = iter(images)
    running: deque[tuple[str, Future[Picture | BadImage]]] = deque()

    def start(some: Iterable[Named]) -> None:
        running.extend((one.path, decoders.submit(one.content)) for one in some)

    start(islice(waiting, ahead))
    while running:
        path, future = running.popleft()
        start(islice(waiting, 1))
        yield path, future.result()
