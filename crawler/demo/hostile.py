"""Answers that break the protocol, never end, or never begin.

Each is a script of raw bytes; see `exchange`. A script reads its arguments before its first step,
so that a bad one can still be refused.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator

from crawler.demo.exchange import (
    RESET,
    Request,
    Script,
    gzip,
    head,
    html_page,
)

_HTML = ("Content-Type", "text/html; charset=utf-8")
_CLOSE = ("Connection", "close")
_CHUNKED = ("Transfer-Encoding", "chunked")
_GZIP = ("Content-Encoding", "gzip")
_PAGE = html_page("Not all is well", "<h1>Not all is well</h1>\n" + "<p>Read on.</p>\n" * 100)
_BLOCK = b"<p>and so it goes on</p>\n" * 2621
"""64 KB of HTML."""


def drip(request: Request) -> Script:
    """`bytes` bytes of a page, one every `interval` seconds."""
    count = request.count("bytes", 10, most=100_000)
    interval = request.number("interval", 0.1, most=3600)
    yield head(_HTML, ("Content-Length", str(count)), _CLOSE)
    for _ in range(count):
        yield interval
        yield b"."


def slow_headers(request: Request) -> Script:
    """`n` headers, one every `interval` seconds, then a page."""
    count = request.count("n", 10, most=100_000)
    interval = request.number("interval", 0.1, most=3600)
    yield b"HTTP/1.1 200 OK\r\n"
    for number in range(count):
        yield interval
        yield b"X-Slow-%d: yes\r\n" % number
    yield b"Connection: close\r\n\r\n" + _PAGE


def hang(_request: Request) -> Script:
    """Takes the request and never answers."""
    yield math.inf


def close(_request: Request) -> Script:
    """Closes the connection instead of answering."""
    yield b""


def reset(request: Request) -> Script:
    """Resets the connection; with `?after=` so many bytes of a page."""
    after = request.count("after", 0, most=len(_PAGE))
    if after:
        yield head(_HTML, ("Content-Length", str(len(_PAGE))), _CLOSE) + _PAGE[:after]
        yield 0.05  # or the reset would overtake the bytes
    yield RESET


LENGTHS = {
    "too-long": (str(len(_PAGE) + 1000),),
    "too-short": ("10",),
    "negative": ("-1",),
    "word": ("abc",),
    "twice": (str(len(_PAGE)), "10"),
    "absurd": ("99999999999999",),
}


def wrong_length(request: Request) -> Script:
    """A page with a Content-Length that is not its length."""
    lengths = request.kind(LENGTHS)
    yield head(_HTML, *(("Content-Length", length) for length in lengths), _CLOSE) + _PAGE


CHUNKINGS = {
    "good": (b"5\r\nHello\r\n", b"7;note=1\r\n, world\r\n", b"0\r\nX-Trailer: yes\r\n\r\n"),
    "broken": (b"5\r\nHello\r\n", b"this is no size\r\n", b"more\r\n"),
    "truncated": (b"5\r\nHello\r\n", b"400\r\ncut off here"),
    "without-end": (b"5\r\nHello\r\n",),
}


def chunked(request: Request) -> Script:
    """A page in chunks, good ones or not."""
    chunks = request.kind(CHUNKINGS)
    yield head(_HTML, _CHUNKED, _CLOSE)
    yield from chunks


def long_chunk_size(request: Request) -> Script:
    """A chunk whose size line is `mb` megabytes long."""
    size_line = [b"0" * 1_048_576] * request.count("mb", 200, most=4096)
    yield head(_HTML, _CHUNKED, _CLOSE)
    yield from size_line


GZIPS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: gzip(body)[:-20],
    "garbage": lambda _body: b"\x1f\x8b\x08\x00" + bytes(range(256)),
    "not-gzip": lambda body: body,
    "trailing": lambda body: gzip(body) + b"trailing garbage",
}


def broken_gzip(request: Request) -> Script:
    """A page declared as gzip that is none, or not all of it; its Content-Length is right."""
    body = request.kind(GZIPS)(_PAGE)
    yield head(_HTML, _GZIP, ("Content-Length", str(len(body))), _CLOSE) + body


def gzip_bomb(request: Request) -> Script:
    """`mb` megabytes packed into a thousandth of that."""
    megabytes = request.count("mb", 64, most=10_240)
    yield head(_HTML, _GZIP, _CLOSE)
    yield from bomb(megabytes)


def redirect_bomb(request: Request) -> Script:
    """A redirect whose body is such a bomb."""
    megabytes = request.count("mb", 64, most=10_240)
    yield head(("Location", "/empty"), _GZIP, _CLOSE, status=302)
    yield from bomb(megabytes)


def bomb(megabytes: int) -> Iterator[bytes]:
    """Zeros in gzip format."""
    # A block that ends with a full flush can be repeated without packing it again.
    zeros = bytes(1_048_576)
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)
    yield b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(zeros, checksum)
        yield block
    size = megabytes * len(zeros) % 2**32
    yield b"\x03\0" + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


def endless(_request: Request) -> Script:
    """A page without an end."""
    yield head(_HTML, _CLOSE)
    while True:
        yield _BLOCK


def long_header(request: Request) -> Script:
    """A header of `kb` kilobytes."""
    value = "x" * 1024 * request.count("kb", 100, most=65_536)
    yield head(_HTML, ("X-Long", value), _CLOSE) + _PAGE


def many_headers(request: Request) -> Script:
    """`n` headers."""
    many = (
        (f"X-Header-{number}", "yes") for number in range(request.count("n", 1000, most=100_000))
    )
    yield head(_HTML, *many, _CLOSE) + _PAGE


def header_flood(request: Request) -> Script:
    """`mb` megabytes of headers."""
    block = (b"X-Flood: " + b"x" * 1013 + b"\r\n") * 1024
    blocks = [block] * request.count("mb", 300, most=10_240)
    yield b"HTTP/1.1 200 OK\r\n"
    yield from blocks
    yield b"\r\n" + _PAGE


def broken_header(_request: Request) -> Script:
    """A header line without a colon."""
    length = f"Content-Length: {len(_PAGE)}"
    yield f"HTTP/1.1 200 OK\r\nno colon here\r\n{length}\r\nConnection: close\r\n\r\n".encode()
    yield _PAGE


def early_hints(_request: Request) -> Script:
    """103 Early Hints, then a page."""
    yield b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    yield head(_HTML, ("Content-Length", str(len(_PAGE))), _CLOSE) + _PAGE


def continue_flood(request: Request) -> Script:
    """100 Continue, `n` times, then a page."""
    yield b"HTTP/1.1 100 Continue\r\n\r\n" * request.count("n", 2000, most=1_000_000)
    yield head(_HTML, ("Content-Length", str(len(_PAGE))), _CLOSE) + _PAGE


NOT_HTTP = {
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no-status-line": _PAGE,
    "bad-status": b"HTTP/1.1 abc What\r\nContent-Length: 0\r\n\r\n",
}


def not_http(request: Request) -> Script:
    """Bytes that are no HTTP answer."""
    yield request.kind(NOT_HTTP)


LOCATIONS = {
    "empty": b"Location: \r\n",
    "missing": b"",
    "latin-1": b"Location: /status/200?caf\xe9\r\n",
    "bracket": b"Location: http://[::1/\r\n",
    "port": b"Location: http://127.0.0.1:99999999/\r\n",
    "javascript": b"Location: javascript:alert(1)\r\n",
    "file": b"Location: file:///etc/hostname\r\n",
    "ftp": b"Location: ftp://127.0.0.1/\r\n",
    "data": b"Location: data:text/html,hello\r\n",
}


def bad_redirect(request: Request) -> Script:
    """A redirect that leads nowhere, or where no crawler may go."""
    location = request.kind(LOCATIONS)
    yield b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\n" + location + b"\r\n"
