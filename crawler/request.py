"""What to get: plain data that travels to the worker by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""A JSON object: string keys, plain values."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to fetch.

    `callback` is the function of the spider's module that gets the page, by name or itself; None is
    the spider. `meta` is yours: plain JSON values that come back as `response.meta` (pagination
    puts the page number there). A follow-up that was asked for before is left out unless
    `dont_filter`. `history` holds the URLs that redirected here, oldest first.
    """

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    callback: str | Callable[..., Any] | None = None
    meta: Json = field(default_factory=dict)
    dont_filter: bool = False
    history: tuple[str, ...] = ()
