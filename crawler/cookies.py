"""The cookies of a crawl, kept in one place: pure rules, no network, the time is an argument.

    every answer's URL and Set-Cookie values --store--> jar of its session
    next request's URL --header--> Cookie header, or None

Follows RFC 6265, and of its revision (draft-ietf-httpbis-rfc6265bis, section 5.6 and 5.7) the name
prefixes, the sizes and what plain http may do to Secure cookies. As the RFC has it, a cookie holds
for all ports of its host. Secure ones travel over https only, and loopback is no exception. A
cookie without a name is refused (the revision keeps it); HttpOnly and SameSite, which are about
pages with scripts, make no difference.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, Self

from crawler.canonical import URL, parse_url

MAX_COOKIE = 4_096
"""Bytes of a cookie's name and value; a larger one is refused."""
MAX_ATTRIBUTE = 1_024
"""Bytes of an attribute's value; a larger one is ignored."""
MAX_PER_DOMAIN = 50
MAX_PER_JAR = 3_000
MAX_HEADER = 8_192
"""Bytes of a Cookie header; many servers refuse more."""
MAX_LIFETIME = 400 * 24 * 3600
"""Seconds; who asks for more gets this."""

_SPACE = " \t"
# Header text is bytes read as latin-1: a character beyond that can't have come from a header, nor
# go into one. A tab may stand within a value.
_REFUSED = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\u0100-\U0010ffff]")
_MAX_AGE = re.compile(r"-?[0-9]+")

# RFC 6265, section 5.1.1. Each may be followed by any text that doesn't begin with a digit.
_DATE_DELIMITERS = re.compile(r"[\t -/;-@\[-`{-~]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# `co.uk`, `com.au`, `ne.jp`: what stands before a country's code when it sells the third level.
_SECOND_LEVEL = re.compile(
    r"(ac|co|com|edu|go|gob|gouv|gov|govt|ltd|mil|ne|net|nom|or|org|plc|sch)\.[a-z]{2}"
)


class _Cookie(NamedTuple):
    """A cookie as it is kept; `created` counts up, `expires` is seconds of the wall clock."""

    name: str
    value: str
    domain: str
    host_only: bool
    path: str
    secure: bool
    expires: float | None
    created: int

    @property
    def key(self) -> tuple[str, str, bool]:
        """What makes it the same cookie, within its domain."""
        return self.name, self.path, self.host_only

    def is_over(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


_TYPES: dict[str, tuple[type, ...]] = {
    "session": (str,),
    "name": (str,),
    "value": (str,),
    "domain": (str,),
    "host_only": (bool,),
    "path": (str,),
    "secure": (bool,),
    "expires": (float, NoneType),
    "created": (int,),
}


class CookieJars:
    """One jar for each session; `is_changed` says whether one has changed since `as_json`.

    `store` and `header` raise nothing: a cookie that breaks the rules is not kept, and a URL that
    no browser would open has none. `clock` is the wall clock.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._jars: dict[str, _Jar] = {}
        self._created = 0
        self.is_changed = False

    def header(self, url: str, session: str = "", own: str | None = None) -> str | None:
        """The Cookie header of a request, None if it needs none.

        `own` is the Cookie header that the request has already: it comes first and wins by name.
        The jar's cookies follow, the longest path first, then the oldest; those that would make the
        header longer than `MAX_HEADER` are left out. An `own` that can't be sent (it holds control
        characters, or such as latin-1 lacks) is given back as it is, for the fetcher to refuse.
        """
        jar = self._jars.get(session)
        if jar is None:
            return own
        here = _parse(url)
        found = jar.matching(here, self._clock()) if here else []
        if not found or (own and _REFUSED.search(own)):
            return own
        own = (own or "").strip("; \t")
        taken = {pair.partition("=")[0].strip(_SPACE) for pair in own.split(";")}
        pairs = [own] if own else []
        room = MAX_HEADER - len(own)
        for cookie in sorted(found, key=lambda cookie: (-len(cookie.path), cookie.created)):
            size = len(cookie.name) + 1 + len(cookie.value) + 2 * bool(pairs)
            if cookie.name not in taken and size <= room:
                pairs.append(f"{cookie.name}={cookie.value}")
                room -= size
        return "; ".join(pairs) or None

    def store(self, url: str, set_cookies: Sequence[str], session: str = "") -> None:
        """Keep, replace or delete cookies as the answer from `url` asks for.

        `set_cookies` are the values of its Set-Cookie headers, one text each, in their order.
        """
        if not set_cookies:
            return
        here = _parse(url)
        if here is None:
            return
        now = self._clock()
        for text in set_cookies:
            cookie = _cookie(text, here, now, self._created)
            if cookie is not None:
                self._created += 1
                self._keep(cookie, session, is_https=here.scheme == "https", now=now)

    def _keep(self, cookie: _Cookie, session: str, *, is_https: bool, now: float) -> None:
        jar = self._jars.get(session) or _Jar()
        if not is_https and jar.has_secure(cookie, now):
            return
        old = jar.remove(cookie)
        if old is not None and not old.is_over(now):
            cookie = cookie._replace(created=old.created)
        if not cookie.is_over(now):
            jar.add(cookie, now)
            self.is_changed |= cookie != old
        else:
            self.is_changed |= old is not None
        if jar.count:
            self._jars[session] = jar
        else:
            self._jars.pop(session, None)

    def as_json(self) -> list[dict[str, Any]]:
        """All cookies that aren't over, as plain JSON values; `from_json` reads them."""
        self.is_changed = False
        now = self._clock()
        return [
            {"session": session, **cookie._asdict()}
            for session, jar in self._jars.items()
            for cookie in jar
            if not cookie.is_over(now)
        ]

    @classmethod
    def from_json(cls, content: object, *, clock: Callable[[], float] = time.time) -> Self:
        """The jars that `as_json` wrote. Raises ValueError for content of another form.

        Cookies without a date come back too: to a resumed crawl the session isn't over.
        """
        if not isinstance(content, list):
            raise ValueError("cookies come as a list")  # noqa: TRY004
        jars = cls(clock=clock)
        now = clock()
        for number, row in enumerate(content):
            if not isinstance(row, dict) or not _is_sound(row):
                raise ValueError(f"cookie {number} is not as this version writes it")
            session, cookie = row["session"], _Cookie(**{k: row[k] for k in _Cookie._fields})
            jar = jars._jars.setdefault(session, _Jar())
            jar.remove(cookie)
            jar.add(cookie, now)
            jars._created = max(jars._created, cookie.created + 1)
        return jars


class _Jar:
    """The cookies of one session, by domain; both levels begin with what was used longest ago."""

    def __init__(self) -> None:
        self._domains: dict[str, dict[tuple[str, str, bool], _Cookie]] = {}
        self.count = 0

    def __iter__(self) -> Iterator[_Cookie]:
        for cookies in self._domains.values():
            yield from cookies.values()

    def matching(self, url: URL, now: float) -> list[_Cookie]:
        """The cookies that go along with a request (RFC 6265, section 5.4), in any order."""
        found = []
        is_https = url.scheme == "https"
        for domain in _domains_of(url.host):
            if domain not in self._domains:
                continue
            cookies = self._domains[domain] = self._domains.pop(domain)  # used last, from now on
            found += [
                cookie
                for cookie in cookies.values()
                if (domain == url.host or not cookie.host_only)
                and (is_https or not cookie.secure)
                and _path_matches(url.path, cookie.path)
                and not cookie.is_over(now)
            ]
        return found

    def has_secure(self, new: _Cookie, now: float) -> bool:
        """Whether a Secure cookie stands where plain http wants to put another of that name."""
        return any(
            old.secure
            and old.name == new.name
            and not old.is_over(now)
            and (_domain_matches(domain, new.domain) or _domain_matches(new.domain, domain))
            and _path_matches(new.path, old.path)
            for domain, cookies in self._domains.items()
            for old in cookies.values()
        )

    def add(self, cookie: _Cookie, now: float) -> None:
        """Put in a cookie that isn't there; over the limits, another goes."""
        cookies = self._domains.pop(cookie.domain, {})
        self._domains[cookie.domain] = cookies
        cookies[cookie.key] = cookie
        self.count += 1
        if len(cookies) > MAX_PER_DOMAIN:
            self._evict(cookie.domain, now)
        if self.count > MAX_PER_JAR:
            self._evict(next(iter(self._domains)), now)

    def remove(self, cookie: _Cookie) -> _Cookie | None:
        """Take out the cookie of the same name, domain and path."""
        cookies = self._domains.get(cookie.domain, {})
        old = cookies.pop(cookie.key, None)
        if old is not None:
            self.count -= 1
            if not cookies:
                del self._domains[cookie.domain]
        return old

    def _evict(self, domain: str, now: float) -> None:
        """One that is over, or else not Secure (http must not push out https), the oldest first."""
        cookies = self._domains[domain].values()
        self.remove(min(cookies, key=lambda each: (not each.is_over(now), each.secure)))


# ---- Reading Set-Cookie ----


def _cookie(text: str, here: URL, now: float, created: int) -> _Cookie | None:
    """The cookie that a Set-Cookie value asks for, None if it is refused (sections 5.2, 5.3)."""
    first, *rest = text.split(";")
    pair = _name_and_value(first)
    if pair is None or _REFUSED.search(text):
        return None
    path = domain = ""
    secure = False
    expires = max_age = None
    for attribute in rest:  # the last one of a name counts
        key, _, value = attribute.partition("=")
        key, value = key.strip(_SPACE).lower(), value.strip(_SPACE)
        if len(value) > MAX_ATTRIBUTE:
            continue
        if key == "expires":
            date = _date(value)
            expires = expires if date is None else date
        elif key == "max-age" and _MAX_AGE.fullmatch(value):
            max_age = max(0, min(int(value), MAX_LIFETIME))
        elif key == "domain":
            domain = value.removeprefix(".").lower()
        elif key == "path":
            path = value
        elif key == "secure":
            secure = True
    if max_age is not None:
        expires = float(now + max_age)
    elif expires is not None:
        expires = min(expires, float(now + MAX_LIFETIME))
    if domain and domain != here.host and not _may_span(here.host, domain):
        return None
    cookie = _Cookie(
        *pair,
        domain=domain or here.host,
        host_only=not domain or (domain == here.host and _is_public_suffix(domain)),
        path=path if path.startswith("/") else _default_path(here.path),
        secure=secure,
        expires=expires,
        created=created,
    )
    prefix = cookie.name.lower()
    is_kept = (
        (not secure or here.scheme == "https")
        and (secure or not prefix.startswith("__secure-"))
        and (not prefix.startswith("__host-") or (secure and cookie.host_only and path == "/"))
    )
    return cookie if is_kept else None


def _name_and_value(text: str) -> tuple[str, str] | None:
    name, equals, value = text.partition("=")
    name, value = name.strip(_SPACE), value.strip(_SPACE)
    return (name, value) if name and equals and len(name) + len(value) <= MAX_COOKIE else None


def _date(text: str) -> float | None:
    """Seconds since 1970 of a date as cookies have it, in any order; None if it is none."""
    clock = day = month = year = None
    for token in _DATE_DELIMITERS.split(text):
        if clock is None and (clock := _TIME.match(token)):
            continue
        if day is None and (day := _DAY.match(token)):
            continue
        if month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None:
            year = _YEAR.match(token)
    if clock is None or day is None or month is None or year is None:
        return None
    number = int(year[1])
    number += 1900 if 70 <= number <= 99 else 2000 if number <= 69 else 0
    if number < 1601:
        return None
    hour, minute, second = map(int, clock.groups())
    try:
        date = datetime(number, month, int(day[1]), hour, minute, second, tzinfo=UTC)
    except ValueError:  # the 30th of February, 25:00:00
        return None
    return date.timestamp()


def _is_sound(row: dict[Any, Any]) -> bool:
    """Whether the row has the form that `as_json` gives it."""
    if row.keys() != _TYPES.keys() or any(type(row[k]) not in _TYPES[k] for k in _TYPES):
        return False
    pair = f"{row['name']}={row['value']}"
    return (
        not (_REFUSED.search(pair) or ";" in pair)
        and _name_and_value(pair) == (row["name"], row["value"])
        and row["path"].startswith("/")
        and (row["expires"] is None or math.isfinite(row["expires"]))
    )


# ---- Where a cookie belongs ----


def _parse(url: str) -> URL | None:
    # Who reads `http://a\@b/` as browsers do gets a, others b: such a URL gets no cookies at all.
    if "\\" in url:
        return None
    try:
        return parse_url(url)
    except ValueError:
        return None


def _domains_of(host: str) -> Iterator[str]:
    """The host and the domains above it; only itself if it is an address."""
    yield host
    if not _is_address(host):
        while "." in host:
            host = host.partition(".")[2]
            yield host


def _is_address(host: str) -> bool:
    # Hosts come from `parse_url`, which leaves no other host that ends in a number.
    return host.endswith("]") or host.rpartition(".")[2].isdecimal()


def _domain_matches(host: str, domain: str) -> bool:
    """RFC 6265, section 5.1.3."""
    return host == domain or (host.endswith(f".{domain}") and not _is_address(host))


def _may_span(host: str, domain: str) -> bool:
    """Whether a cookie from the host may hold for all of the domain."""
    return _domain_matches(host, domain) and not _is_public_suffix(domain)


def _path_matches(path: str, above: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == above or (
        path.startswith(above) and (above.endswith("/") or path[len(above)] == "/")
    )


def _default_path(path: str) -> str:
    return path[: path.rfind("/")] or "/"


def _is_public_suffix(domain: str) -> bool:
    """Whether anyone can get a name below the domain, so that no cookie may span it."""
    domain = domain.removesuffix(".")
    if "." not in domain or "" in domain.split("."):
        return True
    return _public_suffix_rule()(domain)


@cache
def _public_suffix_rule() -> Callable[[str], bool]:
    # The list is 340 KB and takes 50 ms to read, so it waits for the first cookie that needs it.
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        return _looks_public
    is_public: Callable[[str], bool] = PublicSuffixList().is_public
    return is_public


def _looks_public(domain: str) -> bool:
    """A guess without the list: good for `co.uk`, not for `github.io`."""
    return _SECOND_LEVEL.fullmatch(domain) is not None
