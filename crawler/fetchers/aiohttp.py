"""Fetching with aiohttp, on an event loop: one pool of connections for all its requests.

The home of aiohttp. It does what `fetchers.requests` does, as a spider can see and as a server can.
aiohttp's parser is a strict one: it refuses answers with a broken header line, or with something
behind their end, which browsers and requests forgive. A host that gives such an answer is asked by
requests from then on, in a thread.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from typing import Any

import aiohttp
import certifi
from aiohttp import http_exceptions
from multidict import CIMultiDict
from yarl import URL

from crawler.address import is_public
from crawler.content import ContentDecoder
from crawler.errors import FetchError
from crawler.fetchers import CHUNK, Exchange, Fetcher, Receiver, make_fetcher, sent_headers
from crawler.fetchers.failures import Kinds, classify
from crawler.fetchers.limits import MAX_HEADER_BYTES, refused
from crawler.fetchers.proxied import WANTS_PASSWORD, judged, named, refusal
from crawler.proxy import Proxy
from crawler.request import Request
from crawler.result import Failure
from crawler.url import host, wire_url

_MAX_HEADERS = 100
"""Lines of one answer; as many as http.client takes."""
_MAX_LINE = 65_536
_SECONDS_TO_KEEP = 15.0
"""A connection that nobody uses."""
_SECONDS_TO_REMEMBER = 60.0
"""What addresses a name has."""


@dataclass(slots=True)
class _Terms:
    """What one exchange may take; see `fetchers.connection.Terms`."""

    host: str
    timeout: float
    private: bool
    deadline: asyncio.Timeout
    proxy: Proxy | None = None
    is_private: bool = False
    is_connected: bool = False
    """To the host, or to a proxy that has made a way there."""
    has_reached: bool = False
    """Whether there was any connection, also one on which nobody spoke yet."""
    is_plain: bool = False
    """Whether a proxy sees all of it."""
    has_answer: bool = False
    refused: FetchError | None = None
    """Why an address of the host was not dialled."""
    is_dialled: bool = False
    """Whether any address was."""

    def connected(self) -> None:
        """The time for request and answer runs from now."""
        self.has_reached = self.is_connected = True
        self.deadline.reschedule(asyncio.get_running_loop().time() + self.timeout)

    def begin_body(self, seconds: float) -> None:
        """The rest of the answer has so much time from now."""
        self.timeout = seconds
        self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def too_late(self) -> TimeoutError:
        what = "no connection"
        if self.is_connected:
            what = "the answer was not complete" if self.has_answer else "no answer"
        return TimeoutError(f"{what} after {self.timeout:g} s")


_terms: ContextVar[_Terms] = ContextVar("terms")
"""Of the task's exchange. aiohttp connects in tasks that inherit it."""


def _socket_to(address: tuple[Any, ...]) -> socket.socket:
    """A socket to be connected to an address, if the exchange may go there."""
    family, kind, protocol, _, place = address
    terms = _terms.get()
    if not terms.private and not is_public(str(place[0])):
        terms.refused = refused(terms.host, str(place[0]))
        raise OSError(str(terms.refused))  # aiohttp tries the host's other addresses
    terms.is_dialled = True
    return socket.socket(family, kind, protocol)


class _Connector(aiohttp.TCPConnector):
    """Connections whose exchange is told where it goes, and when it is connected."""

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        terms = _terms.get()
        transport = connection.transport
        if transport is None:  # gone already; the request is going to find that out
            return connection
        if terms.proxy is not None:
            terms.connected()
            return connection
        address = str(transport.get_extra_info("peername")[0])
        if not terms.private and not is_public(address):
            connection.close()  # it was kept since a request that might go there
            raise refused(terms.host, address)
        terms.is_private = not is_public(address)
        terms.connected()
        return connection

    async def _create_direct_connection(self, *args: Any, **kwargs: Any) -> Any:
        """To the proxy, if there is one: what fails later isn't for want of a connection."""
        made = await super()._create_direct_connection(*args, **kwargs)
        _terms.get().has_reached = True
        return made


@dataclass(slots=True)
class _Pool:
    """The connections to so many hosts that they can all be kept."""

    session: aiohttp.ClientSession
    hosts: set[str] = field(default_factory=set)
    in_flight: int = 0


class _StrictnessError(Exception):
    """aiohttp's parser doesn't take the answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class AiohttpFetcher:
    """Any number of exchanges at a time, on the loop that it is made on."""

    def __init__(
        self,
        *,
        timeout: float,
        max_body: int,
        user_agent: str,
        hosts_kept: int = 32,
        proxy: Proxy | None = None,
    ) -> None:
        self._timeout = timeout
        self._proxy = proxy
        self._proxy_url = None if proxy is None else URL(proxy.url)
        self._max_body = max_body
        self._user_agent = user_agent
        self._headers = sent_headers(user_agent)
        self.sloppy: set[str] = set()
        """Hosts whose answers are not for a strict parser."""
        self._forgiving: list[Fetcher] = []
        """Fetchers for them that nobody uses at the moment."""
        self._hosts_kept = hosts_kept
        self._tls: ssl.SSLContext | None = None
        self._pool = self._new_pool()
        # Cancelled when the loop ends, as all tasks are.
        self._keeper = asyncio.get_running_loop().create_task(self._close_at_end())

    def _new_pool(self) -> _Pool:
        connector = _Connector(
            limit=0,  # politeness knows
            keepalive_timeout=_SECONDS_TO_KEEP,
            ttl_dns_cache=int(_SECONDS_TO_REMEMBER),
            socket_factory=_socket_to,
        )
        return _Pool(
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Content-Type",),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                read_bufsize=4 * CHUNK,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_LINE,
                max_headers=_MAX_HEADERS,
            )
        )

    async def _close_at_end(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._pool.session.close()
            for fetcher in self._forgiving:
                fetcher.close()

    async def fetch(
        self,
        request: Request,
        *,
        private: bool = True,
        cut_at: int | None = None,
        into: Receiver | None = None,
    ) -> Exchange:
        """See `Fetcher.fetch`."""
        name = host(request.url)
        if name not in self.sloppy:
            try:
                return await self._fetch(request, private=private, cut_at=cut_at, into=into)
            except _StrictnessError as error:
                if request.method.upper() not in ("GET", "HEAD"):
                    raise FetchError(error.failure) from error
            self.sloppy.add(name)
        fetcher = self._forgiving.pop() if self._forgiving else self._new_forgiving()
        fetch = partial(fetcher.fetch, request, private=private, cut_at=cut_at, into=into)
        try:
            return await asyncio.to_thread(fetch)
        finally:
            self._forgiving.append(fetcher)

    def _new_forgiving(self) -> Fetcher:
        return make_fetcher(
            timeout=self._timeout,
            max_body=self._max_body,
            user_agent=self._user_agent,
            hosts_kept=1,
            proxy=self._proxy,
        )

    async def _fetch(
        self, request: Request, *, private: bool, cut_at: int | None, into: Receiver | None
    ) -> Exchange:
        deadline = asyncio.timeout(self._timeout)
        terms = _Terms(host(request.url), self._timeout, private, deadline, self._proxy)
        _terms.set(terms)
        try:
            async with deadline:
                return await self._exchange(request, terms, cut_at, into)
        except FetchError:
            raise
        except Exception as error:
            if terms.refused is not None and not terms.is_dialled:
                raise terms.refused from error
            if isinstance(error, aiohttp.ClientHttpProxyError) and self._proxy is not None:
                raise refusal(self._proxy, error.status) from error
            cause = terms.too_late() if deadline.expired() else error
            is_reached = terms.is_connected if self._proxy is None else terms.has_reached
            failure = classify(cause, _KINDS, wrappers=_WRAPPERS, is_connected=is_reached)
            if self._proxy is not None:
                is_tunnelled = terms.is_connected and not terms.is_plain
                failure = named(
                    failure, self._proxy, is_reached=is_reached, is_tunnelled=is_tunnelled
                )
            if failure.kind == "protocol" and terms.is_connected:
                raise _StrictnessError(failure) from error
            raise FetchError(failure) from error

    async def _exchange(
        self, request: Request, terms: _Terms, cut_at: int | None, into: Receiver | None
    ) -> Exchange:
        try:
            url = URL(wire_url(request.url), encoded=True)
        except ValueError as error:
            raise FetchError(Failure("url", str(error))) from error
        headers = CIMultiDict(self._headers)
        headers.update(_checked(request.headers))
        options = {} if self._proxy is None else self._through(self._proxy, url, headers, terms)
        pool = self._pool_for(terms.host)
        pool.in_flight += 1
        try:
            async with pool.session.request(
                request.method,
                url,
                headers=headers,
                data=None if request.body is None else BytesIO(request.body),
                allow_redirects=False,
                ssl=True if url.scheme == "http" else self._certificates(),
                **options,
            ) as response:
                terms.has_answer = True
                if self._proxy and terms.is_plain and response.status == WANTS_PASSWORD:
                    raise refusal(self._proxy, response.status)
                fields = _fields(response)
                if into is not None and response.status == 200:
                    terms.begin_body(into.seconds)
                    body = await _receive(response, into)
                elif into is not None or 300 <= response.status < 400:
                    body = await _skip(response)
                else:
                    body = await self._read(response, cut_at)
            return Exchange(response.status, fields, body, is_private=terms.is_private)
        finally:
            pool.in_flight -= 1
            if pool is not self._pool and not pool.in_flight:
                await pool.session.close()

    def _through(
        self, proxy: Proxy, url: URL, headers: CIMultiDict[str], terms: _Terms
    ) -> dict[str, Any]:
        """What sends a request by the proxy; what it alone may see is not in `headers` for https.

        aiohttp sends `proxy_headers` with CONNECT, and nowhere else.
        """
        terms.is_private = judged(str(url), private=terms.private)
        terms.private = True  # as the proxy itself may be
        terms.is_plain = url.scheme == "http"
        if terms.is_plain:
            headers.update(proxy.headers)
            return {"proxy": self._proxy_url}
        own = {"User-Agent": self._user_agent, **proxy.headers}
        return {"proxy": self._proxy_url, "proxy_headers": own}

    def _certificates(self) -> ssl.SSLContext:
        """Those that requests trusts; read when they are first needed, which takes a while."""
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=certifi.where())
        return self._tls

    def _pool_for(self, name: str) -> _Pool:
        """A new one when there are connections to many hosts: the old ones end with their use."""
        if name not in self._pool.hosts and len(self._pool.hosts) >= self._hosts_kept:
            old, self._pool = self._pool, self._new_pool()
            if not old.in_flight:
                asyncio.get_running_loop().create_task(old.session.close())
        self._pool.hosts.add(name)
        return self._pool

    async def _read(self, response: aiohttp.ClientResponse, cut_at: int | None) -> bytes:
        decoder = ContentDecoder(_coding(response), cut_at or self._max_body)
        try:
            async for chunk in response.content.iter_any():
                decoder.feed(chunk)
        except FetchError as error:
            if cut_at is None or error.failure.kind != "too-large":
                raise
            return decoder.so_far()
        return decoder.content()


async def _receive(response: aiohttp.ClientResponse, into: Receiver) -> bytes:
    """The pieces are small, and to hand them to the kernel takes less than a thread would."""
    into.begin()
    decoder = ContentDecoder(_coding(response), into.max_bytes, keep=into.write)
    async for chunk in response.content.iter_any():
        decoder.feed(chunk)
    return decoder.content()


def _coding(response: aiohttp.ClientResponse) -> str:
    return ", ".join(response.headers.getall("Content-Encoding", []))


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What aiohttp would send and requests wouldn't."""
    for name, value in headers.items():
        if value[:1].isspace():
            raise ValueError(f"the header {name} begins with white space")
    return headers


def _fields(response: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    raw = response.raw_headers
    if sum(len(name) + len(value) + 4 for name, value in raw) > MAX_HEADER_BYTES:
        raise http.client.HTTPException(f"more than {MAX_HEADER_BYTES:,} bytes of headers")
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]


async def _skip(response: aiohttp.ClientResponse) -> bytes:
    """Nobody reads what a redirect says, or what comes in place of a file that isn't there.

    If it is short it is received, to keep the connection.
    """
    left = CHUNK
    with suppress(aiohttp.ClientError):
        while left > 0 and (chunk := await response.content.readany()):
            left -= len(chunk)
    return b""


_WRAPPERS = (aiohttp.ClientConnectorError,)
_KINDS: Kinds = [
    ((ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError), "tls", False),
    ((socket.gaierror, aiohttp.ClientConnectorDNSError), "dns", False),
    ((TimeoutError,), "timeout", True),
    ((ConnectionError,), "connection", True),
    ((aiohttp.ClientPayloadError,), "truncated", True),
    ((aiohttp.ServerDisconnectedError,), "connection", True),
    (
        (
            aiohttp.ClientResponseError,
            http_exceptions.HttpProcessingError,
            http.client.HTTPException,
        ),
        "protocol",
        False,
    ),
    ((OSError,), "connection", True),
    ((UnicodeError,), "url", False),  # a host that is no domain name
    ((ValueError,), "protocol", False),  # a header that can't be sent
    ((TypeError, AttributeError), "protocol", False),  # of a program, not of the network
]
