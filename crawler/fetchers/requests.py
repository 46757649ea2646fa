"""Fetching with requests: one adapter a seat, its connections kept alive. The home of requests."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import requests
import requests.adapters
import urllib3.exceptions as urllib3
from urllib3.connection import HTTPConnection

from crawler.content import ContentDecoder
from crawler.errors import FetchError
from crawler.fetchers import CHUNK, Exchange, Receiver, sent_headers
from crawler.fetchers.connection import Pool, Terms, TLSPool, TunnelPool
from crawler.fetchers.failures import Kinds, classify
from crawler.fetchers.limits import MAX_HEADER_BYTES
from crawler.fetchers.proxied import WANTS_PASSWORD, judged, named, refusal
from crawler.proxy import Proxy
from crawler.request import Request
from crawler.url import wire_url

_WIRE_FACTOR = 4
"""Bytes on the wire for one of body, at most: chunks have a frame."""


class RequestsFetcher:
    """One exchange at a time over an adapter of requests.

    A Session above it would scan the environment, merge cookies and follow redirects, which the
    engine does once above all fetchers, and takes half as long again.
    """

    def __init__(
        self,
        *,
        timeout: float,
        max_body: int,
        user_agent: str,
        hosts_kept: int = 32,
        proxy: Proxy | None = None,
    ) -> None:
        self._max_body = max_body
        self._proxies = None if proxy is None else dict.fromkeys(("http", "https"), proxy.url)
        self._terms = Terms(timeout, max_bytes=MAX_HEADER_BYTES, proxy=proxy)
        self._headers = sent_headers(user_agent)
        self._adapter = _Adapter(self._terms, user_agent, hosts_kept)

    def fetch(
        self,
        request: Request,
        *,
        private: bool = True,
        cut_at: int | None = None,
        into: Receiver | None = None,
    ) -> Exchange:
        """See `Fetcher.fetch`."""
        most = self._max_body if into is None else into.max_bytes
        self._terms.max_bytes = MAX_HEADER_BYTES + _WIRE_FACTOR * most
        self._terms.private = private
        self._terms.is_connected = False
        self._terms.is_tunnelled = False
        proxy = self._terms.proxy
        is_private: bool | None = None
        try:
            url = wire_url(request.url)
            prepared = requests.Request(
                request.method,
                url,
                headers={**self._headers, **_encoded(request.headers)},
                data=request.body,
            ).prepare()
            prepared.url = url  # requests would write it in its own way
            self._terms.target = self._adapter.request_url(prepared, self._proxies)
            if proxy is not None:
                is_private = judged(url, private=private)
                self._terms.private = True  # as the proxy itself may be
            response = self._adapter.send(
                prepared, stream=True, timeout=self._terms.timeout, proxies=self._proxies
            )
            try:
                if proxy is not None and response.status_code == WANTS_PASSWORD:
                    self._check_tunnelled(proxy)
                body = self._body(response, cut_at, into)
            finally:
                # Also closes the connection when something is left of the body, which would be
                # read as the next answer.
                response.close()
        except FetchError:
            raise
        except Exception as error:
            is_connected = self._terms.is_connected
            failure = classify(error, _KINDS, wrappers=_WRAPPERS, is_connected=is_connected)
            if proxy is not None:
                is_tunnelled = self._terms.is_tunnelled
                failure = named(failure, proxy, is_reached=is_connected, is_tunnelled=is_tunnelled)
            raise FetchError(failure) from error
        headers = list(response.raw.headers.items())
        if is_private is None:
            is_private = self._terms.is_private
        return Exchange(response.status_code, headers, body, is_private=is_private)

    def _check_tunnelled(self, proxy: Proxy) -> None:
        """Raise FetchError if it may be the proxy that answered so."""
        if not self._terms.is_tunnelled:
            raise refusal(proxy, WANTS_PASSWORD)

    def _body(
        self, response: requests.Response, cut_at: int | None, into: Receiver | None
    ) -> bytes:
        coding = response.headers.get("Content-Encoding", "")
        if into is not None and response.status_code == 200:
            into.begin()
            self._terms.begin(into.seconds)
            return _read(response, ContentDecoder(coding, into.max_bytes, keep=into.write))
        if into is not None or 300 <= response.status_code < 400:
            return self._skip(response)
        decoder = ContentDecoder(coding, cut_at or self._max_body)
        try:
            return _read(response, decoder)
        except FetchError as error:
            if cut_at is None or error.failure.kind != "too-large":
                raise
            return decoder.so_far()

    def _skip(self, response: requests.Response) -> bytes:
        """Nobody reads what a redirect says, or a server in place of a file that it doesn't have.

        A bomb in it stays packed, a broken one is no matter. A short one is received all the same,
        so that the connection can be kept.
        """
        left = CHUNK
        with suppress(urllib3.HTTPError):
            while left and (chunk := response.raw.read1(left, decode_content=False)):
                left -= len(chunk)
        return b""

    def close(self) -> None:
        """Closes its connections."""
        self._adapter.close()


class _Adapter(requests.adapters.HTTPAdapter):
    """Its connections are under these terms, also those to the proxy."""

    def __init__(self, terms: Terms, user_agent: str, hosts_kept: int) -> None:
        super().__init__(pool_connections=hosts_kept, pool_maxsize=1, max_retries=0)
        self._terms = terms
        self._user_agent = user_agent
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(Pool, terms=terms),
            "https": partial(TLSPool, terms=terms),
        }

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """See `HTTPAdapter.proxy_manager_for`; asked for each request."""
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        manager = super().proxy_manager_for(proxy, **options)
        # urllib3 would let the kernel wait for more to send (Nagle): 40 ms for each body.
        terms = {"terms": self._terms, "socket_options": HTTPConnection.default_socket_options}
        manager.pool_classes_by_scheme = {
            "http": partial(Pool, **terms),
            "https": partial(TunnelPool, user_agent=self._user_agent, **terms),
        }
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:  # noqa: ARG002
        """What the proxy is told besides: by urllib3, with each http request and each CONNECT."""
        return {} if self._terms.proxy is None else self._terms.proxy.headers


def _read(response: requests.Response, decoder: ContentDecoder) -> bytes:
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        decoder.feed(chunk)
    return decoder.content()


def _encoded(headers: Mapping[str, str]) -> Mapping[str, str | bytes]:
    """In UTF-8 what isn't ASCII, where http.client would say Latin-1 or raise an error."""
    return {name: v if v.isascii() else v.encode() for name, v in headers.items()}


_WRAPPERS = (requests.RequestException, urllib3.NewConnectionError)
_TRUNCATED = (http.client.IncompleteRead, urllib3.IncompleteRead, urllib3.InvalidChunkLength)
_PROTOCOL = (
    http.client.HTTPException,
    urllib3.InvalidHeader,
    urllib3.HeaderParsingError,
    requests.exceptions.InvalidHeader,
)
_KINDS: Kinds = [
    ((ssl.SSLEOFError,), "connection", True),  # it hung up, which isn't TLS's business
    ((ssl.SSLError, urllib3.SSLError), "tls", False),
    ((socket.gaierror, urllib3.NameResolutionError), "dns", False),
    ((TimeoutError, urllib3.TimeoutError, requests.Timeout), "timeout", True),
    (_TRUNCATED, "truncated", True),
    ((http.client.RemoteDisconnected, ConnectionError), "connection", True),
    (_PROTOCOL, "protocol", False),
    ((OSError,), "connection", True),
    ((requests.exceptions.InvalidURL, urllib3.LocationParseError, ValueError), "url", False),
    ((TypeError, AttributeError), "protocol", False),  # of a program, not of the network
]
