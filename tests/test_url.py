"""Which URLs are fetched, and where redirects lead."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler import Request
from crawler.result import Failure
from crawler.url import MAX_REDIRECTS, MAX_URL_LENGTH, host, move, origin, problem_with, redirected

HERE = "https://here.example/list/1?all=1"


def follow(request: Request, status: int, location: str) -> Request:
    target = redirected(request, status, location)
    assert isinstance(target, Request), target
    return target


def refusal(location: str, request: Request | None = None, status: int = 302) -> str:
    failure = redirected(request or Request(HERE), status, location)
    assert isinstance(failure, Failure), failure
    assert (failure.kind, failure.status, failure.retryable) == ("redirect", status, False)
    return failure.message


# ---- Hosts and origins ----


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x/", "x"),
        ("HTTP://X.Example:80/a", "x.example"),
        ("https://x:443/", "x"),
        ("http://x:443/", "x:443"),
        ("http://x:/", "x"),
        ("https://reader:secret@x/", "x"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://[::80]/", "[::80]"),
        ("http://[bad", ""),
        ("", ""),
    ],
)
def test_a_host_is_the_same_however_it_is_written(url: str, expected: str) -> None:
    assert host(url) == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://x/a", "http://x/b?c#d", True),
        ("http://x/", "http://x:80/", True),
        ("http://x/", "http://USER@X/", True),
        ("http://x/", "https://x/", False),
        ("http://x/", "http://x:8080/", False),
        ("http://x/", "http://y.x/", False),
        ("http://x:443/", "https://x:443/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


# ---- What can be fetched ----


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "HTTPS://x/",
        "http://x:8080/a;b?c=d&e=%20#f",
        "http://user:pass@[::1]:80/",
        "http://汉字.example/汉字?é",
        "http://x/" + "a" * (MAX_URL_LENGTH - 9),
    ],
)
def test_a_good_url_has_no_problem(url: str) -> None:
    assert problem_with(url) is None


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "only http and https are fetched, this has no scheme"),
        ("x.example/a", "no scheme"),
        ("//x/a", "no scheme"),
        ("file:///etc/hostname", "only http and https are fetched, this has file:"),
        ("ftp://x/", "this has ftp:"),
        ("javascript:alert(1)", "this has javascript:"),
        ("data:text/html,x", "this has data:"),
        ("http:///a", "the URL has no host"),
        ("http://:80/", "the URL has no host"),
        ("http://user@/", "the URL has no host"),
        ("http://[::1/", "the URL is malformed: "),
        ("http://x:99999999/", "the URL is malformed: Port out of range"),
        ("http://x:abc/", "the URL is malformed: "),
        ("http://x/a b", "a space or control character"),
        (" http://x/", "a space or control character"),
        ("http://x/\r\nHost: y", "a space or control character"),
        ("http://x/\0", "a space or control character"),
        ("http://" + "a" * 254 + "/", "the host name is too long"),
        ("http://x/" + "a" * MAX_URL_LENGTH, "the URL has 8201 characters, more than 8192"),
    ],
)
def test_a_bad_url_has_a_problem(url: str, problem: str) -> None:
    assert problem in (problem_with(url) or "no problem")


@given(st.text())
def test_any_text_has_a_problem_or_none(url: str) -> None:
    problem_with(url)
    host(url)


# ---- Another site in the place of the real one ----


@pytest.mark.parametrize(
    ("url", "site", "expected"),
    [
        ("https://x/a?b=1#c", "http://127.0.0.1:8642", "http://127.0.0.1:8642/a?b=1#c"),
        ("https://x/a/", "http://y/copy/", "http://y/copy/a/"),
        ("https://x", "http://y/", "http://y"),
        ("http://[bad", "http://y/", "http://[bad"),  # the worker will refuse it
    ],
)
def test_move(url: str, site: str, expected: str) -> None:
    assert move(url, site) == expected


# ---- Where redirects lead ----


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://there.example/a", "http://there.example/a"),
        ("/a", "https://here.example/a"),
        ("2", "https://here.example/list/2"),
        ("../a", "https://here.example/a"),
        ("?page=2", "https://here.example/list/1?page=2"),
        ("//there.example/a", "https://there.example/a"),
        ("  /a\t", "https://here.example/a"),
        ("/a b", "https://here.example/a%20b"),
        ("/caf\xe9", "https://here.example/caf%E9"),
        ("/caf\xc3\xa9", "https://here.example/caf%C3%A9"),  # bytes are decoded as latin-1
        ("/%e6%b1%89?a=b%20c&d", "https://here.example/%e6%b1%89?a=b%20c&d"),
        ("/a\r\nSet-Cookie: b", "https://here.example/a%0D%0ASet-Cookie:%20b"),
    ],
)
def test_a_location_is_read_as_browsers_do(location: str, url: str) -> None:
    target = follow(Request(HERE, meta={"page": 3}), 302, location)
    assert target == Request(url, meta={"page": 3}, history=(HERE,))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("", "redirect not followed (302): it names no target"),
        (" \t ", "it names no target"),
        ("file:///etc/hostname", "to 'file:///etc/hostname': only http and https are fetched"),
        ("ftp://127.0.0.1/", "this has ftp:"),
        ("data:text/html,hello", "this has data:"),
        ("javascript:alert(1)", "this has javascript:"),
        ("http://[::1/", "to 'http://[::1/': the URL is malformed"),
        ("http://127.0.0.1:99999999/", "Port out of range"),
        ("http:///", "the URL has no host"),
        ("/" + "a" * 9000, "characters, more than 8192"),
        (HERE, "it leads to itself"),
        ("/汉字", "its target is malformed"),  # no bytes of a header decode to this
    ],
)
def test_a_location_that_leads_nowhere_is_a_failure(location: str, why: str) -> None:
    assert why in refusal(location)


@given(st.binary().map(lambda raw: raw.decode("latin-1")), st.sampled_from([301, 303, 307]))
@example("//[", 301)
@example("http://[v1.]/", 301)
@example("//\xaa\x2e:80", 301)
def test_any_location_gives_a_fetchable_request_or_a_failure(location: str, status: int) -> None:
    target = redirected(Request(HERE, "POST", body=b"x"), status, location)
    if isinstance(target, Request):
        assert problem_with(target.url) is None
        assert urlsplit(target.url).scheme in ("http", "https")
        assert target.history == (HERE,)
    else:
        assert target.kind == "redirect"


def test_redirects_are_followed_only_so_often() -> None:
    request = Request("http://x/0")
    for number in range(1, MAX_REDIRECTS + 1):
        request = follow(request, 302, f"/{number}")
    assert request.history == tuple(f"http://x/{number}" for number in range(MAX_REDIRECTS))
    assert "more than 20 in a row, began at http://x/0" in refusal("/more", request)


# ---- Method and body (RFC 9110, 15.4) ----


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (301, "GET", "GET"),
    ],
)
def test_the_method_after_a_redirect(status: int, method: str, then: str) -> None:
    headers = {"content-type": "text/plain", "Content-Language": "en", "X-Mine": "1"}
    body = b"secret" if method in ("POST", "PUT") else None
    target = follow(Request(HERE, method, headers=headers, body=body), status, "/next")
    assert target.method == then
    if then == method:
        assert (target.body, target.headers) == (body, headers)
    else:
        assert (target.body, target.headers) == (None, {"X-Mine": "1"})


def test_a_form_may_redirect_to_its_own_page() -> None:
    assert follow(Request(HERE, "POST", body=b"a=b"), 303, HERE).method == "GET"


# ---- What stays with its origin ----

SECRETS = {
    "Authorization": "Basic cmVhZGVy",
    "Cookie": "session=1",
    "X-Api-Key": "k",
    "Referer": "https://here.example/private",
}
PUBLIC = {"Accept": "text/html", "accept-language": "zh", "USER-AGENT": "test/1"}

ELSEWHERE = [
    pytest.param("https://there.example/", id="another host"),
    pytest.param("https://here.example:8443/", id="another port"),
    pytest.param("http://here.example/", id="from https to http"),
    pytest.param("https://sub.here.example/", id="a subdomain"),
]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_secrets_stay_with_their_origin(location: str) -> None:
    target = follow(Request(HERE, headers=SECRETS | PUBLIC), 302, location)
    assert target.headers == PUBLIC


@pytest.mark.parametrize("location", ["/other", "https://HERE.example:443/other"])
def test_headers_stay_within_an_origin(location: str) -> None:
    target = follow(Request(HERE, headers=SECRETS | PUBLIC), 302, location)
    assert target.headers == SECRETS | PUBLIC


def test_secrets_do_not_come_back_with_the_origin() -> None:
    away = follow(Request(HERE, headers=SECRETS), 302, "https://there.example/")
    back = follow(away, 302, HERE)
    assert back.headers == {}


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_body_is_not_sent_on_to_another_origin(location: str) -> None:
    request = Request(HERE, "POST", body=b"secret")
    for status in (307, 308):
        assert "the body of a POST is not sent on to" in refusal(location, request, status)
    for status in (301, 302, 303):
        target = follow(request, status, location)
        assert (target.method, target.body) == ("GET", None)


@example("http://x")
@example("http://x\n")
@example("https://x.example:443/a?b#c")
@example("http://x.example\\@y/")
@example("http://x.example?y@z")
@example("http://X/")
@given(st.text("htps:/?#@.xX0-_[]\\\n\t 8é%", max_size=20).map("http://x".__add__) | st.text())
def test_the_host_is_what_stands_between_the_slashes(url: str) -> None:
    """The short way for plain URLs and the long way agree."""
    try:
        parts = urlsplit(url)
    except ValueError:
        assert host(url) == ""
        return
    name = parts.netloc.rpartition("@")[2].lower()
    own_port = {"http": ":80", "https": ":443"}.get(parts.scheme, ":")
    assert host(url) == name.removesuffix(own_port).removesuffix(":")
