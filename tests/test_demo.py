"""The practice site, asked over real sockets: what tests and newcomers may rely on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urljoin, urlsplit

import parsel
import pytest
import requests

from crawler import demo
from crawler.demo import directions, hostile, routes
from crawler.demo.posts import POSTS, post
from crawler.demo.server import PREFERRED_PORT
from crawler.demo.weather import Climate, Weather

ROOT = Path(__file__).parents[1]
SAVED_PAGES = Path(__file__).parents[2] / "shared" / "data" / "qiushibaike" / "pages"
PATIENCE = 10.0


@pytest.fixture(scope="module")
def shared_site() -> Iterator[demo.PracticeSite]:
    with demo.start(0) as site:
        yield site


@pytest.fixture
def site(shared_site: demo.PracticeSite) -> demo.PracticeSite:
    """The module's site with its counts at zero."""
    requests.post(f"{shared_site.url}/stats/reset", timeout=PATIENCE)
    return shared_site


def get(site: demo.PracticeSite, target: str, **options: Any) -> requests.Response:
    options = {"timeout": PATIENCE, "allow_redirects": False} | options
    return requests.get(site.url + target, **options)


def stats(site: demo.PracticeSite) -> dict[str, Any]:
    counts: dict[str, Any] = get(site, "/stats").json()
    return counts


def connect(site: demo.PracticeSite) -> socket.socket:
    parts = urlsplit(site.url)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), PATIENCE)


def raw(site: demo.PracticeSite, request: bytes) -> bytes:
    """All that the site sends until it closes."""
    with connect(site) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def text_page(site: demo.PracticeSite, number: int) -> parsel.Selector:
    return parsel.Selector(get(site, f"/text/page/{number}/").text)


@pytest.fixture(scope="module")
def text_pages(shared_site: demo.PracticeSite) -> list[parsel.Selector]:
    return [text_page(shared_site, number) for number in range(1, 14)]


# The replica


def test_13_pages_of_25_posts_with_325_different_ids(text_pages: list[parsel.Selector]) -> None:
    ids = [page.css("div.article::attr(id)").getall() for page in text_pages]
    assert [len(on_page) for on_page in ids] == [25] * 13
    assert len({post_id for on_page in ids for post_id in on_page}) == POSTS == 325


def test_votes_are_up_plus_down(text_pages: list[parsel.Selector]) -> None:
    for shown in (shown for page in text_pages for shown in page.css("div.article")):
        votes = shown.css(".stats-vote .number::text").get("")
        up, down = shown.css(".voting .number::text").getall()
        assert int(votes) == int(up) + int(down)
        assert int(down) <= 0


def test_some_posts_are_cut_some_anonymous_most_have_a_god_comment(
    text_pages: list[parsel.Selector],
) -> None:
    cut = [page.css("div.content:has(.contentForAll) > span:first-child") for page in text_pages]
    texts = ["".join(text.css("::text").getall()) for on_page in cut for text in on_page]
    assert 20 <= len(texts) <= 60
    assert all(text.endswith("\n…\n") for text in texts)

    names = [name.strip() for page in text_pages for name in page.css("h2::text").getall()]
    assert 5 <= names.count("匿名用户") <= 30

    comments = [comment for page in text_pages for comment in page.css(".indexGodCmt")]
    assert 290 <= len(comments) < 325
    for comment in comments:
        assert comment.css(".cmt-name::text").get("").endswith("：")
        assert comment.css(".main-text::text").get("").strip()
        assert int("".join(comment.css(".likenum::text").getall())) > 0


def test_an_anonymous_post_has_its_gender_only_in_a_comment(
    text_pages: list[parsel.Selector],
) -> None:
    authors = [author for page in text_pages for author in page.css("div.author")]
    anonymous = next(author for author in authors if "anony.png" in author.get())
    assert not anonymous.css("a, div.articleGender")
    assert "articleGender" in anonymous.get()


def test_next_leads_to_page_13_and_no_further(site: demo.PracticeSite) -> None:
    target, visited = "/text/", 0
    while target:
        page = parsel.Selector(get(site, target).text)
        visited += 1
        target = page.css("ul.pagination a:has(.next)::attr(href)").get("")
    assert visited == 13
    assert page.css("ul.pagination a::attr(href)").getall()[-1] == "/text/page/12/"


def test_beyond_page_13_is_a_404_page(site: demo.PracticeSite) -> None:
    for number in (0, 14, 1000):
        answer = get(site, f"/text/page/{number}/")
        assert (answer.status_code, "404" in answer.text) == (404, True)


def test_an_article_page_has_the_whole_text(site: demo.PracticeSite) -> None:
    number = next(n for n in range(POSTS) if len(post(0, n).text) > 200)
    shown = post(0, number)
    page = parsel.Selector(get(site, f"/article/{shown.id}").text)
    assert "\n".join(page.css("div.content::text").getall()) == shown.text
    assert get(site, "/article/1").status_code == 404


def test_every_link_of_a_page_that_stays_on_the_site_works(site: demo.PracticeSite) -> None:
    page = text_page(site, 2)
    paths = set(page.css("div.article a::attr(href), img::attr(src)").getall())
    here = [urljoin(site.url, path) for path in paths if not path.startswith("javascript:")]
    session = requests.Session()
    statuses = {session.get(url, timeout=PATIENCE).status_code for url in here}
    assert (len(here) > 50, statuses) == (True, {200})


def test_odd_seeds_have_authors_without_links() -> None:
    with demo.start(0, seed=2) as even, demo.start(0, seed=3) as odd:
        linked = [len(text_page(one, 1).css(".author a[href]")) for one in (even, odd)]
    assert linked[0] > 20
    assert linked[1] == 0


def test_the_markup_is_that_of_the_saved_pages(text_pages: list[parsel.Selector]) -> None:
    saved = SAVED_PAGES / "2021-04-06_text_p1.html"
    if not saved.exists():
        pytest.skip("needs the saved pages of qiushibaike.com, which are not in this repository")

    original = skeletons(parsel.Selector(saved.read_text(encoding="utf-8")))
    assert skeletons(parsel.Selector(text_pages[0].get())) == original


def skeletons(page: parsel.Selector) -> set[str]:
    """The markup of the posts without what differs from post to post."""
    for optional in page.xpath("//br | //span[@class='contentForAll']"):
        optional.drop()
    posts = page.css("div.article:has(.author a):has(.indexGodCmt)").getall()
    bare = (re.sub(r">[^<]+<", "><", post) for post in posts)
    return {re.sub(r'(src|alt)="[^"]*"|(wom|m)[ae]nIcon|typs_\w+|\d+', "", post) for post in bare}


# As the original server behaved


def test_without_a_user_agent_it_is_503(site: demo.PracticeSite) -> None:
    answer = raw(site, b"GET /text/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")


def test_it_sets_an_xsrf_cookie_once(site: demo.PracticeSite) -> None:
    session = requests.Session()
    first = session.get(f"{site.url}/text/", timeout=PATIENCE)
    second = session.get(f"{site.url}/text/", timeout=PATIENCE)
    assert "_xsrf" in first.cookies
    assert "Set-Cookie" not in second.headers


def test_who_has_a_page_is_told_304(site: demo.PracticeSite) -> None:
    etag = get(site, "/text/").headers["ETag"]
    answer = get(site, "/text/", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert stats(site)["not_modified"] == 1


def test_gzip_only_for_those_who_take_it(site: demo.PracticeSite) -> None:
    packed = get(site, "/text/", headers={"Accept-Encoding": "gzip"})
    plain = get(site, "/text/", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 4


def test_head_is_get_without_the_body(site: demo.PracticeSite) -> None:
    whole = get(site, "/text/", headers={"Accept-Encoding": "identity"})
    head = requests.head(
        f"{site.url}/text/", headers={"Accept-Encoding": "identity"}, timeout=PATIENCE
    )
    assert head.content == b""
    assert int(head.headers["Content-Length"]) == len(whole.content)


# The same again


def test_same_seed_and_port_same_bytes() -> None:
    def pages(port: int, seed: int) -> tuple[int, list[bytes]]:
        with demo.start(port, seed=seed) as site:
            port = urlsplit(site.url).port or 0
            targets = "/text/page/7/", "/article/123000217", "/graph/1/50/page/3"
            return port, [get(site, target).content for target in targets]

    port, first = pages(0, seed=5)
    assert pages(port, seed=5)[1] == first
    assert pages(port, seed=6)[1][0] != first[0]


def outcome(site: demo.PracticeSite, target: str) -> str:
    try:
        return str(get(site, target).status_code)
    except requests.ConnectionError:
        return "reset"


def test_failures_follow_from_the_seed_and_never_come_twice() -> None:
    def outcomes(seed: int) -> list[list[str]]:
        with demo.start(0, fail=0.5, seed=seed) as site:
            targets = [f"/graph/1/100/page/{number}" for number in range(80)]
            return [[outcome(site, target) for target in targets] for _ in range(3)]

    first = outcomes(seed=1)
    assert outcomes(seed=1) == first
    assert outcomes(seed=2) != first
    assert {"200", "500", "503", "reset"} == {one for attempt in first for one in attempt}
    assert 20 <= sum(one != "200" for one in first[0]) <= 60
    for earlier, later in pairwise(first):
        assert not any(a != "200" != b for a, b in zip(earlier, later, strict=True))


def test_what_is_no_page_never_fails() -> None:
    with demo.start(0, fail=1.0) as site:
        for target in ("/", "/stats", "/robots.txt"):
            assert get(site, target).status_code == 200


def test_latency_delays_a_page() -> None:
    with demo.start(0, latency=0.1, jitter=0.05) as site:
        started = time.monotonic()
        get(site, "/empty")
        assert time.monotonic() - started >= 0.1


def test_jitter_is_added_and_sigma_multiplies() -> None:
    targets = [f"/page/{number}" for number in range(500)]
    jittery = Weather(Climate(latency=0.1, jitter=0.2))
    assert all(0.1 <= jittery.strike(target)[0] <= 0.3 for target in targets)
    spread = Weather(Climate(latency=0.1, latency_sigma=1.0))
    delays = sorted(spread.strike(target)[0] for target in targets)
    assert 0.08 < delays[250] < 0.12
    assert delays[-1] > 5 * delays[250]


# Proof of what a crawl did


def test_it_counts_requests_by_path_and_not_the_questions_about_them(
    site: demo.PracticeSite,
) -> None:
    for target in ("/text/", "/text/", "/robots.txt", "/nowhere", "/", "/stats", "/requests"):
        get(site, target)
    counts = stats(site)
    assert (counts["requests"], counts["pages"], counts["robots"]) == (4, 3, 1)
    assert counts["paths"] == {"/text/": 2, "/robots.txt": 1, "/nowhere": 1}
    assert counts["statuses"] == {"200": 3, "404": 1}


def test_it_tells_whether_connections_are_reused(site: demo.PracticeSite) -> None:
    with requests.Session() as session:
        for _ in range(5):
            session.get(f"{site.url}/text/", timeout=PATIENCE)
    reused = stats(site)["connections"]
    for _ in range(5):
        get(site, "/text/")
    # One for the session, one for asking; then five, and one for asking.
    assert (reused, stats(site)["connections"]) == (2, 8)


def test_it_tells_how_many_were_asked_for_at_once(site: demo.PracticeSite) -> None:
    together = Barrier(20)

    def ask(_: int) -> None:
        together.wait()
        get(site, "/delay/0.3")

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(20)))
    assert stats(site)["max_in_flight"] == 20
    assert stats(site)["in_flight"] == 0


def test_it_remembers_the_headers_it_was_sent(site: demo.PracticeSite) -> None:
    requests.post(f"{site.url}/echo", data="hello", headers={"X-Key": "1"}, timeout=PATIENCE)
    (seen,) = get(site, "/requests").json()
    assert (seen["method"], seen["target"], seen["body"]) == ("POST", "/echo", "hello")
    assert seen["headers"]["x-key"] == "1"


# The index page


def examples() -> list[tuple[str, int | None]]:
    return [
        example
        for section in routes.SECTIONS
        for route in section.routes
        for example in route.examples.items()
    ]


def test_the_index_lists_every_route_with_a_line_about_it(site: demo.PracticeSite) -> None:
    page = parsel.Selector(get(site, "/").text)
    all_routes = [route for section in routes.SECTIONS for route in section.routes]
    listed = [pattern.removeprefix("POST ") for pattern in page.css("th::text").getall()]
    assert listed == [route.pattern for route in all_routes]
    assert all("".join(row.css("td::text").getall()).strip() for row in page.css("tr"))
    assert page.css("td a::attr(href)").getall() == [target for target, _ in examples()]


@pytest.mark.parametrize(("target", "status"), examples())
def test_every_example_answers_as_the_index_says(
    site: demo.PracticeSite, target: str, status: int | None
) -> None:
    headers = "Host: x\r\nUser-Agent: x\r\nConnection: close"
    with connect(site) as connection:
        connection.settimeout(PATIENCE if status else 0.05)
        connection.sendall(f"GET {target} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        try:
            start = connection.recv(15)
        except (TimeoutError, ConnectionResetError):
            start = b""
    answered = re.match(rb"HTTP/1\.1 (\d{3}) ", start)
    assert (int(answered[1]) if answered else None) == status


# Links


def reachable(site: demo.PracticeSite, start: str) -> dict[str, int]:
    """Every page that the links lead to, and its status."""
    found: dict[str, int] = {}
    waiting = [start]
    with requests.Session() as session:
        while waiting:
            target = waiting.pop().partition("#")[0]
            if target in found:
                continue
            answer = session.get(site.url + target, timeout=PATIENCE, allow_redirects=False)
            found[target] = answer.status_code
            waiting += parsel.Selector(answer.text or "<p>").css("a::attr(href)").getall()
            waiting += [answer.headers["Location"]] if "Location" in answer.headers else []
    return found


def test_all_pages_of_a_graph_are_reachable(site: demo.PracticeSite) -> None:
    found = reachable(site, "/graph/1/60/page/0")
    assert found == dict.fromkeys((f"/graph/1/60/page/{number}" for number in range(60)), 200)


def test_a_graph_can_have_redirects_and_dead_links(site: demo.PracticeSite) -> None:
    found = reachable(site, "/graph/1/60/page/0?redirects=0.2&dead=0.2")
    statuses = list(found.values())
    assert statuses.count(200) == 60
    assert statuses.count(301) > 5
    assert statuses.count(404) > 5


def test_a_chain_has_its_lists_and_details(site: demo.PracticeSite) -> None:
    found = reachable(site, "/chain/3/4/")
    assert set(found.values()) == {200}
    assert len(found) == 3 + 3 * 4


def test_a_chain_hands_its_latency_on(site: demo.PracticeSite) -> None:
    page = parsel.Selector(get(site, "/chain/2/1/?latency=0.001&sigma=1.5").text)
    assert page.css("a::attr(href)").getall() == [
        "/chain/2/1/detail/1/1?latency=0.001&sigma=1.5",
        "/chain/2/1/list/2?latency=0.001&sigma=1.5",
    ]


@pytest.mark.parametrize(
    "start", ["/calendar/2026/11/", "/mirror/", "/session-links/1", "/endless-pages"]
)
def test_a_trap_leads_on_and_on(site: demo.PracticeSite, start: str) -> None:
    url, visited = site.url + start, set()
    for _ in range(20):
        visited.add(url)
        links = parsel.Selector(requests.get(url, timeout=PATIENCE).text).css("a::attr(href)")
        url = next(new for link in links.getall() if (new := urljoin(url, link)) not in visited)


# Directions


def test_robots_txt_can_be_switched(site: demo.PracticeSite) -> None:
    switch = f"{site.url}/robots/"
    assert "Disallow: /private" in get(site, "/robots.txt").text
    try:
        for kind, status in (("deny", 200), ("503", 503), ("redirect", 302)):
            requests.post(switch + kind, timeout=PATIENCE)
            assert get(site, "/robots.txt").status_code == status
    finally:
        requests.post(f"{switch}allow", timeout=PATIENCE)
    assert requests.post(f"{switch}nonsense", timeout=PATIENCE).status_code == 404


@pytest.mark.parametrize("kind", ["deny", "bom", "half-bom", "utf-16", "invalid-utf8", "big"])
def test_the_robots_txt_that_deny_hide_it_behind_something(
    site: demo.PracticeSite, kind: str
) -> None:
    body = get(site, f"/robots/{kind}").content
    text = body.decode("utf-16" if kind == "utf-16" else "utf-8", errors="replace")
    assert text.endswith(("User-agent: *\nDisallow: /", "User-agent: *\nDisallow: /\n"))


def test_the_sitemap_leads_to_the_text_pages(site: demo.PracticeSite) -> None:
    index = get(site, "/sitemap.xml").text
    plain, packed = re.findall(r"<loc>(.*?)</loc>", index)
    pages = requests.get(plain, timeout=PATIENCE).content
    assert zlib.decompress(requests.get(packed, timeout=PATIENCE).content, 31) == pages
    assert pages.count(b"/text/page/") == 13


# Plain HTTP, access


def test_statuses_carry_retry_after_as_asked(site: demo.PracticeSite) -> None:
    assert "Retry-After" not in get(site, "/status/503").headers
    assert get(site, "/status/503?retry_after=-5").headers["Retry-After"] == "-5"
    assert get(site, "/status/503?retry_after=date").headers["Retry-After"].endswith(" GMT")


def test_a_flaky_page_fails_so_many_times(site: demo.PracticeSite) -> None:
    statuses = [get(site, "/flaky/test-key?fails=2&status=500").status_code for _ in range(4)]
    assert statuses == [500, 500, 200, 200]


def test_redirects_go_where_they_are_told(site: demo.PracticeSite) -> None:
    assert len(requests.get(f"{site.url}/redirect/5", timeout=PATIENCE).history) == 5
    answer = get(site, "/redirect-to?url=ftp://a.example/&status=308")
    assert (answer.status_code, answer.headers["Location"]) == (308, "ftp://a.example/")
    with pytest.raises(requests.TooManyRedirects):
        requests.get(f"{site.url}/redirect-loop", timeout=PATIENCE)


@pytest.mark.parametrize("target", ["/gzip", "/deflate", "/deflate?raw=1"])
def test_encoded_pages_arrive(site: demo.PracticeSite, target: str) -> None:
    assert "It arrived whole." in get(site, target).text


@pytest.mark.parametrize("name", ["utf-8", "utf-16", "gbk", "big5", "shift_jis", "windows-1251"])
def test_a_charset_declared_in_the_header_decodes(site: demo.PracticeSite, name: str) -> None:
    answer = get(site, f"/charset/{name}")
    assert answer.encoding == name
    assert "�" not in answer.text
    assert get(site, f"/charset/{name}?declared=meta").headers["Content-Type"] == "text/html"


def test_login_needs_the_forms_hidden_token(site: demo.PracticeSite) -> None:
    with requests.Session() as session:
        assert session.get(f"{site.url}/private", timeout=PATIENCE).url == f"{site.url}/login"
        form = parsel.Selector(session.get(f"{site.url}/login", timeout=PATIENCE).text)
        filled = {"user": "reader", "password": "practice"}
        refused = session.post(f"{site.url}/login", data=filled, timeout=PATIENCE)
        filled["token"] = form.css("[name=token]::attr(value)").get("")
        welcome = session.post(f"{site.url}/login", data=filled, timeout=PATIENCE)
    assert refused.status_code == 403
    assert welcome.url == f"{site.url}/private"
    assert "Welcome" in welcome.text


def test_cookies_and_basic_authentication(site: demo.PracticeSite) -> None:
    with requests.Session() as session:
        session.get(f"{site.url}/cookies/set?a=1&b=2", timeout=PATIENCE)
        assert session.get(f"{site.url}/cookies", timeout=PATIENCE).json() == {"a": "1", "b": "2"}
    assert get(site, "/basic-auth").status_code == 401
    assert get(site, "/basic-auth", auth=("reader", "practice")).status_code == 200


def test_pictures_are_png(site: demo.PracticeSite) -> None:
    first, second = (get(site, f"/images/{number}.png").content for number in (1, 2))
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first != second


# Hostile answers: bytes on the wire, without a library that mends them


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    packed = b"".join(hostile.bomb(8))
    assert len(packed) < 16_384
    assert zlib.decompress(packed, 31) == bytes(8 * 1_048_576)


def test_a_truncated_gzip_has_no_end(site: demo.PracticeSite) -> None:
    head, _, body = raw(site, b"GET /gzip/truncated HTTP/1.1\r\nHost: x\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert f"Content-Length: {len(body)}".encode() in head
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(body)
    assert not decoder.eof


@pytest.mark.parametrize("target", ["/length/too-long", "/chunked/truncated", "/chunked/broken"])
def test_a_body_that_does_not_come_whole(site: demo.PracticeSite, target: str) -> None:
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(site, target)


def test_an_endless_page_goes_on_while_it_is_read(site: demo.PracticeSite) -> None:
    with connect(site) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        while received < 20_000_000:
            received += len(connection.recv(1_000_000))


def test_an_argument_that_makes_no_sense_is_refused(site: demo.PracticeSite) -> None:
    for target in ("/big?mb=lots", "/drip?bytes=-1", "/calendar/2026/13/", "/status/abc"):
        assert get(site, target).status_code == 400
    assert get(site, "/length/unheard-of").status_code == 404
    assert "negative" in get(site, "/length/unheard-of").text


# The server


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET http-is-missing HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"POST /text/ HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        (b"GET http://any.example/ HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_bad_requests_are_answered_and_the_connection_closed(
    site: demo.PracticeSite, request_bytes: bytes, status: int
) -> None:
    assert raw(site, request_bytes).startswith(f"HTTP/1.1 {status} ".encode())


def test_requests_sent_ahead_are_answered_in_order(site: demo.PracticeSite) -> None:
    ahead = b"GET /status/%d HTTP/1.1\r\nHost: x\r\n%s\r\n"
    answer = raw(site, ahead % (201, b"") + ahead % (410, b"Connection: close\r\n"))
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"201", b"410"]


def test_500_connections_at_once(site: demo.PracticeSite) -> None:
    request = b"GET /delay/0.2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    connections = [connect(site) for _ in range(500)]
    for connection in connections:
        connection.sendall(request)
    for connection in connections:
        with closing(connection):
            assert connection.recv(15).startswith(b"HTTP/1.1 200")
    assert stats(site)["requests"] == 500


def test_a_client_that_leaves_ends_its_answer(site: demo.PracticeSite) -> None:
    with connect(site) as connection:
        connection.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        _until(lambda: stats(site)["in_flight"] == 1)
    _until(lambda: stats(site)["in_flight"] == 0)


def _until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline


def test_whatever_clients_do_the_server_says_nothing_and_ends_with_its_input() -> None:
    command = [sys.executable, "-m", "crawler.demo", "--port=0", "--attached"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert server.stdout
        host, port = server.stdout.readline().decode().strip().removeprefix("http://").split(":")
        for request in (b"GET /endless", b"GET /hang", b"GET /big?mb=50", b"GET /reset", b"\xff"):
            with socket.create_connection((host, int(port)), PATIENCE) as connection:
                connection.sendall(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                if request == b"GET /endless":
                    connection.recv(100)
        held = socket.create_connection((host, int(port)), PATIENCE)
        held.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        out, errors = server.communicate(timeout=PATIENCE)  # closes its standard input
        held.close()
    assert (server.returncode, out, errors) == (0, b"", b"")


# Starting and ending


def test_port_0_is_any_and_no_port_is_the_preferred_one_if_free() -> None:
    with demo.start() as first, demo.start() as second:
        ports = [urlsplit(site.url).port for site in (first, second)]
        assert ports[0] != ports[1]
        # Unless something else on this machine has it.
        assert PREFERRED_PORT in ports or not _free(PREFERRED_PORT)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_explicit_port_that_is_taken_is_an_error(site: demo.PracticeSite) -> None:
    port = urlsplit(site.url).port
    with demo.start(port) as second, pytest.raises(demo.PracticeSiteError, match="is taken"):
        _ = second.url


def test_settings_that_make_no_sense_are_an_error() -> None:
    with demo.start(0, fail=2.0) as site, pytest.raises(demo.PracticeSiteError, match="0 to 1"):
        _ = site.url


def test_another_address_is_another_host() -> None:
    with demo.start(0, host="127.0.0.2") as site:
        assert urlsplit(site.url).hostname == "127.0.0.2"
        assert get(site, "/text/").status_code == 200


def test_closing_twice_is_fine_and_nothing_is_left() -> None:
    site = demo.start(0)
    connection = connect(site)
    site.close()
    site.close()
    with closing(connection):
        assert connection.recv(1) == b""
    with pytest.raises(ProcessLookupError):
        os.kill(site.pid, 0)


CHILD = """
import sys, time, urllib.request
from crawler import demo
site = demo.start(0)
try:
    print(site.url, flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print(urllib.request.urlopen(site.url + "/echo").status, flush=True)
    site.close()
"""


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[str]]:
    """A program that started a practice site, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        yield process
        process.kill()


def test_the_site_dies_with_its_owner_even_by_sigkill(owner: subprocess.Popen[str]) -> None:
    assert owner.stdout
    parts = urlsplit(owner.stdout.readline().strip())
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as connection:
        owner.kill()
        assert connection.recv(1) == b""


def test_ctrl_c_reaches_the_owner_and_not_the_site(owner: subprocess.Popen[str]) -> None:
    assert owner.stdout
    owner.stdout.readline()
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.stdout.readline() == "200\n"
    assert owner.wait(PATIENCE) == 0


def test_in_the_foreground_it_says_where_it_is_and_ends_cleanly_on_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "crawler.demo", "--port=0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        said = server.stdout.readline()
        assert server.stdout.readline() == "Ctrl-C closes it.\n"
        server.send_signal(signal.SIGINT)
        rest, errors = server.communicate(timeout=PATIENCE)
    assert re.search(r"http://127\.0\.0\.1:\d+/ ", said)
    assert (server.returncode, rest, errors) == (0, "", "")


def test_the_demo_knows_nothing_of_the_crawler() -> None:
    """It starts fast because it imports only itself and the standard library."""
    listing = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    code = demo._BOOT.replace("sys.exit(main())", listing)
    package = str(Path(demo.__file__).parents[1])
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, package], capture_output=True, check=True
    ).stdout
    modules = json.loads(out)
    ours = {name for name in modules if name.startswith("crawler.")}
    assert {name for name in ours if not name.startswith("crawler.demo")} == set()
    assert not {"http.server", "email", "requests", "multiprocessing"} & set(modules)
    assert directions.__name__ in ours
