"""One HTTP exchange: a Request goes out, what came back comes in; redirects are not followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crawler.content import ACCEPT_ENCODING
from crawler.proxy import Proxy
from crawler.request import Request

CHUNK = 64 * 1024
"""Bytes of a body that are read at once."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one exchange gave. `body` is decompressed; that of a redirect (3xx) is left out."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    is_private: bool = False
    """Whether it came from a private address."""


class Receiver(Protocol):
    """Takes the body of an answer with status 200 as it comes, decompressed."""

    max_bytes: int
    """More is a failure."""
    seconds: float
    """What the body may take, once the answer has begun."""

    def begin(self) -> None:
        """The answer has begun; its body comes next."""
        ...

    def write(self, data: bytes) -> None:
        """Take the next piece. Raises FetchError when it can't."""
        ...


class Fetcher(Protocol):
    """Does one exchange. Not shared between threads."""

    def fetch(
        self,
        request: Request,
        *,
        private: bool = True,
        cut_at: int | None = None,
        into: Receiver | None = None,
    ) -> Exchange:
        """Raises FetchError with the classified Failure when the exchange itself failed.

        Unless `private`, it goes to no private address (see `crawler.address`); with a proxy, to no
        URL that has one, since what address a name has is the proxy's business. Of a body longer
        than `cut_at`, if given, the rest is left away; else one that is too large is a failure.
        With `into`, the body of a 200 goes there and all others are left out.
        """
        ...

    def close(self) -> None:
        """Closes its connections."""
        ...


class AsyncFetcher(Protocol):
    """The same on an event loop, any number of exchanges at a time; it ends with its loop."""

    async def fetch(
        self,
        request: Request,
        *,
        private: bool = True,
        cut_at: int | None = None,
        into: Receiver | None = None,
    ) -> Exchange:
        """See `Fetcher.fetch`."""
        ...


def make_fetcher(
    *,
    timeout: float,
    max_body: int,
    user_agent: str,
    hosts_kept: int = 32,
    proxy: Proxy | None = None,
) -> Fetcher:
    """The fetcher of one worker seat; it keeps connections to the last `hosts_kept` hosts.

    With a `proxy` all requests go through it.
    """
    from crawler.fetchers.requests import RequestsFetcher

    return RequestsFetcher(
        timeout=timeout,
        max_body=max_body,
        user_agent=user_agent,
        hosts_kept=hosts_kept,
        proxy=proxy,
    )


def make_async_fetcher(
    *,
    timeout: float,
    max_body: int,
    user_agent: str,
    hosts_kept: int = 32,
    proxy: Proxy | None = None,
) -> AsyncFetcher:
    """The fetcher of the running event loop."""
    from crawler.fetchers.aiohttp import AiohttpFetcher

    return AiohttpFetcher(
        timeout=timeout,
        max_body=max_body,
        user_agent=user_agent,
        hosts_kept=hosts_kept,
        proxy=proxy,
    )


def sent_headers(user_agent: str) -> dict[str, str]:
    """What every request has, unless its own headers say otherwise."""
    return {
        "User-Agent": user_agent,
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "Accept-Encoding": ACCEPT_ENCODING,
    }
