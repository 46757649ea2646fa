"""Which cookies are kept, and what goes along with a request."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from crawler import Request, cookies
from crawler.cookies import MAX_HEADER, CookieJars
from crawler.url import problem_with, redirected

NOW = 1_800_000_000.0  # 2027-01-15
DAY = 24 * 3600


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def without_the_list(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As most people have it, so that no test depends on what is installed."""
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    cookies._public_suffix_rule.cache_clear()
    yield
    cookies._public_suffix_rule.cache_clear()


def jars_with(*set_cookies: str, url: str = "https://www.x.example/") -> CookieJars:
    jars = CookieJars(clock=Clock())
    jars.store(url, set_cookies)
    return jars


def header_of(jars: CookieJars, url: str = "https://www.x.example/") -> str | None:
    return jars.header(url)


# ---- Reading Set-Cookie (RFC 6265bis, 5.6) ----


@pytest.mark.parametrize(
    ("set_cookie", "header"),
    [
        ("a=1", "a=1"),
        (" a \t=  1 2\t", "a=1 2"),
        ("a=", "a="),
        ("a=b=c==", "a=b=c=="),
        ('a="1, 2"', 'a="1, 2"'),
        ('a="1;2"', 'a="1'),
        ("a=1, b=2", "a=1, b=2"),
        ("a=1;;; ;=;Path", "a=1"),
        ("a=1; Unknown=2; HttpOnly; SameSite=Strict", "a=1"),
        ("expires=1", "expires=1"),
        ("$Version=1", "$Version=1"),
        ("a=\xe6\xb1\x89", "a=\xe6\xb1\x89"),  # bytes, read as latin-1; they go back as they came
        ("a=1\t2", "a=1\t2"),
        ("", None),
        (";", None),
        ("a", None),
        ("=a", None),
        (" = ", None),
        ("; a=1", None),
    ],
)
def test_a_cookie_is_read_as_browsers_do(set_cookie: str, header: str | None) -> None:
    assert header_of(jars_with(set_cookie)) == header


@pytest.mark.parametrize("char", ["\0", "\r", "\n", "\x0b", "\x1f", "\x7f", "\u0100", "\ud800"])
@pytest.mark.parametrize("pattern", ["{}a=1", "a{}=1", "a=1{}2", "a=1{}", "a=1; Path=/{}"])
def test_l18_control_characters_are_refused(char: str, pattern: str) -> None:
    assert header_of(jars_with(pattern.format(char))) is None


@pytest.mark.parametrize(
    ("set_cookie", "is_kept"),
    [
        ("a=" + "v" * 4095, True),
        ("a=" + "v" * 4096, False),
        ("n" * 4096 + "=", True),
        ("n" * 4097 + "=", False),
        ("a=1; Path=/" + "p" * 1024, True),  # ignored, so that the path is the default one
        ("a=1; Path=/" + "p" * 1023, False),
        ("a=1; Domain=y.example" + "d" * 1024, True),
        ("a=1; Max-Age=" + "0" * 1025, True),
    ],
)
def test_h27_a_cookie_and_its_attributes_have_a_size(set_cookie: str, is_kept: bool) -> None:
    assert (header_of(jars_with(set_cookie)) is not None) is is_kept


# ---- How long ----


@pytest.mark.parametrize(
    ("attributes", "seconds"),
    [
        ("", None),
        ("Max-Age=60", 60),
        ("max-age = 60 ", 60),
        ("Max-Age=60; Max-Age=90", 90),
        ("Max-Age=60; Max-Age=soon", 60),
        ("Max-Age=", None),
        ("Max-Age=-", None),
        ("Max-Age=+60", None),
        ("Max-Age=1.5", None),
        ("Max-Age=\xb2", None),
        ("Max-Age=" + "9" * 1000, 400 * DAY),
        ("Expires=Sat, 16 Jan 2027 08:00:00 GMT", DAY),
        ("Expires=Saturday, 16-Jan-27 08:00:00 GMT", DAY),
        ("Expires=Sat Jan 16 08:00:00 2027", DAY),
        ("Expires=2027 january 16. 8:0:0 whatever", DAY),
        ("Expires=Sat, 16 Jan 2027 08:00:00 +0500", DAY),  # zones don't count
        ("Expires=Sat, 16 Jan 9999 08:00:00 GMT", 400 * DAY),
        ("Expires=Sat, 16 Jan 2027 08:00:00 GMT; Expires=later", DAY),
        ("Expires=Sat, 16 Jan 2027 08:00:00 GMT; Max-Age=60", 60),
        ("Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", 60),
        ("Expires=", None),
        ("Expires=0", None),
        ("Expires=Sat, 16 Jan 2027", None),
        ("Expires=Sat, 30 Feb 2027 08:00:00 GMT", None),
        ("Expires=Sat, 16 Jan 2027 25:00:00 GMT", None),
        ("Expires=Sat, 16 Jan 2027 08:00:000 GMT", None),
        ("Expires=Sat, 16 Jan 1600 08:00:00 GMT", None),
        ("Expires=Sat, 1\u0666 Jan 2027 08:00:00 GMT", "refused"),
    ],
)
def test_how_long_a_cookie_lasts(attributes: str, seconds: float | str | None) -> None:
    rows = jars_with(f"a=1; {attributes}").as_json()
    ends = [row["expires"] and row["expires"] - NOW for row in rows]
    assert ends == ([] if seconds == "refused" else [seconds])


@pytest.mark.parametrize(
    "attributes",
    ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "Expires=1-jan-70 0:0:1"],
)
def test_a_date_in_the_past_deletes(attributes: str) -> None:
    assert header_of(jars_with("a=1", "b=2", f"a=; {attributes}")) == "b=2"
    assert (
        header_of(jars_with("a=1; Path=/p", f"a=; {attributes}"), "https://www.x.example/p")
        == "a=1"
    )
    assert header_of(jars_with(f"a=1; {attributes}")) is None


def test_a_cookie_ends_when_its_time_is_over() -> None:
    clock = Clock()
    jars = CookieJars(clock=clock)
    jars.store("https://x.example/", ["a=1; Max-Age=60", "b=2"])
    clock.now += 59.9
    assert jars.header("https://x.example/") == "a=1; b=2"
    clock.now += 0.1
    assert jars.header("https://x.example/") == "b=2"
    assert [row["name"] for row in jars.as_json()] == ["b"]
    jars.store("https://x.example/", ["a=3"])  # another cookie, younger than b
    assert jars.header("https://x.example/") == "b=2; a=3"


# ---- Which hosts ----


@pytest.mark.parametrize(
    ("host", "domain", "other", "is_sent"),
    [
        # Without a Domain it is the host's alone.
        ("www.x.example", None, "www.x.example", True),
        ("www.x.example", None, "WWW.X.example", True),
        ("www.x.example", None, "a.www.x.example", False),
        ("www.x.example", None, "x.example", False),
        ("www.x.example", "", "a.www.x.example", False),
        ("www.x.example", "www.x.example; Domain=", "a.www.x.example", False),
        # With one it is the domain's.
        ("www.x.example", "x.example", "x.example", True),
        ("www.x.example", ".x.example", "x.example", True),
        ("www.x.example", "X.EXAMPLE", "a.b.x.example", True),
        ("www.x.example", "www.x.example", "a.www.x.example", True),
        ("www.x.example", "y.example; Domain=x.example", "x.example", True),
        ("www.x.example", "x.example", "yx.example", False),
        ("www.x.example", "x.example", "example", False),
        # Not of a domain that the host isn't in.
        ("www.x.example", "a.www.x.example", "a.www.x.example", False),
        ("www.x.example", "y.example", "y.example", False),
        ("www.x.example", "y.example", "www.x.example", False),
        ("www.x.example", "ww.x.example", "www.x.example", False),
        ("www.x.example", "w.x.example", "www.x.example", False),
        ("www.x.example", "..x.example", "www.x.example", False),
        ("www.x.example", "x.example.", "www.x.example", False),
        ("x.example", "x.example", "x.example.", False),
        # International names, however they are written.
        ("www.b\xfccher.example", "xn--bcher-kva.example", "b\xfccher.example", True),
        ("www.xn--bcher-kva.example", None, "www.B\xdcCHER.example", True),
        # An address is a host, not a domain.
        ("127.0.0.1", None, "127.0.0.1", True),
        ("127.0.0.1", None, "0x7f.1", True),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", "a.127.0.0.1", False),
        ("127.0.0.1", "0.0.1", "127.0.0.1", False),
        ("127.0.0.1", ".0.0.1", "9.0.0.1", False),
        ("[::1]", None, "[0:0::1]", True),
        ("[::1]", "[::1]", "[::1]", True),
        ("[::1]", "1]", "[::1]", False),
        ("[::ffff:1.2.3.4]", "2.3.4]", "[::ffff:1.2.3.4]", False),
    ],
)
def test_whose_a_cookie_is(host: str, domain: str | None, other: str, is_sent: bool) -> None:
    set_cookie = "a=1" if domain is None else f"a=1; Domain={domain}"
    jars = jars_with(set_cookie, url=f"https://{host}/")
    assert jars.header(f"https://{other}/") == ("a=1" if is_sent else None)


PUBLIC = [
    # Nobody's: (host, Domain, another host of that domain).
    ("x.com", "com", "y.com"),
    ("x.co.uk", "co.uk", "y.co.uk"),
    ("x.co.uk", ".CO.UK", "y.co.uk"),
    ("x.com.au", "com.au", "y.com.au"),
    ("x.ne.jp", "ne.jp", "y.ne.jp"),
    ("x.co.uk.", "co.uk.", "y.co.uk."),
    ("x.com.", "com.", "y.com."),
    ("x..uk", ".uk", "y..uk"),
]


@pytest.mark.parametrize(("host", "domain", "other"), PUBLIC)
def test_s2_a_public_suffix_is_nobodys_domain(host: str, domain: str, other: str) -> None:
    jars = jars_with(f"a=1; Domain={domain}", url=f"http://{host}/")
    assert jars.header(f"http://{host}/") is None
    assert jars.header(f"http://{other}/") is None


@pytest.mark.parametrize("host", ["co.uk", "localhost", "com"])
def test_s2_a_public_suffix_may_be_a_host_by_itself(host: str) -> None:
    jars = jars_with(f"a=1; Domain={host}", url=f"http://{host}/")
    assert jars.header(f"http://{host}/") == "a=1"
    assert jars.header(f"http://x.{host}/") is None


@pytest.mark.parametrize("domain", ["x.example", "x.co.uk", "co.example", "bbc.uk", "my.net.x.de"])
def test_s2_an_ordinary_domain_is_somebodys(domain: str) -> None:
    jars = jars_with(f"a=1; Domain={domain}", url=f"http://www.{domain}/")
    assert jars.header(f"http://{domain}/") == "a=1"


def test_s2_the_public_suffix_list_is_asked_if_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PublicSuffixList:
        def is_public(self, domain: str) -> bool:
            return domain == "pages.example"

    module = ModuleType("publicsuffixlist")
    monkeypatch.setattr(module, "PublicSuffixList", PublicSuffixList, raising=False)
    monkeypatch.setitem(sys.modules, "publicsuffixlist", module)
    cookies._public_suffix_rule.cache_clear()
    jars = jars_with("a=1; Domain=pages.example", url="http://x.pages.example/")
    assert jars.header("http://y.pages.example/") is None
    jars.store("http://x.own.example/", ["b=2; Domain=own.example"])
    assert jars.header("http://y.own.example/") == "b=2"


def test_s2_the_real_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "publicsuffixlist")
    pytest.importorskip("publicsuffixlist", reason="the extra `broad` is not installed")
    for domain in ("github.io", "co.uk", "com", "kawasaki.jp"):
        jars = jars_with(f"a=1; Domain={domain}", url=f"http://x.{domain}/")
        assert jars.header(f"http://y.{domain}/") is None
    jars = jars_with("a=1; Domain=x.github.io", url="http://www.x.github.io/")
    assert jars.header("http://x.github.io/") == "a=1"


def test_t12_a_cookie_holds_for_all_ports_of_its_host() -> None:
    jars = jars_with("a=1", url="http://x.example:8001/")
    assert jars.header("http://x.example:8002/") == "a=1"
    assert jars.header("http://x.example/") == "a=1"
    assert jars.header("https://x.example/") == "a=1"


def test_t3_a_url_that_readers_disagree_about_has_no_cookies() -> None:
    jars = jars_with("a=1", url="http://x.example/")
    for url in ("http://x.example\\@y.example/", "http://y.example\\@x.example/"):
        assert jars.header(url) is None
        jars.store(url, ["b=2"])
    assert jars.header("http://reader:secret@x.example/") == "a=1"
    assert jars.header("http://x.example@y.example/") is None
    assert jars.header("http://y.example/") is None


def test_s1_what_another_host_sets_on_the_way_stays_there() -> None:
    jars = CookieJars(clock=Clock())
    jars.store("http://one.example/", ["a=1"])
    jars.store("http://three.example/", ["b=2; Domain=three.example", "c=3; Domain=one.example"])
    assert jars.header("http://one.example/back") == "a=1"
    assert jars.header("http://three.example/") == "b=2"


# ---- Which paths ----


@pytest.mark.parametrize(
    ("url", "path", "other", "is_sent"),
    [
        ("/", None, "/anything/at/all", True),
        ("", None, "/anything", True),
        ("/a", None, "/b", True),
        ("/a/b", None, "/a/c", True),
        ("/a/b", None, "/a", True),
        ("/a/b", None, "/ab", False),
        ("/a/b", None, "/", False),
        ("/a/b/", None, "/a/b/c", True),
        ("/a/b/", None, "/a/c", False),
        ("/a/b?c=/d/e", None, "/a/f", True),
        ("/x", "/a", "/a", True),
        ("/x", "/a", "/a/", True),
        ("/x", "/a", "/a/b?c", True),
        ("/x", "/a", "/a?b", True),
        ("/x", "/a", "/ab", False),
        ("/x", "/a", "/A", False),
        ("/x", "/a/", "/a/b", True),
        ("/x", "/a/", "/a", False),
        ("/x", "/a", "/b/../a", True),
        ("/a/b", "a", "/a/c", True),
        ("/a/b", "/x; Path=", "/a/c", True),
        ("/a/b", "/x; Path=", "/x", False),
    ],
)
def test_which_paths_a_cookie_goes_to(
    url: str, path: str | None, other: str, is_sent: bool
) -> None:
    set_cookie = "a=1" if path is None else f"a=1; Path={path}"
    jars = jars_with(set_cookie, url=f"http://x.example{url}")
    assert jars.header(f"http://x.example{other}") == ("a=1" if is_sent else None)


# ---- Secure, and what it protects ----


@pytest.mark.parametrize(
    ("url", "set_cookie", "is_kept"),
    [
        ("https://x.example/", "a=1; Secure", True),
        ("https://x.example/", "a=1; secure=no", True),
        ("http://x.example/", "a=1; Secure", False),
        ("http://127.0.0.1/", "a=1; Secure", False),
        ("http://localhost/", "a=1; Secure", False),
        ("https://x.example/", "__Secure-a=1; Secure", True),
        ("https://x.example/", "__Secure-a=1", False),
        ("https://x.example/", "__SECURE-a=1", False),
        ("http://x.example/", "__Secure-a=1; Secure", False),
        ("https://x.example/", "__Host-a=1; Secure; Path=/", True),
        ("https://x.example/", "__host-a=1; Path=/; secure", True),
        ("https://x.example/", "__Host-a=1; Path=/", False),
        ("https://x.example/", "__Host-a=1; Secure", False),
        ("https://x.example/", "__Host-a=1; Secure; Path=/p", False),
        ("https://x.example/", "__hOST-a=1; Secure; Path=/; Domain=x.example", False),
        ("http://x.example/", "__Host-a=1; Secure; Path=/", False),
        ("http://x.example/", "__Hosta=1", True),
    ],
)
def test_secure_and_the_prefixes(url: str, set_cookie: str, is_kept: bool) -> None:
    jars = jars_with(set_cookie, url=url)
    assert (jars.header(url) is not None) is is_kept


def test_l4_a_secure_cookie_goes_over_https_only() -> None:
    jars = jars_with("a=1; Secure; Path=/", "b=2")
    assert jars.header("https://www.x.example:8443/") == "a=1; b=2"
    assert jars.header("http://www.x.example/") == "b=2"


@pytest.mark.parametrize(
    ("url", "set_cookie", "header"),
    [
        ("http://www.x.example/", "a=2", "a=1"),
        ("http://www.x.example/", "a=; Max-Age=0", "a=1"),
        ("http://www.x.example/p/", "a=2", "a=1"),
        ("http://www.x.example/", "a=2; Domain=x.example", "a=1"),
        ("http://x.example/", "a=2; Domain=x.example", "a=1"),
        ("http://www.x.example/", "b=2", "a=1; b=2"),
        ("https://www.x.example/", "a=2", "a=2"),
    ],
)
def test_plain_http_leaves_secure_cookies_alone(url: str, set_cookie: str, header: str) -> None:
    jars = jars_with("a=1; Secure; Path=/")
    jars.store(url, [set_cookie])
    assert jars.header("https://www.x.example/p/") == header


# ---- The header ----


def test_the_longest_path_comes_first_then_the_oldest() -> None:
    jars = jars_with("c=1; Path=/p", "d=2; Path=/", "b=3; Domain=x.example; Path=/p", "a=4")
    jars.store("https://www.x.example/", ["d=5", "c=6; Path=/p"])  # each keeps its place
    assert jars.header("https://www.x.example/p") == "c=6; b=3; d=5; a=4"


def test_the_same_name_may_stand_for_several() -> None:
    jars = jars_with("a=1", "a=2; Path=/p", "a=3; Domain=x.example", "a=4; Domain=www.x.example")
    assert jars.header("https://www.x.example/p") == "a=2; a=1; a=3; a=4"


@pytest.mark.parametrize(
    ("own", "header"),
    [
        (None, "a=1; b=2"),
        ("", "a=1; b=2"),
        (" ;", "a=1; b=2"),
        ("c=3", "c=3; a=1; b=2"),
        ("b=9", "b=9; a=1"),
        ("c=3;b = 9 ; ", "c=3;b = 9; a=1"),
        ("a=8; b=9", "a=8; b=9"),
        ("B=9", "B=9; a=1; b=2"),
        ("c", "c; a=1; b=2"),
        ("c=\r\nX: 1", "c=\r\nX: 1"),  # as it is, for the fetcher to refuse
    ],
)
def test_what_is_given_by_hand_wins_by_name(own: str | None, header: str) -> None:
    assert jars_with("a=1", "b=2").header("https://www.x.example/", own=own) == header


@pytest.mark.parametrize("own", [None, "", "c=3", "c=3; "])
def test_without_cookies_the_request_stays_as_it_is(own: str | None) -> None:
    assert CookieJars().header("https://x.example/", own=own) == own
    assert jars_with("a=1").header("https://y.example/", own=own) == own
    assert jars_with("a=1").header("no URL", own=own) == own


def test_h27_a_flood_makes_no_long_header() -> None:
    jars = jars_with("sid=1", *(f"c{i:02}={'v' * 4000}" for i in range(60)))
    assert len(jars.as_json()) == 50
    header = jars.header("https://www.x.example/") or ""
    assert len(header) <= MAX_HEADER
    assert header.count("=") == 2


def test_h27_the_least_specific_are_left_out() -> None:
    jars = jars_with("old=1", *(f"{name}={'v' * 3000}" for name in "abc"), "new=2")
    jars.store("https://www.x.example/", [f"p={'v' * 4000}; Path=/p"])
    pairs = (jars.header("https://www.x.example/p") or "").split("; ")
    assert [pair.partition("=")[0] for pair in pairs] == ["p", "old", "a", "new"]
    own = "o=" + "v" * 9000
    assert jars.header("https://www.x.example/p", own=own) == own


def test_h27_the_header_may_be_as_long_as_it_may() -> None:
    jars = jars_with("a=" + "v" * 4000, "b=" + "v" * 4000)
    room = MAX_HEADER - 2 * 4002 - 2 * 2
    header = jars.header("https://www.x.example/", own="o" * room)
    assert header is not None
    assert len(header) == MAX_HEADER
    header = jars.header("https://www.x.example/", own="o" * (room + 1))
    assert header is not None
    assert header.count("=") == 1


# ---- How many ----


def names(jars: CookieJars) -> set[str]:
    return {row["name"] for row in jars.as_json()}


def test_h27_a_host_has_fifty_and_the_oldest_goes() -> None:
    jars = jars_with(*(f"c{i}=1" for i in range(50)))
    jars.store("https://www.x.example/", ["c0=2", "new=1", "new2=1"])
    assert names(jars) == {f"c{i}" for i in (0, *range(3, 50))} | {"new", "new2"}


def test_h27_what_is_over_goes_first_and_secure_ones_last() -> None:
    clock = Clock()
    jars = CookieJars(clock=clock)
    jars.store("https://x.example/", ["safe=1; Secure", *(f"c{i}=1" for i in range(48))])
    jars.store("https://x.example/", ["short=1; Max-Age=5"])
    clock.now += 5
    jars.store("http://x.example/", ["new=1"])
    assert names(jars) == {"safe", "new"} | {f"c{i}" for i in range(48)}
    jars.store("http://x.example/", [f"d{i}=1" for i in range(60)])
    assert jars.header("https://x.example/", own="x=1") is not None
    assert names(jars) == {"safe"} | {f"d{i}" for i in range(11, 60)}


def test_h27_a_jar_has_three_thousand_and_the_host_unused_longest_loses() -> None:
    jars = CookieJars(clock=Clock())
    for i in range(1_000):
        jars.store(f"http://h{i}.example/", ["a=1", "b=2", "c=3"])
    assert jars.header("http://h0.example/") == "a=1; b=2; c=3"
    for i in range(2):
        jars.store(f"http://new{i}.example/", ["d=4"])
    assert len(jars.as_json()) == 3_000
    assert jars.header("http://h0.example/") == "a=1; b=2; c=3"
    assert jars.header("http://h1.example/") == "c=3"
    assert jars.header("http://h2.example/") == "a=1; b=2; c=3"


# ---- Sessions ----


def test_sessions_have_separate_jars() -> None:
    jars = CookieJars(clock=Clock())
    url = "http://x.example/"
    jars.store(url, ["user=0"])
    jars.store(url, ["user=1"], "one")
    jars.store(url, ["user=2"], session="two")
    jars.store(url, ["user=; Max-Age=0"], session="one")
    assert jars.header(url) == "user=0"
    assert jars.header(url, "one") is None
    assert jars.header(url, session="two") == "user=2"
    assert jars.header(url, session="three") is None


# ---- To the journal and back ----


def test_what_the_journal_holds_is_plain_json() -> None:
    jars = jars_with("a=1; Path=/p; Secure; Max-Age=60", "b=2; Domain=x.example")
    rows = json.loads(json.dumps(jars.as_json()))
    assert rows[0] == {
        "session": "",
        "name": "a",
        "value": "1",
        "domain": "www.x.example",
        "host_only": True,
        "path": "/p",
        "secure": True,
        "expires": NOW + 60,
        "created": 0,
    }
    again = CookieJars.from_json(rows, clock=Clock())
    assert again.as_json() == rows
    again.store("https://www.x.example/", ["c=3; Path=/p"])
    assert again.header("https://www.x.example/p") == "a=1; c=3; b=2"


def test_the_caps_outlive_the_journal() -> None:
    jars = jars_with(*(f"c{i}=1" for i in range(50)))
    jars.store("https://www.x.example/", ["c0=2"])
    again = CookieJars.from_json(jars.as_json(), clock=Clock())
    again.store("https://www.x.example/", ["new=1"])
    assert names(again) == {"c0", "new"} | {f"c{i}" for i in range(2, 50)}
    rows = [{**jars.as_json()[0], "name": f"c{i}"} for i in range(60)]
    assert len(CookieJars.from_json(rows, clock=Clock()).as_json()) == 50


def test_it_is_known_whether_something_changed() -> None:
    clock = Clock()
    jars = CookieJars(clock=clock)
    url = "https://x.example/"

    def changes(*set_cookies: str) -> bool:
        jars.store(url, set_cookies)
        is_changed = jars.is_changed
        jars.as_json()
        assert not jars.is_changed
        return is_changed

    assert not changes()
    assert not changes("nonsense")
    assert changes("a=1; Path=/")
    assert not changes("a=1; Path=/")
    assert changes("a=2; Path=/")
    assert changes("a=2; Path=/; Max-Age=60")
    assert not changes("b=; Max-Age=0")
    assert changes("a=; Max-Age=0; Path=/")
    assert changes("a=1", "a=; Max-Age=0")
    jars.header(url)
    assert not jars.is_changed
    assert not CookieJars.from_json(jars_with("a=1").as_json()).is_changed


ROW = jars_with("a=1").as_json()[0]


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        ROW,
        "[]",
        [None],
        [[]],
        [{}],
        [{k: v for k, v in ROW.items() if k != "created"}],
        [{**ROW, "version": 2}],
        *(
            [{**ROW, key: value}]
            for key, value in [
                ("name", ""),
                ("name", None),
                ("name", "a=b"),
                ("name", "a;b"),
                ("name", " a"),
                ("name", "a\r\nX: 1"),
                ("name", b"a"),
                ("value", "a;b"),
                ("value", "a\nb"),
                ("value", "a "),
                ("value", "\u6c49"),
                ("value", "v" * 4096),
                ("value", 1),
                ("session", None),
                ("domain", ["x.example"]),
                ("host_only", 1),
                ("secure", "yes"),
                ("path", ""),
                ("path", "p"),
                ("expires", "never"),
                ("expires", True),
                ("expires", 10**400),
                ("expires", float("nan")),
                ("expires", float("inf")),
                ("created", 1.5),
                ("created", True),
            ]
        ),
    ],
)
def test_t7_content_that_is_not_ours_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="cookie"):
        CookieJars.from_json(content)


def test_t9_a_refusal_does_not_tell_the_cookie() -> None:
    with pytest.raises(ValueError) as refused:
        CookieJars.from_json([{**ROW, "value": "SECRET\n"}])
    assert "SECRET" not in str(refused.value)


# ---- Whatever comes ----

HOSTS = st.sampled_from(
    ["x.example", "www.x.example", "y.co.uk", "localhost", "127.0.0.1", "[::1]", "x.example."]
)
URLS = st.one_of(
    st.builds(
        "{}://{}/{}".format, st.sampled_from(["http", "https"]), HOSTS, st.sampled_from(["", "p/q"])
    ),
    st.builds("{}://{}".format, st.sampled_from(["http", "https"]), st.text()),
    st.text(),
)
ATTRIBUTES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["Secure", "Path=/", "Path=/p", "Max-Age=9", "Max-Age=0", "Domain=x.example", "Domain=uk"]
    ),
    st.builds("Expires={} {} {} {}:{}:{}".format, *[st.integers(0, 99)] * 6),
)
PAIRS = st.sampled_from(["a=1", "b=2", "__Host-c=3", "__Secure-d=4", "e=\xe9", "a=\n"])
SET_COOKIES = st.lists(
    st.one_of(
        st.text(),
        st.builds(lambda pair, rest: "; ".join([pair, *rest]), PAIRS, st.lists(ATTRIBUTES)),
    )
)


@given(URLS, SET_COOKIES, URLS, st.none() | st.text(), st.text(max_size=3))
@example("http://x.example/", ["a=1"], "http://x.example/", "\0", "")
@example("http://a..b", ["a=1; Domain=.b"], "http://c..b", None, "")
def test_nothing_is_raised_and_nothing_dangerous_is_sent(
    url: str, set_cookies: list[str], other: str, own: str | None, session: str
) -> None:
    jars = CookieJars(clock=Clock())
    jars.store(url, set_cookies, session)
    for target in (url, other):
        header = jars.header(target, session)
        if header is not None:
            assert not set("\r\n\0") & set(header)
            assert header.encode("latin-1")
            assert 0 < len(header) <= MAX_HEADER
        both = jars.header(target, session, own)
        assert both == own or not set("\r\n\0") & set(both or "")
        assert jars.header(target, session + "x", own) == own


@given(st.lists(st.tuples(URLS, SET_COOKIES, st.sampled_from(["", "s"]))), URLS)
def test_the_journal_gives_the_same_headers(
    answers: list[tuple[str, list[str], str]], url: str
) -> None:
    jars = CookieJars(clock=Clock())
    for answered, set_cookies, session in answers:
        jars.store(answered, set_cookies, session)
    rows = jars.as_json()
    again = CookieJars.from_json(json.loads(json.dumps(rows)), clock=Clock())
    assert again.as_json() == rows
    for target in (url, *(answered for answered, _, _ in answers)):
        for session in ("", "s"):
            assert again.header(target, session) == jars.header(target, session)


@given(HOSTS, HOSTS, st.text(max_size=20))
def test_s2_no_cookie_goes_to_a_host_outside_the_setters_domain(
    host: str, other: str, domain: str
) -> None:
    assume(problem_with(f"http://{host}/") is None)
    jars = jars_with(f"a=1; Domain={domain}", url=f"http://{host}/")
    if jars.header(f"http://{other}/"):
        assert other == host or (host.endswith("x.example") and other.endswith("x.example"))


# ---- With redirects ----


@pytest.mark.parametrize("name", ["Cookie", "cookie"])
def test_s1_cookies_given_by_hand_stay_with_their_host(name: str) -> None:
    jars = jars_with("jar=1", url="https://one.example/")
    request = Request("https://one.example/", headers={name: "sid=S"})

    here = redirected(request, 302, "/next")
    assert isinstance(here, Request)
    assert jars.header(here.url, own=here.headers[name]) == "sid=S; jar=1"

    for location in ("https://three.example/", "http://one.example/", "https://one.example:8443/"):
        away = redirected(request, 302, location)
        assert isinstance(away, Request)
        assert away.headers == {}
        back = redirected(away, 302, "https://one.example/back")
        assert isinstance(back, Request)
        assert jars.header(back.url, own=back.headers.get(name)) == "jar=1"
