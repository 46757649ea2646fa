"""What one request led to: items, a redirect or a failure; plain data that travels back.

A failure is a value of the same shape as a success: nobody has to catch anything to see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from crawler.download import Download, StoredFile, Wanted
from crawler.errors import ItemError
from crawler.request import Request
from crawler.wording import an

Item = dict[str, Any]
"""One dict of plain JSON values, as the spider returned it."""

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be another one a little later, if nothing else is set."""
MAX_DEPTH = 200
"""Levels of lists and dicts in an item; far more is what JSON libraries give up on."""
_MAX_BITS = 14_000
"""Of a whole number: Python refuses to write and read more than 4,300 digits."""
_SMALL = 2**63


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as data.

    `kind` is one of: `status` (any answer but 2xx), `timeout`, `connection`, `dns`, `tls`,
    `protocol` (not HTTP), `truncated`, `decode`, `too-large`, `redirect`, `url`, `address` (a
    private one, where this request may not go), `proxy` (it takes no password of ours, or makes no
    way to the host), `robots` (robots.txt forbids it), `robots-unreachable` (nobody knows what the
    site's robots.txt forbids), `blocked` (its host refused so often that it isn't asked any more),
    `spider` (the spider raised), `page-timeout` (both took too long), `item` (the spider returned
    what JSON can't hold), `pipeline` (a step raised), `worker` (the process that worked on it
    died); of files also `image` (no picture, or none that may be taken) and `storage` (it can't be
    written, which ends the crawl).
    """

    kind: str
    message: str
    status: int | None = None
    retryable: bool = False
    retry_after: float | None = None
    """Seconds the server asked to wait (RFC 9110, 10.2.3)."""
    unreached: bool = False
    """No connection to the host was made, for a passing reason: it says nothing about the page."""
    traceback: str | None = None

    @property
    def cause(self) -> str:
        """The kind, with the status if that is what failed: `timeout`, `status 404`."""
        return self.kind if self.kind != "status" else f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one request on a worker: items and follow-ups, a redirect or a failure."""

    items: list[Item] = field(default_factory=list)
    follow: list[Request] = field(default_factory=list)
    """Follow-up requests, in the order in which the spider gave them."""
    files: tuple[Wanted, ...] = ()
    """Files that the items wait for; at their places are their URLs meanwhile."""
    stored: StoredFile | None = None
    """What came of a file."""
    redirect: str | None = None
    """The Location of a 3xx answer as the server sent it, not yet judged."""
    set_cookies: tuple[str, ...] = ()
    """The values of Set-Cookie, as the server sent them."""
    failure: Failure | None = None
    status: int | None = None
    is_private: bool = False
    """Whether the answer came from a private address."""
    body_bytes: int = 0
    fetch_seconds: float = 0.0
    answer_seconds: float | None = None
    """Until the answer began, where that tells how busy the host is: files may be large."""
    spider_seconds: float = 0.0
    soup_seconds: float = 0.0
    """CPU seconds of these for BeautifulSoup's tree of the page."""
    fetched_at: float = 0.0
    """When the answer was there, or a bare function began: seconds since 1970."""
    worker: int | None = None
    """The number of the seat that worked on it."""


def plain(
    value: object, where: str = "item", depth: int = 0, *, files: list[Download] | None = None
) -> Any:
    """`value` as plain JSON values, so that every mode and every format sees the same.

    Subclasses of str, int, float and dict become the plain type (a string taken from a soup would
    otherwise drag its whole page along), tuples become lists, and half surrogates, which UTF-8
    can't hold, become U+FFFD. Downloads stay, and are added to `files` if that is given. Raises
    ItemError naming the place and the type of anything else.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise ItemError(f"{where} is a number of over 4,000 digits; convert it to text")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ItemError(f"{where} is {value!r}, which JSON can't hold; use None")
        return float(value)
    if depth >= MAX_DEPTH:
        raise ItemError(f"{where[:60]}... goes over {MAX_DEPTH} levels deep, or contains itself")
    if isinstance(value, dict):
        return {
            (key if type(key) is str and key.isascii() else _plain_key(key, where)): (
                v if _is_plain(v) else plain(v, f"{where}[{key!r}]", depth + 1, files=files)
            )
            for key, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [
            v if _is_plain(v) else plain(v, f"{where}[{index}]", depth + 1, files=files)
            for index, v in enumerate(value)
        ]
    if isinstance(value, Download) and files is not None:
        files.append(value)
        return value
    raise ItemError(f"{where} is {an(_type_name(value))}, which JSON can't hold; {_advice(value)}")


def _is_plain(value: object) -> bool:
    """Whether there is nothing to do about a value, as with nearly all.

    Then its place need not be told, which took most of the time.
    """
    if type(value) is str:
        return value.isascii() or _plain_text(value) is value
    if type(value) is int:
        return -_SMALL < value < _SMALL
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool


def _plain_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)  # str(text) would call what a subclass made of it


def _plain_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise ItemError(f"{where} has the key {key!r} of type {_type_name(key)}; keys are strings")
    return _plain_text(key)


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _advice(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return "decode it to text first"
    if isinstance(value, (set, frozenset)):
        return "sort it into a list"
    if isinstance(value, Download):
        return "the spider may give it, a step may not"
    if callable(getattr(type(value), "isoformat", None)):
        return "use its .isoformat()"
    return "convert it to text, a number, a list or a dict"
