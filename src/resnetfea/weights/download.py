"""One file by HTTPS: resumed where it was cut, verified before it gets its name, downloaded once however many ask.

Written on the standard library. pooch (accc726) verifies and retries, but begins a cut file anew, has no lock between
processes, limits no size, follows any redirect, and would bring requests: what it could do here is the smaller half.
"""

from __future__ import annotations

import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urljoin, urlsplit

from resnetfea import __version__
from resnetfea.errors import ResnetFeaError, printable
from resnetfea.weights.part import Part, Version, part_of

ATTEMPTS = 5  # that bring nothing new; one that gets WORTH bytes further than any before it does not count
WORTH = 1 << 20
PAUSE = 0.3  # seconds before the second attempt, twice as long before the third, and so on up to one second
TIMEOUT = 20  # seconds, for the connection and for each piece of an answer
BLOCK = 1 << 18
HOPS = 10  # redirects, as urllib's own limit
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 429, 500, 502, 503, 504)  # answers of a server that may do better in a moment
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Progress = Callable[[int, int], None]
log = logging.getLogger("resnetfea")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is known of a file before it is there.

    Attributes:
        limit: bytes that it may not pass, whatever anyone states.
        sha256: all of it, or None. prefix: its beginning, or nothing.
        size: in bytes, or None.
    """

    limit: int
    sha256: str | None = None
    prefix: str = ""
    size: int | None = None


class UnreachableError(ResnetFeaError):
    """It can't be had from here, or not now; the file itself may be right."""


class _CutError(Exception):
    """This attempt ended early; another may get further."""


class _WrongFileError(ResnetFeaError):
    """Not the file that was expected: nothing of it may stay."""


def check_url(url: str) -> None:
    """Only what nobody on the way can change is taken: https, or http that never leaves this machine.

    Raises:
        ResnetFeaError: it is something else, or no URL.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is no number raises
    except ValueError as error:
        raise ResnetFeaError(f"{printable(url)}: not a URL: {error}") from error
    if not host or not re.fullmatch(r"[!-~]+", url):
        raise ResnetFeaError(f"{printable(url)}: not a URL; it needs a host, and may hold neither spaces nor umlauts")
    if "@" in parts.netloc:
        raise ResnetFeaError(f"{host}: a URL with a name or password in it is not taken, for it would be printed")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK):
        raise ResnetFeaError(f"{url}: only https is taken; bring the file here in another way, and give its path")


def download(
    url: str, final: Path, *, expected: Expected, progress: Progress | None = None, pause: float = PAUSE
) -> None:
    """Bring the URL's file to `final`, whose folder is there. Where another process is doing that, wait for it.

    Ctrl-C, and attempts that were all cut, leave what has come in FILE.part, and the next call goes on from there.

    Raises:
        ResnetFeaError: it can't be had, or is not the file that was expected.
        OSError: the folder can't be written.
    """
    check_url(url)
    with part_of(final) as part:
        if part is None:
            return
        try:
            _fill(part, url, expected, progress or (lambda done, total: None), pause)
            _verify(part, url, expected)
        except _WrongFileError:
            part.drop()
            raise
        except KeyboardInterrupt:
            if part.version(url):
                log.info("%s bytes of %s have come; the next run goes on from there", f"{part.size:,}", final.name)
            raise
        part.become(final)


def _fill(part: Part, url: str, expected: Expected, progress: Progress, pause: float) -> None:
    """Attempts, until the part is complete or they bring nothing new."""
    failed, furthest = 0, part.size
    while True:
        try:
            return _attempt(part, url, expected, progress)
        except _CutError as cut:
            failed = failed + 1 if part.size < furthest + WORTH else 1
            furthest = max(furthest, part.size)
            if failed == ATTEMPTS:
                kept = f"; {part.size:,} bytes have come, run again to go on from there" if part.version(url) else ""
                raise UnreachableError(f"{url}: cannot be downloaded: {printable(str(cut))}{kept}") from cut
            log.info("%s; trying again", printable(str(cut)))
            time.sleep(min(1.0, pause * 2 ** (failed - 1)))


def _attempt(part: Part, url: str, expected: Expected, progress: Progress) -> None:
    """One request, and all that its answer brings."""
    version = part.version(url)
    if version is None:
        part.restart()
    elif part.size == version.total:  # killed between the last byte and the final name
        return
    with _answer(url, part, version) as response:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise ResnetFeaError(f"{url}: the server sends it packed, which was not asked for")
        if response.headers.get_content_type() == "text/html":  # of a login, a proxy, or a question to confirm
            raise UnreachableError(f"{url}: cannot be downloaded: the server sends a web page instead of the file")
        tag = response.headers.get("ETag", "")  # a weak one (W/) does not promise the same bytes
        validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
        total: int | None
        if response.status == 206:
            total = _total(response, part.size)
            if total is None or version is None or (tag and tag != version.validator):
                part.restart()
                raise _CutError("the server went on with something else than was asked for")
        else:
            total = None if response.chunked else response.length
            part.restart(Version(url, validator, total))
        _check_size(url, total, expected, ended=response.chunked)
        done = part.size
        most = total or expected.size or expected.limit
        for block in _blocks(response):
            done += len(block)
            if done > most:
                raise _WrongFileError(f"{url}: longer than {most:,} bytes; nothing was kept")
            part.append(block)
            progress(done, total or expected.size or 0)
        if total is not None and done < total:
            raise _CutError(f"the connection was cut after {done:,} of {total:,} bytes")


def _answer(url: str, part: Part, version: Version | None) -> HTTPResponse:
    """The server's answer with the file, or with what of it is missing here."""
    headers = {"User-Agent": f"resnetfea/{__version__}", "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": version.validator}
    for _ in range(HOPS):
        try:
            answer: HTTPResponse = _opener().open(request.Request(url, headers=headers), timeout=TIMEOUT)
            return answer
        except HTTPError as error:
            error.close()  # its text is not wanted, and might never end
            if error.code in REDIRECTS and error.headers.get("Location"):
                url = _redirected(url, error.headers["Location"])
                continue
            said = f"the server answered {error.code} {printable(str(error.reason))}"
            if error.code == 416 and version:  # it has no such part any more
                part.restart()
                raise _CutError(said) from error
            if error.code in PASSING:
                raise _CutError(said) from error
            raise UnreachableError(f"{url}: cannot be downloaded: {said}") from error
        except URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise UnreachableError(f"{url}: its certificate is not valid here: {error.reason}") from error
            raise _CutError(f"no connection: {getattr(error.reason, 'strerror', None) or error.reason}") from error
        except (OSError, HTTPException) as error:
            raise _CutError(f"no answer: {error or type(error).__name__}") from error
        except ValueError as error:  # a host that is no name
            raise ResnetFeaError(f"{url}: not a URL: {error}") from error
    raise ResnetFeaError(f"{url}: more than {HOPS} redirects")


def _opener() -> request.OpenerDirector:
    """With the environment's proxies, but no redirects: urllib's own way reads their text, however long it is, and goes
    from https to http. Nor ftp or file."""
    opener = request.OpenerDirector()
    for name in ("ProxyHandler", "HTTPHandler", "HTTPSHandler", "HTTPDefaultErrorHandler", "HTTPErrorProcessor"):
        opener.add_handler(getattr(request, name)())
    return opener


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        check_url(target)
        if url.startswith("https:") and not target.startswith("https:"):
            raise ResnetFeaError("leads from https to http")
    except (ResnetFeaError, ValueError) as error:
        raise ResnetFeaError(f"{url}: its redirect cannot be followed: {printable(str(error))}") from error
    return target


def _total(response: HTTPResponse, start: int) -> int | None:
    """The file's length by Content-Range, if the answer really goes from `start` to the end."""
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start or int(found[2]) + 1 != int(found[3]):
        return None
    return int(found[3])


def _check_size(url: str, total: int | None, expected: Expected, *, ended: bool) -> None:
    """By what the server announces; `ended` where the answer marks its end."""
    if total is None:
        if not ended and expected.sha256 is None and expected.size is None:
            raise ResnetFeaError(f"{url}: the server does not say how long it is, so a cut file could not be told")
    elif expected.size is not None and total != expected.size:
        raise _WrongFileError(f"{url}: the server has {total:,} bytes where {expected.size:,} belong")
    elif total > expected.limit:
        raise _WrongFileError(f"{url}: {total:,} bytes; no ResNet's weights need more than {expected.limit:,}")


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    """As they come in."""
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a chunk's length that is no number
            raise _CutError(f"the connection was cut: {error or type(error).__name__}") from error
        if not block:
            return
        yield block


def _verify(part: Part, url: str, expected: Expected) -> None:
    """The file is here; is it the one?"""
    if expected.size is not None and part.size != expected.size:
        raise _WrongFileError(f"{url}: {part.size:,} bytes came where {expected.size:,} belong; nothing was kept")
    sha256, wanted = part.sha256(), expected.sha256 or expected.prefix
    if not sha256.startswith(wanted):
        right = "must be" if expected.sha256 else "must begin with"
        raise _WrongFileError(
            f"{url}: not the file that was published: its sha256 is {sha256} and {right} {wanted}; nothing was kept"
        )
