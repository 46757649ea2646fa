"""Connections that keep to terms: a time for the whole answer, so many bytes, which addresses.

    fetcher --Terms--> pool --> connection: looks up, dials --> answer: reads by our own clock

urllib3 and http.client wait anew for every piece, so a server that sends a byte now and then would
hold a seat for hours; and they dial whatever address a name has.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import allowed_gai_family

from crawler.address import is_public
from crawler.errors import FetchError
from crawler.fetchers.limits import MAX_HEADER_BYTES, refused
from crawler.fetchers.proxied import refusal
from crawler.proxy import Proxy
from crawler.result import Failure

_HEADER = re.compile(rb"[!-9;-~]+:|[ \t]|\r?\n")
_MAX_INTERIM_ANSWERS = 2_000


@dataclass(slots=True)
class Terms:
    """What the exchange under way may take. A fetcher does one at a time, so it has one of these.

    `timeout` seconds for connecting, and for all between the request's first byte and the answer's
    last; `max_bytes` of answer on the wire; only a `private` one may go to a private address.
    """

    timeout: float
    max_bytes: int
    proxy: Proxy | None = None
    private: bool = True
    target: str = ""
    """What is asked for, as it stands in the request; urllib3 would write it in its own way."""
    is_private: bool = False
    """Whether the address it went to is one."""
    is_connected: bool = False
    """Whether there was a connection, so that what went wrong went wrong on it."""
    is_tunnelled: bool = False
    """Whether that goes through a proxy, which sees nothing of what is on it."""
    ends_at: float = 0.0
    allowed: float = 0.0
    """Seconds, of which the last ends at `ends_at`."""

    def begin(self, seconds: float | None = None) -> None:
        """The time for request and answer runs from now; it is `seconds` instead of `timeout`."""
        self.allowed = self.timeout if seconds is None else seconds
        self.ends_at = time.monotonic() + self.allowed

    def seconds_left(self) -> float:
        """How long the next step may take; raises TimeoutError when the time is over."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self, *, anything_came: bool = True) -> TimeoutError:
        """What is raised when the time is over."""
        what = "the answer was not complete" if anything_came else "no answer"
        return TimeoutError(f"{what} after {self.allowed:g} s")


class _Reader(io.RawIOBase):
    """What the socket receives, under the terms."""

    def __init__(self, raw: Any, sock: socket.socket, terms: Terms) -> None:
        self._raw = raw
        self._sock = sock
        self._terms = terms
        self._received = 0
        self.is_in_head = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Nobody asks for more before all that came was read, so in the head all of it is head.
        if self.is_in_head and self._received >= MAX_HEADER_BYTES:
            raise http.client.HTTPException(f"more than {MAX_HEADER_BYTES:,} bytes of headers")
        if self._received > self._terms.max_bytes:  # such as trailers without end
            raise FetchError(Failure("too-large", f"over {self._terms.max_bytes:,} bytes came"))
        self._sock.settimeout(self._terms.seconds_left())
        count: int | None = None
        with suppress(TimeoutError):  # it says less than ours
            count = self._raw.readinto(buffer)
        if count is None:
            raise self._terms.too_late(anything_came=self._received > 0)
        self._received += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Lines(io.BufferedReader):
    """Among the header lines those that are none are left out, as browsers do.

    http.client would take the first of them for the end of the headers.
    """

    is_in_headers = False

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        while self.is_in_headers and line and len(line) != size and not _HEADER.match(line):
            line = super().readline(size)
            while line[:1] in (b" ", b"\t"):  # what is folded belongs to it
                line = super().readline(size)
        return line


class _Answer(http.client.HTTPResponse):
    """Skips all 1xx answers (RFC 9110, 15.2); http.client takes a 103 for the final one."""

    def __init__(self, sock: socket.socket, *, method: str | None, terms: Terms) -> None:
        super().__init__(sock, method=method)
        self._reader = _Reader(self.fp.detach(), sock, terms)
        self.fp = self._lines = _Lines(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.is_in_head = self._lines.is_in_headers = False
        lengths = {length.strip() for length in self.getheader("Content-Length", "").split(",")}
        if len(lengths) > 1:  # urllib3 refuses it too, but leaves the socket open
            raise http.client.HTTPException(f"{len(lengths)} different values of Content-Length")

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MAX_INTERIM_ANSWERS + 1):
            self._lines.is_in_headers = False
            version, status, reason = super()._read_status()  # type: ignore[misc]
            self._lines.is_in_headers = True
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MAX_INTERIM_ANSWERS} answers of status 1xx")


class _Connection(HTTPConnection):
    terms: Terms
    _tunnel_headers: dict[str, str]
    _is_private = False
    _give_up_at = 0.0

    def connect(self) -> None:
        super().connect()
        self.terms.begin()

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None and self._is_private and not self.terms.private:
            self.close()  # it was kept since a request that might go there
            raise refused(self.host, "this connection's")
        self.terms.is_tunnelled = self._tunnel_host is not None
        self.terms.begin()
        super().request(method, self.terms.target or url, *args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(self.terms.seconds_left())
        self.terms.is_private = self._is_private
        self.terms.is_connected = True
        super().send(data)

    def _new_conn(self) -> socket.socket:
        """Look the name up once, and connect to the first of its addresses that answers."""
        found = self._addresses()
        give_up_at = time.monotonic() + self.terms.timeout
        failure: OSError = OSError(f"{self.host} has no address")
        for position, (family, kind, protocol, _, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                # An address that is dead must leave some of the time to those after it.
                left = give_up_at - time.monotonic()
                sock.settimeout(max(left, 0.001) / (len(found) - position))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            self._is_private = not is_public(str(address[0]))
            self.terms.is_connected = True
            self._give_up_at = give_up_at
            sock.settimeout(max(give_up_at - time.monotonic(), 0.001))  # for TLS
            return sock
        if isinstance(failure, TimeoutError):
            raise TimeoutError(f"no connection after {self.terms.timeout:g} s")
        raise failure

    def _addresses(self) -> list[Any]:
        """Where to connect: what the name stands for, without what may not be dialled.

        The address is judged, not the name: `127.1` and `2130706433` are loopback too, and a name
        may have any address, another one with each look-up.
        """
        host = self._dns_host.strip("[]")
        found = socket.getaddrinfo(host, self.port, allowed_gai_family(), socket.SOCK_STREAM)
        if self.terms.private:
            return found
        public = [each for each in found if is_public(str(each[4][0]))]
        if found and not public:
            raise refused(self.host, str(found[0][4][0]))
        return public

    def _tunnel(self) -> None:
        """Let the proxy make a way to the host, in what is left of the time to connect.

        http.client would read its answer without our terms, and tell a refusal as an OSError.
        """
        self.terms.allowed, self.terms.ends_at = self.terms.timeout, self._give_up_at
        host = str(self._tunnel_host).strip("[]")
        place = f"[{host}]:{self._tunnel_port}" if ":" in host else f"{host}:{self._tunnel_port}"
        # First of all; http.client (from Python 3.12 on) adds one that has no brackets.
        headers = {"Host": place} | self._tunnel_headers | {"Host": place}
        lines = [f"CONNECT {place} HTTP/1.1", *(f"{name}: {v}" for name, v in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("ascii"))
        answer = self.response_class(self.sock, method="CONNECT")
        with closing(answer):
            answer.begin()
        if answer.status != http.HTTPStatus.OK and self.terms.proxy is not None:
            raise refusal(self.terms.proxy, answer.status)
        self.sock.settimeout(max(self._give_up_at - time.monotonic(), 0.001))  # for TLS


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class Pool(HTTPConnectionPool):
    """urllib3's, of connections under these terms."""

    ConnectionCls = _Connection

    def __init__(self, *args: Any, terms: Terms, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._terms = terms

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.terms = self._terms
        connection.response_class = partial(_Answer, terms=self._terms)  # http.client asks it
        return connection


class TLSPool(Pool, HTTPSConnectionPool):
    """The same for https."""

    ConnectionCls = _TLSConnection


class TunnelPool(TLSPool):
    """The same through a proxy; `proxy_headers` are all that it sees of a request."""

    def __init__(self, *args: Any, user_agent: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.proxy_headers = {"User-Agent": user_agent, **self.proxy_headers}
