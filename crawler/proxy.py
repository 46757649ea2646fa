"""The proxy that requests go through: where it is, and who we are there.

Its password is in the request to the proxy and nowhere else: what is written or shown has stars.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from crawler.wording import kind_of

_STARS = "***"
_PASSWORD = re.compile(r"(://[^/?#\s:@]*):[^/?#\s]*@")
_EXAMPLE = "write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. As text it is a URL that shows no password."""

    host: str
    port: int
    user: str | None = None
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        if self.user is None:
            return self.url
        password = f":{_STARS}" if self.password else ""
        return self.url.replace("://", f"://{self.user}{password}@")

    @property
    def url(self) -> str:
        """Where it is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy alone may see (RFC 9110, 11.7.2; RFC 7617)."""
        if self.user is None:
            return {}
        credentials = f"{self.user}:{self.password}".encode()
        return {"Proxy-Authorization": f"Basic {base64.b64encode(credentials).decode()}"}


def parse_proxy(value: object) -> Proxy | None:
    """The proxy of a URL; None for None and `none`. User and password are percent-decoded.

    Raises ValueError, whose message repeats nothing in which a password could be.
    """
    if value is None or isinstance(value, Proxy):
        return value
    if not isinstance(value, str):
        raise ValueError(f"{kind_of(value)} is no URL; {_EXAMPLE}, or none")  # noqa: TRY004
    text = value.strip()
    if text.lower() == "none":
        return None
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise ValueError(f"it is no URL; {_EXAMPLE}, or none")
    if scheme.lower() != "http":
        named = f"{scheme}://" if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{0,20}", scheme) else "that"
        raise ValueError(
            f"{named} is not supported, only http:// proxies are (for https pages too, by "
            f"CONNECT); {_EXAMPLE}"
        )
    return _parsed(text)


def _parsed(text: str) -> Proxy:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    is_odd = not host or not text.isascii() or any(char <= " " or char == "\x7f" for char in text)
    if is_odd or parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
        escape = "what isn't a letter or digit in user and password is written %XX"
        raise ValueError(f"it is no URL of a proxy; {_EXAMPLE}, where {escape}")
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    if user is not None and ":" in user:
        raise ValueError("a user with a colon can't be told to a proxy (RFC 7617)")
    if password == _STARS:
        raise ValueError(
            "its password isn't kept with the run; give --proxy again, or put it in CRAWL_PROXY"
        )
    return Proxy(str(host), port or 80, user, password)


def without_password(text: str) -> str:
    """The text with stars for the password of each URL in it."""
    return _PASSWORD.sub(rf"\1:{_STARS}@", text)


def is_without_password(text: object) -> bool:
    """Whether it is a URL whose password was taken out."""
    return isinstance(text, str) and f":{_STARS}@" in text
