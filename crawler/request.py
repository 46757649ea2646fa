"""What to get: plain data that travels to the worker by value."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, fields
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

Json = dict[str, Any]
"""A JSON object: string keys, plain values."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to fetch.

    `json` (any JSON value) or `form` (names and values) becomes the body, with its Content-Type,
    and turns GET into POST. `callback` is the function of the spider's module that gets the page,
    by name or itself; None is the spider. `meta` is yours: plain JSON values that come back as
    `response.meta` (pagination puts the page number there). Of the follow-ups that wait, those of
    the highest `priority` come first. A follow-up that was asked for before is left out unless
    `dont_filter`. `session` names one of several cookie jars, for several
    logins at once. `history` holds the URLs that redirected here, oldest first.
    """

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    callback: str | Callable[..., Any] | None = None
    meta: Json = field(default_factory=dict)
    priority: int = 0
    dont_filter: bool = False
    session: str = ""
    history: tuple[str, ...] = ()
    json: InitVar[Any] = None
    form: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, json: Any, form: Mapping[str, Any] | None) -> None:
        """Turn `json` or `form` into method, body and Content-Type."""
        if json is None and form is None:
            return
        given = [each for each in (self.body, json, form) if each is not None]
        if len(given) > 1:
            raise ValueError("a request has one body: give body, json or form")
        if json is not None:
            self._set_body(json_module.dumps(json).encode(), "application/json")
        elif form is not None:
            text = urlencode(form, doseq=True)
            self._set_body(text.encode(), "application/x-www-form-urlencoded")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a call: a dataclass's own way takes ten times as long, for each link."""
        return Request, _values(self)

    def _set_body(self, body: bytes, content_type: str) -> None:
        is_typed = any(name.lower() == "content-type" for name in self.headers)
        headers = self.headers if is_typed else {**self.headers, "Content-Type": content_type}
        object.__setattr__(self, "headers", headers)
        object.__setattr__(self, "body", body)
        if self.method == "GET":
            object.__setattr__(self, "method", "POST")


_values = attrgetter(*(each.name for each in fields(Request)))
