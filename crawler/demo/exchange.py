"""A request, and the two kinds of answer: a proper one, and a script of raw bytes.

A handler takes a `Request` and returns an `Answer`, which the server frames and sends, or a
`Script`: an iterator of steps that the server only carries out. A step is bytes to send as they
are, a number of seconds to wait, or RESET; the end of the script closes the connection. So a
handler may break the protocol in any way, and never touches a socket.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

if TYPE_CHECKING:
    from crawler.demo.site import Site


class Cut(Enum):
    """How a script can end other than by closing the connection."""

    RESET = "reset"


RESET: Final = Cut.RESET

T = TypeVar("T")

Header = tuple[str, str]
Script = Iterator[bytes | float | Literal[Cut.RESET]]

REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    413: "Content Too Large",
    414: "URI Too Long",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class BadRequestError(Exception):
    """The client asked for something that can't be answered; becomes an answer with `status`."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked for."""

    site: Site
    method: str
    target: str
    """Path and query, as they came."""
    headers: tuple[Header, ...]
    """Names in lower case, in the order they came."""
    body: bytes
    keep_alive: bool
    """Whether the client may ask again on the same connection."""
    arguments: dict[str, str]
    """The query's, and then the route's `{names}`."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """The first header of that name (in lower case), or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    def cookies(self) -> dict[str, str]:
        """The cookies that the client sent."""
        pairs = (pair.partition("=") for pair in self.header("cookie").split("; "))
        return {name: value for name, equals, value in pairs if equals}

    def as_json(self) -> dict[str, Any]:
        """The request as plain data; of headers with the same name the last one."""
        return {
            "method": self.method,
            "target": self.target,
            "headers": dict(self.headers),
            "body": self.body.decode("latin-1"),
        }

    def number(self, name: str, default: float = 0.0, *, most: float = float("inf")) -> float:
        """An argument as a number from 0 to `most`; BadRequestError if it is none."""
        try:
            value = float(self.arguments.get(name, default))
        except ValueError:
            value = -1.0
        if not 0.0 <= value <= most:
            raise BadRequestError(f"{name} must be a number from 0 to {most:g}")
        return value

    def count(self, name: str, default: int = 0, *, most: int = 10**9) -> int:
        """An argument as a whole number from 0 to `most`; BadRequestError if it is none."""
        text = self.arguments.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
            raise BadRequestError(f"{name} must be a whole number from 0 to {most}")
        return int(text)

    def kind(self, kinds: Mapping[str, T]) -> T:
        """The one of these kinds that the path names; BadRequestError lists them if it is none."""
        if self.arguments["kind"] not in kinds:
            raise BadRequestError(f"kinds: {', '.join(kinds)}", status=404)
        return kinds[self.arguments["kind"]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A proper HTTP answer; the server adds Content-Length, Date and Connection."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[Header, ...] = ()
    after: float = 0.0
    """Seconds to wait before it is sent."""


Handler = Callable[[Request], Answer | Script]


@dataclass(frozen=True)
class Document:
    """A body that stays the same, with what clients save work by."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"

    @cached_property
    def etag(self) -> str:
        """An entity tag that follows from the bytes."""
        return f'"{zlib.crc32(self.body):08x}"'

    @cached_property
    def gzipped(self) -> bytes:
        """The body in gzip format, the same bytes every time."""
        return gzip(self.body)

    def answer(self, request: Request, *headers: Header) -> Answer:
        """This document for that client: 304 if it has it, gzip if it can read it."""
        headers += (("ETag", self.etag), ("Vary", "Accept-Encoding"))
        if self.etag in request.header("if-none-match"):
            return Answer(status=304, content_type="", headers=headers)
        if "gzip" not in request.header("accept-encoding"):
            return Answer(self.body, content_type=self.content_type, headers=headers)
        headers += (("Content-Encoding", "gzip"),)
        return Answer(self.gzipped, content_type=self.content_type, headers=headers)


def gzip(body: bytes) -> bytes:
    """`body` in gzip format without a time stamp."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(body) + packer.flush()


def html_page(title: str, content: str, *, head: str = "") -> bytes:
    """A small whole page; `title` is text, `content` and `head` are markup."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)}</title>\n{head}</head>\n<body>\n{content}\n</body>\n</html>\n"
    ).encode()


def page(
    title: str,
    content: str,
    *,
    status: int = 200,
    headers: tuple[Header, ...] = (),
    after: float = 0.0,
) -> Answer:
    """A small whole page as an answer; `title` is text, `content` is markup."""
    return Answer(html_page(title, content), status=status, headers=headers, after=after)


def json_answer(value: Any) -> Answer:
    """A value as JSON."""
    body = json.dumps(value, ensure_ascii=False, indent=1).encode()
    return Answer(body + b"\n", content_type="application/json")


def redirect(location: str, status: int = 302, *headers: Header) -> Answer:
    """A redirect to `location`, which is sent as it is."""
    return Answer(status=status, content_type="", headers=(("Location", location), *headers))


def status_line(status: int) -> str:
    """The first line of an answer, without its line end."""
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"


def head(*headers: Header, status: int = 200) -> bytes:
    """The raw head of an answer, for scripts: exactly these headers."""
    lines = (status_line(status), *(f"{name}: {value}" for name, value in headers))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
