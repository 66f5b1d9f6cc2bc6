"""A web server on this machine that does to each request what a test asks of it, and tells what it was asked."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Server(ThreadingHTTPServer):
    """Serves `content` under every path, but gives the `answers` first, one to a request."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.ranges = content, '"one"', True
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, Message]] = []  # path, headers

    def url(self, path: str = "/file.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    @property
    def parts(self) -> list[str | None]:
        """The Range of each request so far."""
        return [headers["Range"] for _, headers in self.asked]

    def handle_error(self, *_: object) -> None:
        """A client that went away is what many tests want."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers))
        answer = self.server.answers.pop(0) if self.server.answers else whole
        answer(self)

    def log_message(self, *_: Any) -> None:
        pass

    def begin(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


@contextmanager
def serving(content: bytes) -> Iterator[Server]:
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ---- answers ---------------------------------------------------------------------------------------------------------


def whole(handler: Handler) -> None:
    """As a good server: all of it, or the part that is asked for if that is still of the same version."""
    send(handler, handler.server.content)


def cut(after: int) -> Answer:
    """The connection ends when so many bytes of the file have been sent."""

    def answer(handler: Handler) -> None:
        send(handler, handler.server.content, end=after)

    return answer


def send(handler: Handler, content: bytes, end: int | None = None) -> None:
    server, start = handler.server, 0
    wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    if wanted and server.ranges and handler.headers["If-Range"] == server.etag:
        start = int(wanted[1])
        if start >= len(content):
            handler.begin(416, Content_Range=f"bytes */{len(content)}")
            return
        where = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.begin(206, ETag=server.etag, Content_Length=len(content) - start, Content_Range=where)
    else:
        handler.begin(200, ETag=server.etag, Content_Length=len(content))
    handler.wfile.write(content[start:end])


def status(code: int, **headers: object) -> Answer:
    return lambda handler: handler.begin(code, Content_Length=0, **headers)


def moved(location: str) -> Answer:
    return status(302, Location=location)


def without_length(handler: Handler) -> None:
    """The end of the connection is the end of the file, as in HTTP/1.0."""
    handler.begin(200)
    handler.wfile.write(handler.server.content)


def chunked(handler: Handler) -> None:
    """Without a length, but the end is marked."""
    content = handler.server.content
    in_chunks(b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n")(handler)


def in_chunks(body: bytes) -> Answer:
    """Calls the body chunks, whatever it is."""

    def answer(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.begin(200, Transfer_Encoding="chunked")
        handler.wfile.write(body)

    return answer


def endless(code: int, **headers: object) -> Answer:
    """Until the client has had enough."""

    def answer(handler: Handler) -> None:
        handler.begin(code, **headers)
        with suppress(ConnectionError):
            while True:
                handler.wfile.write(bytes(1 << 16))

    return answer
