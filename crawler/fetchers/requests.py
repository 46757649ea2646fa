"""Fetching with requests: one Session a seat, its connections kept alive. The home of requests."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator

import requests
import requests.adapters
import urllib3.exceptions as urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from crawler.content import ACCEPT_ENCODING, ContentDecoder
from crawler.errors import FetchError
from crawler.fetchers import Exchange
from crawler.request import Request
from crawler.result import Failure

_CHUNK = 64 * 1024
_HOSTS_KEPT = 32
_MAX_INTERIM_ANSWERS = 2_000


class RequestsFetcher:
    """One exchange at a time over a Session.

    The adapter is asked directly: `Session.request` would scan the environment, merge cookies and
    follow redirects, which the engine does once above all fetchers, and takes half as long again.
    """

    def __init__(self, *, timeout: float, max_body: int, user_agent: str) -> None:
        self._timeout = timeout
        self._max_body = max_body
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Encoding": ACCEPT_ENCODING,
        }
        self._session = requests.Session()
        adapter = requests.adapters.HTTPAdapter(
            pool_connections=_HOSTS_KEPT, pool_maxsize=1, max_retries=0
        )
        adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def fetch(self, request: Request) -> Exchange:
        """See `Fetcher.fetch`."""
        try:
            prepared = requests.Request(
                request.method,
                request.url,
                headers={**self._headers, **request.headers},
                data=request.body,
            ).prepare()
            response = self._session.get_adapter(request.url).send(
                prepared, stream=True, timeout=(self._timeout, self._timeout)
            )
            try:
                body = self._read(response)
            finally:
                # Also closes the connection when something is left of the body, which would be
                # read as the next answer.
                response.close()
        except FetchError:
            raise
        except Exception as error:
            raise FetchError(_classify(error)) from error
        return Exchange(response.status_code, list(response.raw.headers.items()), body)

    def _read(self, response: requests.Response) -> bytes:
        decoder = ContentDecoder(response.headers.get("Content-Encoding", ""), self._max_body)
        give_up_at = time.monotonic() + self._timeout
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            decoder.feed(chunk)
            if time.monotonic() > give_up_at:
                raise FetchError(
                    Failure(
                        "timeout",
                        f"the body was not complete after {self._timeout:g} s",
                        retryable=True,
                    )
                )
        return decoder.content()

    def close(self) -> None:
        """Closes its connections."""
        self._session.close()


class _FinalResponse(http.client.HTTPResponse):
    """Skips all 1xx answers (RFC 9110, 15.2); http.client takes a 103 for the final one."""

    def begin(self) -> None:
        super().begin()
        lengths = {length.strip() for length in self.getheader("Content-Length", "").split(",")}
        if len(lengths) > 1:  # urllib3 refuses it too, but leaves the socket open
            raise http.client.HTTPException(f"{len(lengths)} different values of Content-Length")

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(_MAX_INTERIM_ANSWERS + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {_MAX_INTERIM_ANSWERS} answers of status 1xx")


class _Connection(HTTPConnection):
    response_class = _FinalResponse


class _TLSConnection(HTTPSConnection):
    response_class = _FinalResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made from, the deepest first: that one knows what happened."""
    found: list[BaseException] = []
    queue = [error]
    while queue:
        current = queue.pop(0)
        if current in found:
            continue
        found.append(current)
        inner = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        queue += [each for each in [*inner, *current.args] if isinstance(each, BaseException)]
    return reversed(found)


_WRAPPERS = (requests.RequestException, urllib3.NewConnectionError)
_TRUNCATED = (http.client.IncompleteRead, urllib3.IncompleteRead, urllib3.InvalidChunkLength)
_PROTOCOL = (
    http.client.HTTPException,
    urllib3.InvalidHeader,
    urllib3.HeaderParsingError,
    requests.exceptions.InvalidHeader,
)
_KINDS: list[tuple[tuple[type[BaseException], ...], str, bool]] = [
    # The first row that fits any error of the chain: (types, kind, worth another attempt).
    ((ssl.SSLError, urllib3.SSLError), "tls", False),
    ((socket.gaierror, urllib3.NameResolutionError), "dns", False),
    ((TimeoutError, urllib3.TimeoutError, requests.Timeout), "timeout", True),
    (_TRUNCATED, "truncated", True),
    ((http.client.RemoteDisconnected, ConnectionError), "connection", True),
    (_PROTOCOL, "protocol", False),
    ((OSError,), "connection", True),
    ((requests.exceptions.InvalidURL, urllib3.LocationParseError, ValueError), "url", False),
]


def _classify(error: BaseException) -> Failure:
    chain = list(_chain(error))
    for types, kind, retryable in _KINDS:
        for each in chain:
            # Wrappers are OSErrors, ValueErrors and timeouts too, whatever is in them: look inside.
            if isinstance(each, types) and not _is_wrapper(each, types):
                is_passing = isinstance(each, socket.gaierror) and each.errno == socket.EAI_AGAIN
                return Failure(kind, _describe(each), retryable=retryable or is_passing)
    return Failure("connection", _describe(error), retryable=True)


def _is_wrapper(error: BaseException, types: tuple[type[BaseException], ...]) -> bool:
    return isinstance(error, _WRAPPERS) and not any(
        issubclass(kind, _WRAPPERS) and isinstance(error, kind) for kind in types
    )


def _describe(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
