"""What holds for exchanges through a proxy, whichever library makes them.

http goes to the proxy as it is, with the whole URL; https through a tunnel (CONNECT), where the
proxy sees nothing but the host. Which address a name has is found out by the proxy. So what would
be judged where we dial (see `crawler.address`) can be judged by what the URL says only.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from crawler.address import names_private
from crawler.errors import FetchError
from crawler.fetchers.limits import refused
from crawler.proxy import Proxy
from crawler.result import RETRYABLE_STATUSES, Failure
from crawler.url import wire_url

WANTS_PASSWORD = 407

_OF_THE_WAY = ("timeout", "connection", "truncated", "protocol")
"""Kinds of failures of which the proxy may be the cause as well as the host."""


def judged(url: str, *, private: bool) -> bool:
    """Whether the URL's host is a private address; raises FetchError if it may not be one."""
    # As it is sent, and as a browser would write it: the proxy may read it like that.
    hosts = [_host(url)]
    with suppress(ValueError):
        hosts.append(_host(wire_url(url)))
    found = next(filter(names_private, hosts), None)
    if found is not None and not private:
        raise refused(hosts[0], found)
    return found is not None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""  # the request fails for that


def refusal(proxy: Proxy, status: int) -> FetchError:
    """The failure when the proxy itself answered so: to CONNECT, or by 407.

    It has no status: that would be the host's, which may be blamed for it.
    """
    if status == WANTS_PASSWORD:
        wish = "doesn't take the user and password of its URL"
        if proxy.user is None:
            wish = "wants a user and a password: http://USER:PASSWORD@HOST:PORT"
        message = f"the proxy {proxy.url} {wish} ({status})"
    else:
        message = f"the proxy {proxy.url} makes no way to the host: it answered {status}"
    return FetchError(Failure("proxy", message, retryable=status in RETRYABLE_STATUSES))


def named(failure: Failure, proxy: Proxy, *, is_reached: bool, is_tunnelled: bool) -> Failure:
    """The failure, told as one of the way through a proxy if it is, or may be.

    `is_reached`: whether there was a connection to the proxy; `is_tunnelled`: whether that had
    become one to the host, of which the proxy sees nothing.
    """
    if not is_reached and failure.kind in ("timeout", "connection", "dns"):
        kind = "timeout" if failure.kind == "timeout" else "connection"
        message = f"the proxy {proxy.url} can't be reached: {failure.message}"
        return replace(failure, kind=kind, message=message, retryable=True, unreached=True)
    if is_reached and not is_tunnelled and failure.kind in _OF_THE_WAY:
        return replace(failure, message=f"through the proxy {proxy.url}: {failure.message}")
    return failure
