"""What a request may hold, for spiders that made it of something else. Pure rules.

Whatever isn't so is told where the request is given, in terms of what the user wrote; otherwise
the crawl, or a fetcher that takes it for an outage, would stumble over it later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from crawler.canonical import clear_url, is_clear
from crawler.errors import ItemError
from crawler.request import Request
from crawler.result import plain

_MAX_PRIORITY = 10**9
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5: all but the tab


def well_formed(request: Request) -> Request:
    """The request as plain values; the callback stays as it is. Raises ItemError."""
    if _is_plain_link(request):
        return request
    url = plain(request.url, "the url of the request")
    if not isinstance(url, str):
        raise ItemError(f"the url of the request is {_kind(url)}; give text")
    url = clear_url(url)
    try:
        return replace(
            request,
            url=url,
            method=_method(request.method),
            headers=well_formed_headers(request.headers),
            body=_body(request.body),
            meta=_meta(request.meta),
            priority=_priority(request.priority),
            dont_filter=_switch(request.dont_filter),
            session=_session(request.session),
            history=_history(request.history),
        )
    except ItemError as error:
        raise ItemError(f"the request for {url[:200]}: {error}") from None


def _is_plain_link(request: Request) -> bool:
    """Whether nothing is to be looked at but the URL: nearly always, and ten times as fast."""
    url = request.url
    return (
        type(url) is str
        and url.isascii()
        and is_clear(url)
        and request.method == "GET"
        and request.headers == {}
        and request.body is None
        and request.meta == {}
        and type(request.priority) is int
        and request.priority == 0
        and request.dont_filter is False
        and request.session == ""
        and request.history == ()
    )


def well_formed_headers(headers: object) -> dict[str, str]:
    """Names and values that can be sent (RFC 9110, 5.1 and 5.5). Raises ItemError."""
    if not isinstance(headers, Mapping):
        raise ItemError(
            f"the headers are {_kind(headers)}; give a dict of names and values, both text"
        )
    return {_header_name(name): _header_value(name, value) for name, value in headers.items()}


def _header_name(name: object) -> str:
    if not isinstance(name, str):
        raise ItemError(f"the name of a header is {_kind(name)}; names of headers are text")
    if not _TOKEN.fullmatch(name):
        raise ItemError(
            f"{name!r} is no name of a header; it may have letters, digits and !#$%&'*+-.^_`|~"
        )
    return str(plain(name))


def _header_value(name: object, value: object) -> str:
    if not isinstance(value, str):
        raise ItemError(f"the header {name} is {_kind(value)}; values of headers are text")
    if _CONTROL.search(value):
        raise ItemError(f"the header {name} has a line break or control character")
    if value[:1].isspace():
        raise ItemError(f"the header {name} begins with white space")
    return str(plain(value))


def _method(method: object) -> str:
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise ItemError(f'{method!r} is no method; give "GET", "POST" ...')
    return str(plain(method))


def _body(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    raise ItemError(f"the body is {_kind(body)}; give bytes (text.encode()), or json= or form=")


def _meta(meta: object) -> dict[str, object]:
    if not isinstance(meta, dict):
        raise ItemError(f"meta is {_kind(meta)}; give a dict")
    found: dict[str, object] = plain(meta, "meta")
    return found


def _priority(priority: object) -> int:
    if type(priority) is not int or abs(priority) > _MAX_PRIORITY:
        raise ItemError(f"the priority {priority!r} is no whole number of at most 10^9")
    return priority


def _switch(dont_filter: object) -> bool:
    if not isinstance(dont_filter, bool):
        raise ItemError(f"dont_filter is {dont_filter!r}; give True or False")
    return dont_filter


def _session(session: object) -> str:
    if not isinstance(session, str):
        raise ItemError(f"the session is {_kind(session)}; its name is text")
    return str(plain(session))


def _history(history: object) -> tuple[str, ...]:
    if not isinstance(history, tuple) or not all(isinstance(url, str) for url in history):
        raise ItemError(f"the history is {_kind(history)}; it is a tuple of URLs")
    return tuple(str(plain(url)) for url in history)


def _kind(value: object) -> str:
    """Not what it is: headers and bodies may be secrets, and what is told here ends up in logs."""
    return "None" if value is None else f"of type {type(value).__name__}"
