"""What a URL is once spelling no longer counts. Pure rules: text in, parts or text out.

    text --parse_url--> URL(scheme, username, password, host, port, path, query, fragment)
         --canonical_url--> the one spelling that all spellings of the same page share

`parse_url` reads http and https URLs as browsers do (WHATWG URL standard, "basic URL parser"); what
a browser refuses is a ValueError. `canonical_url` goes on with what RFC 3986 section 6.2.2 calls
equivalent, and with what makes no difference to which page is meant: the fragment, the order of the
query's parameters. Both take time in proportion to the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple
from unicodedata import bidirectional
from urllib.parse import quote, unquote

TRACKING = (
    "utm_*",
    "gclid",
    "gclsrc",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "igshid",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "jsessionid",
    "JSESSIONID",
    "PHPSESSID",
)
"""Parameters that tell who came from where, not which page is meant, for `drop_parameters`.

Not dropped unless asked: a site may give any name a meaning of its own.
"""

SESSION = (
    "jsessionid",
    "JSESSIONID",
    "PHPSESSID",
    "ASPSESSIONID*",
    "CFID",
    "CFTOKEN",
    "cfid",
    "cftoken",
)
"""Parameters by which Java, PHP, ASP and ColdFusion number visits, for `drop_parameters`.

These names mean nothing else. `sid` and `s`, which some forums use, mean a lot of things elsewhere.
"""

MAX_HOST_LENGTH = 253  # RFC 1035; also keeps the work per host name, which isn't linear, small

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DOTS = {".": ".", "%2e": ".", "..": "..", ".%2e": "..", "%2e.": "..", "%2e%2e": ".."}


def _printable_but(escaped: str) -> str:
    return "".join(char for char in map(chr, range(0x21, 0x7F)) if char not in escaped)


# What each part keeps as it is: the complements of the standard's percent-encode sets.
_FRAGMENT = _printable_but('"<>`')
_QUERY = _printable_but("\"#<>'")
_PATH = _printable_but('"#<>?^`{}')
_USERINFO = _printable_but('"#<>?^`{}/:;=@[\\]|')

_SPACE_AND_C0 = "".join(map(chr, range(0x21)))
SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_TAB_OR_NEWLINE = re.compile(r"[\t\n\r]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PORT = re.compile(r"0*([0-9]{0,5})", re.ASCII)
_FORBIDDEN_IN_HOST = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|]")
_IPV4_NUMBER = re.compile(r"0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*")
_LOOKS_LIKE_A_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_ZEROS = re.compile(r"\b0(?::0)+\b")
_BEFORE_PATH_OR_PARAMETER = re.compile(r"(?=[/;])")

# Escapes in small letters, and escapes of unreserved characters (RFC 3986 section 2.3). A stray `%`
# or `%4` before one stays apart from it: undone, `%4%31` would become an escape itself.
_SMALL_ESCAPE = re.compile(r"%(?:[0-9A-Fa-f][a-f]|[a-f][0-9A-F])")
_NEEDLESS_ESCAPE = re.compile(
    r"(?<!%)(?<!%[0-9A-Fa-f])%(2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])"
)

# URLs that are already written as the standard writes them, but for capitals in the host and a
# default port: most URLs on real pages. No segment may begin with a dot, and the last label must
# begin with a letter, so that it can't be an IPv4 number.
_PLAIN = re.compile(
    r"""
    (https?)://
    ( (?: [A-Za-z0-9_-]++ \. )*+ [A-Za-z] [A-Za-z0-9_-]*+ )
    (?: : ([0-9]{1,4}+) )?+
    ( (?: / (?! \. | %2[Ee] ) [!$-.0-;=@-\[\]_a-z|~]*+ )*+ )
    (?: \? ([!$-&(-;=?-~]*+) )?+
    (?: \# ([!#-;=?-_a-~]*+) )?+
    """,
    re.VERBOSE,
)

# A host that has no second spelling: a name in small letters, or an IPv4 address of four numbers.
_HOST = r"""
    (?: (?: [a-z0-9_-]++ \. )*+ [a-z] [a-z0-9_-]*+
      | (?: (?: 25[0-5] | 2[0-4][0-9] | 1[0-9][0-9] | [1-9]?[0-9] )
            (?: \. (?=[0-9]) | (?=[:/?#]|\Z) ) ){4}
    )
"""

# URLs that a browser and urlsplit read alike: written as the standard has it as far as host and
# folders are concerned. Nearly all are, and the rest isn't touched.
_CLEAR = re.compile(
    rf"""
    https?://
    {_HOST}
    (?: : (?! 0 ) [0-9]{{1,5}}+ )?+
    (?: / (?! \. | %2[Ee] ) [^\x00-\x20\x7f\\/?#]*+ )*+
    (?: \? [^\x00-\x20\x7f#]*+ )?+
    (?: \# [^\x00-\x20\x7f]*+ )?+
    """,
    re.VERBOSE,
)

CANONICAL = re.compile(
    rf"""
    ( https?://
      {_HOST}
    )
    ( (?: : (?! 80/ | 443/ | 0 ) (?: [0-9]{{1,4}} | [1-5][0-9]{{4}} ) (?=/) )?
      (?: / (?!\.) [A-Za-z0-9_.~-]*+ )++
    )
    (?: \# [!#-;=?-_a-~]*+ )?+
    """,
    re.VERBOSE,
)
"""URLs that are canonical already, but for a fragment: nothing in them has a second spelling. The
groups are scheme and host, and the rest up to the fragment."""


class URL(NamedTuple):
    """An http or https URL in parts, each as the WHATWG URL standard writes it.

    `port` is None if it is the scheme's own, `path` begins with a slash, `query` and `fragment` are
    None if there is none and "" if there is but the mark. `str(url)` is the standard's href.
    """

    scheme: str
    username: str
    password: str
    host: str
    port: int | None
    path: str
    query: str | None
    fragment: str | None

    def __str__(self) -> str:
        scheme, username, password, host, port, path, query, fragment = self
        user = f"{username}:{password}@" if password else f"{username}@" if username else ""
        return "".join(
            (
                f"{scheme}://{user}{host}",
                "" if port is None else f":{port}",
                path,
                "" if query is None else f"?{query}",
                "" if fragment is None else f"#{fragment}",
            )
        )


def parse_url(text: str, base: URL | str | None = None) -> URL:
    """The parts of an http or https URL; a relative one is taken from `base`.

    Follows the WHATWG URL standard, and refuses besides a host of more than 253 characters.
    Raises ValueError that says what is wrong.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is None or len(plain[2]) > MAX_HOST_LENGTH:
        return _parse(text, parse_url(base) if isinstance(base, str) else base)
    scheme, host, digits, path, query, fragment = plain.groups()
    port = int(digits) if digits else None
    if port == _DEFAULT_PORTS[scheme]:
        port = None
    return URL(scheme, "", "", host.lower(), port, path or "/", query, fragment)


def canonical_url(
    url: str, *, keep_fragment: bool = False, drop_parameters: Collection[str] = ()
) -> str:
    """The spelling that all spellings of the same page share; ASCII, without spaces.

    After `parse_url`: escapes of letters, digits, `-._~` are undone, others get capitals
    (RFC 3986 section 6.2.2); the query's parameters are sorted by name, then value, empty ones and
    an empty query are dropped; the fragment is dropped unless kept. User name and password stay,
    for they may decide what is shown. What servers may tell apart stays different: a slash at the
    end, `www.`, `+` and `%20`, capitals in the path.

    `drop_parameters` names parameters, of the query or the path (`;name=value`), that make no
    difference; a `*` stands for any characters. `TRACKING` is a list to start from.
    Raises ValueError for what `parse_url` refuses. Applying it twice changes nothing.
    """
    if isinstance(drop_parameters, str):
        raise TypeError(f"drop_parameters is a collection of names, not {drop_parameters!r}")
    if not keep_fragment:
        canonical = CANONICAL.fullmatch(url)
        if canonical is not None and len(canonical[1]) <= MAX_HOST_LENGTH:
            return canonical[1] + canonical[2]
    scheme, username, password, host, port, path, query, fragment = parse_url(url)
    dropped = _any_of(tuple(drop_parameters)) if drop_parameters else None
    path = with_plain_escapes(path)
    if dropped and ";" in path:
        path = _without_parameters(path, dropped)
    if query:
        query = _sorted_query(with_plain_escapes(query), dropped)
    fragment = with_plain_escapes(fragment) if keep_fragment and fragment else None
    user, secret = with_plain_escapes(username), with_plain_escapes(password)
    return str(URL(scheme, user, secret, host, port, path, query or None, fragment))


@lru_cache(maxsize=8_192)
def is_clear(url: str) -> bool:
    """Whether `clear_url` leaves it as it is because nothing is unclear."""
    return _CLEAR.fullmatch(url) is not None


def clear_url(url: str) -> str:
    """The URL in a spelling that leaves nobody in doubt which host and folder it means.

    `http://a\\@b/x/%2e%2e/y` is `http://a/@b/y` to a browser: so it is judged (scope, robots.txt)
    and fetched. What is clear already stays as it is; so does what has spaces, or is no URL.
    """
    if is_clear(url) or SPACE_OR_CONTROL.search(url):
        return url
    try:
        return str(parse_url(url))
    except ValueError:
        return url


# ---- The standard's parser ----


def _parse(text: str, base: URL | None) -> URL:
    """`parse_url` for every text, plain or not."""
    if _SURROGATE.search(text):  # the standard reads scalar values: pairs joined, the rest U+FFFD
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _TAB_OR_NEWLINE.sub("", text.strip(_SPACE_AND_C0))
    rest, hash_mark, fragment_text = text.partition("#")
    rest, question_mark, query_text = rest.partition("?")
    fragment = quote(fragment_text, _FRAGMENT) if hash_mark else None
    query = quote(query_text, _QUERY) if question_mark else None
    named = _SCHEME.match(rest)
    scheme = named[1].lower() if named else None
    rest = rest[named.end() if named else 0 :].replace("\\", "/")
    if scheme is None and base is None:
        raise ValueError(f"a relative URL needs a base: {_shown(text)}")
    if scheme and scheme not in _DEFAULT_PORTS:
        raise ValueError(f"only http and https are read, this has {_shown(scheme)}")

    if base and scheme in (None, base.scheme):
        if not rest.startswith("//"):
            return _moved(base, rest, query, fragment)
        scheme = base.scheme
    authority, slash, path = rest.lstrip("/").partition("/")
    username, password, host, port = _authority(authority)
    if port == _DEFAULT_PORTS[str(scheme)]:
        port = None
    return URL(str(scheme), username, password, host, port, _path(slash + path), query, fragment)


def _moved(base: URL, path: str, query: str | None, fragment: str | None) -> URL:
    if not path:
        return base._replace(query=base.query if query is None else query, fragment=fragment)
    if not path.startswith("/"):
        path = f"{base.path.rpartition('/')[0]}/{path}"
    return base._replace(path=_path(path), query=query, fragment=fragment)


def _authority(text: str) -> tuple[str, str, str, int | None]:
    """User name, password, host, port."""
    userinfo, _, address = text.rpartition("@")
    username, _, password = userinfo.partition(":")
    if address.startswith("["):
        inner, bracket, after = address[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError(f"brackets hold no whole IPv6 address: {_shown(address)}")
        host, port = _ipv6(inner), after[1:]
    else:
        name, _, port = address.partition(":")
        host = _host(name)
    return quote(username, _USERINFO), quote(password, _USERINFO), host, _port(port)


def _port(text: str) -> int | None:
    digits = _PORT.fullmatch(text)
    number = int(digits[1] or "0") if digits else 0x10000
    if number > 0xFFFF:
        raise ValueError(f"a port is a number up to 65535, not {_shown(text)}")
    return number if text else None


def _path(text: str) -> str:
    """The path encoded, `.` and `..` carried out."""
    text = quote(text, _PATH)
    if "/." not in text and "/%2" not in text:
        return text or "/"
    kept: list[str] = []
    dots = None
    for segment in text[1:].split("/"):
        dots = _DOTS.get(segment.lower())
        if dots is None:
            kept.append(segment)
        elif dots == ".." and kept:
            kept.pop()
    if dots:
        kept.append("")
    return "/" + "/".join(kept)


# ---- Hosts ----


def _host(text: str) -> str:
    """The standard's "host parser", without brackets: a domain in ASCII or an IPv4 address."""
    if len(text) > MAX_HOST_LENGTH * 12:  # as many characters, each of four escaped bytes
        raise ValueError(f"the host {_shown(text)} is too long")
    name = unquote(text)
    if len(name) > MAX_HOST_LENGTH:
        raise ValueError(f"the host has {len(name)} characters, more than {MAX_HOST_LENGTH}")
    domain = name.lower() if name.isascii() else _to_ascii(name)
    if not domain:
        raise ValueError("the URL has no host")
    if len(domain) > MAX_HOST_LENGTH:
        raise ValueError(f"the host {_shown(name)} is too long")
    if forbidden := _FORBIDDEN_IN_HOST.search(domain):
        raise ValueError(f"the host {_shown(name)} holds {forbidden[0]!r}")
    last = domain.removesuffix(".").rpartition(".")[2]
    return _ipv4(domain) if _LOOKS_LIKE_A_NUMBER.fullmatch(last) else domain


def _ipv4(domain: str) -> str:
    """`0x7f.1` is 127.0.0.1: hexadecimal, octal, and a last number that fills what is left."""
    parts = domain.removesuffix(".").split(".")
    if len(parts) > 4 or not all(map(_IPV4_NUMBER.fullmatch, parts)):
        raise ValueError(f"the host {_shown(domain)} ends in a number but is no IPv4 address")
    *bytes_, rest = map(_ipv4_number, parts)
    if any(byte > 0xFF for byte in bytes_) or rest >= 256 ** (5 - len(parts)):
        raise ValueError(f"a number in the IPv4 address {_shown(domain)} is too large")
    return ".".join(map(str, bytes([*bytes_]) + rest.to_bytes(5 - len(parts))))


def _ipv4_number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def _ipv6(text: str) -> str:
    """In brackets, the longest run of zeros as `::` (RFC 5952, but never with a dotted end)."""
    try:
        number = int(IPv6Address(text if _IPV6.fullmatch(text) else ""))  # not a zone, fe80::1%2
    except ValueError:
        raise ValueError(f"{_shown(text)} is no IPv6 address") from None
    pieces = ":".join(f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16))
    zeros = max(_ZEROS.finditer(pieces), key=lambda run: len(run[0]), default=None)
    if zeros is None:
        return f"[{pieces}]"
    before, after = pieces[: zeros.start()].removesuffix(":"), pieces[zeros.end() :]
    return f"[{before}::{after.removeprefix(':')}]"


def _to_ascii(name: str) -> str:
    """UTS #46 "ToASCII", as lenient as the standard has it, for a name that is not all ASCII.

    The standard library knows IDNA 2003 alone, which sends "straße" to "strasse"; the tables come
    from idna, loaded at the first such host.
    """
    import idna

    try:
        labels = idna.uts46_remap(name, std3_rules=False).split(".")
        unicode_labels = [_decoded(label) if label[:4] == "xn--" else label for label in labels]
        if any(bidirectional(char) in ("R", "AL", "AN") for char in "".join(unicode_labels)):
            for label in filter(None, unicode_labels):
                idna.check_bidi(label, check_ltr=True)
        return ".".join(map(_encoded, unicode_labels))
    except ValueError as error:
        raise ValueError(f"the host {_shown(name)} is no domain name: {error}") from None


def _decoded(label: str) -> str:
    text = label[4:].encode("ascii").decode("punycode")
    if text.isascii() or text[:4] == "xn--" or _encoded(text) != label:
        raise ValueError(f"{_shown(label)} is not what Punycode writes")
    return text


def _encoded(label: str) -> str:
    if label.isascii():
        return label
    import idna

    if idna.uts46_remap(label, std3_rules=False) != label or "." in label:
        raise ValueError(f"{_shown(label)} holds characters that are mapped to others")
    idna.check_initial_combiner(label)
    for position, char in enumerate(label):
        if char in "\u200c\u200d" and not idna.valid_contextj(label, position):
            raise ValueError(f"{_shown(label)} holds a joiner where none can stand")
    return f"xn--{label.encode('punycode').decode('ascii')}"


# ---- Identity ----


def with_plain_escapes(text: str) -> str:
    """Escapes of letters, digits, `-._~` undone, others in capitals (RFC 3986 section 6.2.2)."""
    if "%" not in text:
        return text
    text = _SMALL_ESCAPE.sub(lambda escape: escape[0].upper(), text)
    return _NEEDLESS_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)


def _sorted_query(query: str, dropped: re.Pattern[str] | None) -> str:
    # By name, then value; "a" before "a=". Not by the whole text: "a-b" would come before "a=".
    parameters = sorted(piece.partition("=") for piece in query.split("&") if piece)
    return "&".join(
        "".join(piece) for piece in parameters if not (dropped and dropped.fullmatch(piece[0]))
    )


def _without_parameters(path: str, dropped: re.Pattern[str]) -> str:
    pieces = _BEFORE_PATH_OR_PARAMETER.split(path)
    kept = [
        piece
        for piece in pieces
        if not (piece.startswith(";") and dropped.fullmatch(piece[1:].partition("=")[0]))
    ]
    return _path("".join(kept))  # "/..;jsessionid=1" has become "/.."


@lru_cache(maxsize=32)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the names as a canonical URL writes them."""
    written = (with_plain_escapes(quote(name, _QUERY)) for name in names)
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in written))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
