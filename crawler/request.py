"""What to get: plain data that travels to the worker by value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""A JSON object: string keys, plain values."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to fetch.

    `meta` is yours: plain JSON values that come back as `response.meta` (pagination puts the page
    number there). `history` holds the URLs that redirected here, oldest first.
    """

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    meta: Json = field(default_factory=dict)
    history: tuple[str, ...] = ()
