"""robots.txt: what a site's file means for our crawler. Pure rules.

Sources: RFC 9309, and Google's documentation of its parser where the RFC leaves something open.

    outcome of fetching the file           what it means
    -------------------------------------  ----------------------------------------------------
    2xx                                    the rules in it
    4xx but 429                            everything is allowed
    a redirect that can't be followed      everything is allowed
    429, 5xx, no answer, a broken answer   nothing is known: ask again later, then refuse the host
    no such host, no TLS, an address       no page can be got either: each fails for that reason
      where we may not go, a proxy that
      lets us go nowhere

Lines become records here, and records the one group that is meant for us. protego, which knows what
paths a rule fits and which rule wins, is given nothing but that group: with all of a file it takes
minutes and gigabytes if the file is made for that (it copies each rule for each user agent).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from crawler.result import Failure
from crawler.url import origin, problem_with

if TYPE_CHECKING:
    from protego import Protego

MAX_BYTES = 512 * 1024
"""Of the file; RFC 9309 (2.5) asks for 500 KiB at least."""
MAX_REDIRECTS = 5
"""In a row, to the file (RFC 9309, 2.3.1.2)."""
MAX_AGE = 24 * 3600.0
"""Seconds for which a file is believed (RFC 9309, 2.4)."""
MAX_REFUSAL = 3600.0
"""Seconds for which a host whose file can't be got is refused."""
MAX_CRAWL_DELAY = 60.0
"""Seconds. Some files ask for a day, to keep crawlers out by other means than a rule."""
MAX_RULES = 10_000
"""In the group that is meant for us. Every URL is compared with each rule that holds a star."""
MAX_ORIGINS = 10_000
"""Whose rules are remembered."""
MAX_RULES_HELD = 500_000
"""Of all origins together; about 170 MB."""

_MAX_LINE = 8 * 2083 - 1
"""Characters of a line that count; Google's parser cuts there too."""

_RECORD = re.compile(
    r"(user[- ]?agent|allow|disallow|dissallow|dissalow|disalow|diasllow|disallaw|crawl[- ]delay)"
    r"(?:\s*:(.*)|\s+(\S+))",
    re.ASCII | re.IGNORECASE,
)
"""The colon may be missing between two words. Google's parser forgives the same typing errors."""

_PRODUCT_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
"""RFC 9309 (2.2.1) knows no digits, the names of real crawlers do."""
_COMPATIBLE = re.compile(r"Mozilla/[^(]*\(compatible; *")

_PATH = re.compile(r"(?:[^:/?#]+:)?(?://[^/?#]*)?([^#]*)")
"""Path and query of a URL; RFC 3986, appendix B."""
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class RobotsRules:
    """What a site's file asks of us. Without arguments: nothing, everything is allowed."""

    crawl_delay: float | None = None
    """Seconds between two requests, at most MAX_CRAWL_DELAY."""
    note: str | None = None
    """What was not taken as it stands in the file, for the user to know."""
    size: int = 0
    """How many rules there are."""
    _protego: Protego | None = field(default=None, repr=False)

    def allows(self, url: str) -> bool:
        """Whether the URL may be fetched; never raises, whatever is given as one.

        The longest rule that fits decides, and Allow if two are equal (RFC 9309, 2.2.2). The file
        itself may always be fetched.
        """
        if self._protego is None:
            return True
        match = _PATH.match(url)
        path = _quoted(match[1].encode("utf-8", "surrogatepass")) if match else ""
        # protego is given what urlsplit can't stumble over, nor take for a scheme or a host.
        return self._protego.can_fetch(f"http://host/{path.removeprefix('/')}", "*")


ALLOW_ALL = RobotsRules()


def robots_url(url: str) -> str:
    """Where the rules for this URL are: each scheme, host and port has its own (RFC 9309, 2.3).

    Raises ValueError if the URL is malformed.
    """
    return f"{origin(url)}/robots.txt"


def judge(outcome: bytes | Failure, user_agent: str) -> RobotsRules | Failure:
    """What the outcome of fetching a robots.txt means (RFC 9309, 2.3.1).

    `outcome` is the body of a 2xx answer, or the Failure; that of any other answer is of the kind
    `status`, that of a redirect that wasn't followed (to nowhere, to itself, or more than
    MAX_REDIRECTS) of the kind `redirect`.

    A Failure given back is to be tried again later if it is `retryable`, and to be the failure of
    every page of the host if not, or in the end. It is of the kind `robots-unreachable`, unless no
    connection can be made at all.
    """
    if isinstance(outcome, bytes):
        return parse(outcome, user_agent)
    status = outcome.status if outcome.kind == "status" and outcome.status is not None else 0
    if outcome.kind in ("address", "dns", "proxy", "tls"):
        return outcome  # no page of the site can be got either, and for the same reason
    if outcome.kind in ("redirect", "url") or (300 <= status < 500 and status != 429):
        return ALLOW_ALL
    # A body that is cut off or can't be unpacked may have held any rule, so it is no file at all.
    return Failure(
        "robots-unreachable",
        f"the site's robots.txt can't be got: {outcome.message}",
        status=outcome.status,
        retryable=outcome.retryable or status == 429 or status >= 500,
        retry_after=outcome.retry_after,
    )


def parse(body: bytes, user_agent: str) -> RobotsRules:
    """The rules of a file that are meant for us. What isn't a rule is skipped, so a page is empty.

    `user_agent` is what we send as User-Agent. The body may be longer than MAX_BYTES; it is cut
    there, at the end of a line, for half a rule would be another rule.
    """
    from protego import Protego  # only once there is a file, so that the start stays fast

    group = _group(_records(_text(body)), product_token(user_agent))
    notes = ["cut at 512 KiB"] if len(body) > MAX_BYTES else []
    if len(group) > MAX_RULES:
        notes.append(f"cut at {MAX_RULES:,} rules")
        group = group[:MAX_RULES]
    lines = [
        f"{name}: {_quoted(value.encode('utf-8', 'surrogateescape'))}" for name, value in group
    ]
    protego = Protego.parse("\n".join(["User-agent: *", *lines]))
    delay = protego.crawl_delay("*")
    if delay is not None and delay > MAX_CRAWL_DELAY:
        notes.append(f"Crawl-delay {delay:g} capped to {MAX_CRAWL_DELAY:g}")
        delay = MAX_CRAWL_DELAY
    return RobotsRules(delay, "; ".join(notes) or None, len(group), protego if group else None)


def product_token(user_agent: str) -> str:
    """The name in a User-Agent, in lower case, by which a file speaks to us.

    `Name/1.0 (+URL)` and `Mozilla/5.0 (compatible; Name/1.0; +URL)` are both `name`.
    """
    mozilla = _COMPATIBLE.match(user_agent)
    return _token(user_agent[mozilla.end() :] if mozilla else user_agent)


def _token(text: str) -> str:
    match = _PRODUCT_TOKEN.match(text)
    return match[0].lower() if match else ""


def _text(body: bytes) -> str:
    """The text of a file, to the end of the last line that is there as a whole.

    Bytes that are no UTF-8 are kept as half surrogates. A byte order mark is skipped, as is half of
    one, one in the middle (files that were put together), and NUL (UTF-16 without a mark).
    """
    piece = body[:MAX_BYTES]
    if piece.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = piece.decode("utf-16", "replace")
    else:
        text = piece.decode("utf-8", "surrogateescape")
        text = text.removeprefix("\udcef").removeprefix("\udcbb")
    text = text.replace("\0", "").replace("\ufeff", "").replace("\r", "\n")
    return text[: text.rfind("\n") + 1] if len(body) > MAX_BYTES else text


def _records(text: str) -> Iterator[tuple[str, str]]:
    """Name (`user-agent`, `allow`, `disallow`, `crawl-delay`) and value of each line we know.

    Lines end with LF, CR or both; str.splitlines would also end them within a rule.
    """
    for line in text.split("\n"):
        match = _RECORD.fullmatch(line[:_MAX_LINE].partition("#")[0].strip())
        if match:
            first = match[1][0].lower()
            name = {"u": "user-agent", "a": "allow", "d": "disallow", "c": "crawl-delay"}[first]
            yield name, (match[2] or match[3] or "").strip()


def _group(records: Iterator[tuple[str, str]], token: str) -> list[tuple[str, str]]:
    """The rules of all groups for `token`; of all for `*` if there is none (RFC 9309, 2.2.1).

    Rules end the user agents of a group, and nothing else does: a Crawl-delay, which the RFC
    doesn't know, must not change what it does know (2.2.4). Each rule is there once.
    """
    groups: dict[str, dict[tuple[str, str], None]] = {}
    agents: set[str] = set()
    has_rules = False
    for name, value in records:
        if name == "user-agent":
            if has_rules:
                agents, has_rules = set(), False
            agent = "*" if value.split()[:1] == ["*"] else _token(value)
            if agent and agent in ("*", token):
                agents.add(agent)
                groups.setdefault(agent, {})
            continue
        has_rules = has_rules or name != "crawl-delay"
        if value:
            for agent in agents:
                groups[agent][name, value] = None
    return list(groups.get(token, groups.get("*", {})))


def _quoted(text: bytes) -> str:
    """With every byte escaped that isn't a printable one of ASCII."""
    return quote(text, safe=_PRINTABLE)


class RobotsCache:
    """What is known of each origin: the rules, or the Failure for which its pages are refused.

    Holds those used last, MAX_ORIGINS of them and MAX_RULES_HELD rules at most. Times are seconds
    of the caller's monotonic clock.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, RobotsRules | Failure]] = OrderedDict()
        self._held = 0

    def get(self, url: str, now: float) -> RobotsRules | Failure | None:
        """What is known for this URL; None if its robots.txt is to be fetched.

        A URL that can't be fetched needs no rules: the fetch refuses it and says why.
        """
        if problem_with(url):
            return ALLOW_ALL
        key = origin(url)
        until, known = self._known.get(key, (now, None))
        if known is not None:
            self._known.move_to_end(key)
        return known if now < until else None

    def put(self, url: str, known: RobotsRules | Failure, now: float) -> RobotsRules | Failure:
        """Keep what was found out for this URL's origin; gives back what now counts.

        Rules that grew too old still count if no newer ones can be got (RFC 9309, 2.4).
        """
        key = origin(url)
        _, earlier = self._known.pop(key, (now, None))
        self._held -= _size(earlier)
        age = MAX_AGE
        if isinstance(known, Failure):
            age = MAX_REFUSAL
            known = earlier if isinstance(earlier, RobotsRules) else known
        self._known[key] = now + age, known
        self._held += _size(known)
        while len(self._known) > MAX_ORIGINS or (
            self._held > MAX_RULES_HELD and len(self._known) > 1
        ):
            _, (_, oldest) = self._known.popitem(last=False)
            self._held -= _size(oldest)
        return known


def _size(known: RobotsRules | Failure | None) -> int:
    return known.size if isinstance(known, RobotsRules) else 0
