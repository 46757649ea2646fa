"""What a URL may be, and where a redirect leads. Pure rules.

Sources: RFC 3986 (syntax), the WHATWG URL standard (what browsers forgive), RFC 9110 section 15.4
and the Fetch standard (redirects).
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from crawler.canonical import CANONICAL, SPACE_OR_CONTROL, parse_url, with_plain_escapes
from crawler.links import join
from crawler.request import Request
from crawler.result import Failure

MAX_URL_LENGTH = 8_192
MAX_REDIRECTS = 20

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# Where the host is already written as `host` gives it: nearly always, and four times as fast.
_PLAIN_HOST = re.compile(r"https?://([a-z0-9.-]++)(?=[/?#]|\Z)")
_URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]|"
_PUBLIC_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
_BODY_HEADERS = frozenset(
    {"content-type", "content-length", "content-encoding", "content-language"}
)


def host(url: str) -> str:
    """Host, and port if it is not the scheme's own: what politeness goes by; "" if malformed."""
    plain = _PLAIN_HOST.match(url)
    if plain is not None:
        return plain[1]
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    netloc = parts.netloc.rpartition("@")[2].lower()
    return netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":")).removesuffix(":")


def origin(url: str) -> str:
    """Scheme, host and port: what credentials belong to (RFC 6454)."""
    return f"{urlsplit(url).scheme}://{host(url)}"


def wire_url(url: str) -> str:
    """The URL as it is asked for: as a browser would write it, in ASCII, without the fragment.

    Raises ValueError if it is none.
    """
    canonical = CANONICAL.fullmatch(url)
    if canonical is not None:
        return canonical[1] + canonical[2]
    parts = parse_url(url)._replace(fragment=None)
    return quote(with_plain_escapes(str(parts)), safe=_URL_CHARACTERS)


def problem_with(url: str) -> str | None:
    """Why the URL can't be fetched, or None."""
    if len(url) > MAX_URL_LENGTH:
        return f"the URL has {len(url)} characters, more than {MAX_URL_LENGTH}"
    if SPACE_OR_CONTROL.search(url):
        return "the URL holds a space or control character"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises on a port that is none)
    except ValueError as error:
        return f"the URL is malformed: {error}"
    if parts.scheme not in ("http", "https"):
        scheme = f"{parts.scheme}:" if parts.scheme else "no scheme"
        return f"only http and https are fetched, this has {scheme}"
    if not parts.hostname or len(parts.hostname) > 253:
        return "the URL has no host" if not parts.hostname else "the host name is too long"
    return None


def move(url: str, site: str) -> str:
    """The URL at another site: scheme, host and port of `site`, its path put in front.

    A malformed URL stays as it is, for the fetch to refuse.
    """
    try:
        there, here = urlsplit(site), urlsplit(url)
    except ValueError:
        return url
    path = there.path.rstrip("/") + here.path
    return urlunsplit(SplitResult(there.scheme, there.netloc, path, here.query, here.fragment))


def redirected(request: Request, status: int, location: str) -> Request | Failure:
    """The request that a 3xx answer asks for, or why it isn't made.

    301 and 302 turn POST into GET, 303 turns all but HEAD into GET, and the body goes with it; 307
    and 308 keep both. What was given for one origin stays there: neither a body nor any header that
    may be a secret (all but Accept, Accept-Language, User-Agent) goes on to another one.
    """
    location = location.strip(" \t\r\n")
    if not location:
        return _refused(status, "it names no target")
    try:
        text = quote(location, safe=_URL_CHARACTERS + "\\", encoding="latin-1")
    except UnicodeEncodeError:
        return _refused(status, f"its target is malformed: {location[:200]!r}")
    target = join(request.url, text)
    problem = problem_with(target)
    if problem:
        return _refused(status, f"to {target[:200]!r}: {problem}")
    if target == request.url and request.method == "GET":
        return _refused(status, "it leads to itself")
    if len(request.history) >= MAX_REDIRECTS:
        return _refused(
            status, f"more than {MAX_REDIRECTS} in a row, began at {request.history[0]}"
        )

    headers, method, body = dict(request.headers), request.method, request.body
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = {k: v for k, v in headers.items() if k.lower() not in _BODY_HEADERS}
    if origin(target) != origin(request.url):
        if body is not None:
            return _refused(status, f"the body of a {method} is not sent on to {origin(target)}")
        headers = {k: v for k, v in headers.items() if k.lower() in _PUBLIC_HEADERS}
    history = (*request.history, request.url)
    return replace(request, url=target, method=method, headers=headers, body=body, history=history)


def _refused(status: int, why: str) -> Failure:
    return Failure("redirect", f"redirect not followed ({status}): {why}", status=status)
