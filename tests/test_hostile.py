"""One bad page costs one page: whatever a server sends or a spider does, the next page is fine.

Each row is named by the id of its fault in our list of faults: H (hostile answers), S (advisories
of Scrapy), L (of the libraries we stand on), T (classes without a version to blame). Rows that
are one function's business stand in that function's tests, by the same ids: `pytest -k h6_`.

| row | why it isn't tested here |
|---|---|
| S1, S2, L4, T12, H27's cap | the engine keeps cookies: test_cookies, test_sessions |
| S3, S14 | there is no setting for credentials but those of a proxy |
| S6, S7, L3 | test_fetchers: one proxy for all, whatever the environment says |
| S16, T8 | nothing here listens |
| S17, H18's limit | the scheduler's: test_following, test_url |
| L2, L5 | verification can't be switched off; no temporary file while fetching |
| L14 | no XML is read |
| L15 | there is no sanitiser |
| L13, L16 | html.parser isn't used, nor selectors that a page brings |
| L17 | robots.txt: test_robots |
| T4, T5, T6, T7, T9, T13 | files, terminals: test_publish, test_output, test_escape, test_layers |
| T10 | regular expressions of the user's own settings are trusted |
| DNS that hangs | getaddrinfo can't be told to hurry; the resolver's own limits hold (10 s or so) |
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

import crawler
from crawler import Response, demo
from crawler.demo import PracticeSite
from crawler.run import CrawlResult
from test_fetchers import Script, answer

SPIDERS = Path(__file__).parent / "hostile_spiders.py"
ITEM = "item"

ROWS = [
    ("h1_length_too_long", "/length/too-long", "truncated"),
    ("h2_length_too_short", "/length/too-short", ITEM),
    ("h3_length_negative", "/length/negative", ITEM),  # the end of the connection is the end
    ("h3_length_word", "/length/word", ITEM),
    ("h4_two_lengths", "/length/twice", "protocol"),
    ("h5_bad_chunk", "/chunked/broken", "truncated"),
    ("h5_cut_chunk", "/chunked/truncated", "truncated"),
    ("h5_no_last_chunk", "/chunked/without-end", "truncated"),
    ("h6_gzip_cut_off", "/gzip/truncated", "truncated"),
    ("h6_gzip_and_more", "/gzip/trailing", ITEM),
    ("h7_gzip_garbage", "/gzip/garbage", "decode"),
    ("h7_not_gzip", "/gzip/not-gzip", "decode"),
    ("h8_s9_bomb", "/gzip-bomb?mb=1024", "too-large"),
    ("h9_endless", "/endless", "too-large"),
    ("h10_slow_body", "/drip?bytes=1000&interval=0.1", "timeout"),
    ("h10_slow_headers", "/slow-headers?n=1000&interval=0.1", "timeout"),
    ("h11_no_answer", "/hang", "timeout"),
    ("h12_long_header", "/headers/long?kb=100", "protocol"),
    ("h13_many_headers", "/headers/many?n=1000", "protocol"),
    ("h14_header_flood", "/headers/flood?mb=100", "protocol"),
    ("h15_early_hints", "/early-hints", ITEM),
    ("h16_some_continue", "/continue-flood?n=2000", ITEM),
    ("h16_many_continue", "/continue-flood?n=100000", "protocol"),
    ("h17_bad_status", "/not-http/bad-status", "protocol"),
    ("h17_no_status_line", "/not-http/no-status-line", "protocol"),
    ("h17_ssh", "/not-http/ssh", "protocol"),
    ("h17_reset", "/reset", "connection"),
    ("h17_reset_in_body", "/reset?after=500", "connection"),
    ("h17_close", "/close", "connection"),
    ("h18_loop", "/redirect-loop", "redirect"),
    ("h18_chain", "/redirect/60", "redirect"),
    ("h19_location_latin_1", "/bad-redirect/latin-1", ITEM),
    ("h20_location_bracket", "/bad-redirect/bracket", "redirect"),
    ("h21_location_port", "/bad-redirect/port", "redirect"),
    ("h22_location_empty", "/bad-redirect/empty", "redirect"),
    ("h22_location_missing", "/bad-redirect/missing", "status"),
    ("h23_s8_location_javascript", "/bad-redirect/javascript", "redirect"),
    ("h23_s8_location_file", "/bad-redirect/file", "redirect"),
    ("h23_s8_location_ftp", "/bad-redirect/ftp", "redirect"),
    ("h23_s8_location_data", "/bad-redirect/data", "redirect"),
    ("h24_charset_unknown", "/charset/utf-8?as=foo-1", ITEM),
    ("h24_charset_zlib", "/charset/utf-8?as=zlib_codec", ITEM),
    ("h24_charset_hex_in_meta", "/charset/utf-8?as=hex&declared=meta", ITEM),
    ("h25_bad_base", "/html/bad-base", ITEM),
    ("h26_deep", "/html/deep?depth=100000", ITEM),
    ("h27_cookie_flood", "/cookies/flood?n=60", ITEM),
    ("h28_not_modified", "/status/304", "status"),
    ("h28_part", "/partial", "status"),
    ("h29_no_content", "/no-content", ITEM),
    ("h29_empty", "/empty", ITEM),
    ("h30_all_bytes", "/bytes", ITEM),
    ("h30_invalid_utf8", "/invalid-utf8", ITEM),
    ("s11_unclosed_tags", "/html/repeated?kb=1024&text=<nod", ITEM),
    ("s11_comments", "/html/repeated?kb=1024&text=<!--", ITEM),
    ("s11_bases", "/html/repeated?kb=1024&text=<base", ITEM),
    ("s15_big", "/big?mb=100", "too-large"),
    ("l9_gzip_5_times", "/gzip-chain/5", ITEM),
    ("l9_gzip_20_times", "/gzip-chain/20", "decode"),
    ("l10_redirect_bomb", "/redirect-bomb?mb=1024", ITEM),
    ("l11_chunk_size", "/chunk-size?mb=200", "protocol"),
    ("l12_absurd_length", "/length/absurd", "truncated"),
    ("l18_line_break", "/empty\r\nX-Smuggled: yes", "url"),
    ("l19_at_signs", "@" * 100_000, "url"),
    ("l19_percent_signs", "/" + "%" * 100_000, "url"),
]
MODES: list[dict[str, Any]] = [
    {"mode": "sequential"},
    {"mode": "threads", "workers": 8},
    {"mode": "processes", "workers": 2, "concurrency": 8, "fetcher": "requests"},
    {"mode": "async", "concurrency": 8},
]


def good_page_after(row: str) -> str:
    return f"/gzip?after={row}"


@dataclass(frozen=True)
class Crawled:
    """The site's URL, and what came of the crawls."""

    site: str
    results: list[CrawlResult]

    def outcomes(self, path: str) -> list[str]:
        url = self.site + path
        found = []
        for result in self.results:
            found += [ITEM for item in result.items if item["asked"] == url]
            for failure in result.failures:
                if (failure.get("redirected_from") or [failure["url"]])[0] == url:
                    found.append(failure["kind"])
        return found


@pytest.fixture(scope="module", params=MODES, ids=lambda way: str(way["mode"]))
def crawled(request: pytest.FixtureRequest) -> Iterator[Crawled]:
    """All rows in two crawls, each followed by a good page.

    The rows that take for ever have a short time-out; the machine may be too busy for all others
    to keep it, some of which are 100 MB.
    """
    timeouts = [row for row in ROWS if row[2] == "timeout"]
    others = [row for row in ROWS if row[2] != "timeout"]
    with demo.start(port=0) as site:
        results = []
        for rows, timeout in ((timeouts, 1.5), (others, 30.0)):
            paths = [path for row, bad, _ in rows for path in (bad, good_page_after(row))]
            result = crawler.run(
                f"{SPIDERS}:read",
                urls=[site.url + path for path in paths],
                timeout=timeout,
                retries=0,
                max_body=2**21,
                **request.param,
            )
            results.append(result)
        yield Crawled(site.url, results)


@pytest.mark.parametrize(("row", "path", "outcome"), ROWS, ids=[row for row, _, _ in ROWS])
def test_f28_a_bad_page_has_one_outcome_and_the_next_is_good(
    crawled: Crawled, row: str, path: str, outcome: str
) -> None:
    assert crawled.outcomes(path) == [outcome]
    assert crawled.outcomes(good_page_after(row)) == [ITEM]


def test_all_pages_are_accounted_for_and_no_worker_died(crawled: Crawled) -> None:
    ends = sum(len(result.items) + len(result.failures) for result in crawled.results)
    assert ends == 2 * len(ROWS)
    for result in crawled.results:
        assert (result.stats.worker_deaths, result.exit_code) == (0, 3)


def test_h25_h26_links_of_bad_pages_are_found(crawled: Crawled) -> None:
    site = crawled.site
    items = [item for result in crawled.results for item in result.items]
    links = {item["asked"]: (item["links"], item["last"]) for item in items}
    assert links[site + "/html/bad-base"][0] == [f"{site}/empty"]
    assert links[site + "/html/deep?depth=100000"] == ([f"{site}/empty"], "/empty")


def test_h8_s9_s15_l10_l12_memory_stays_small() -> None:
    """In this process, with pages of 2 MB at most; what has been imported doesn't count."""
    with demo.start(port=0) as site:

        def crawl(*paths: str) -> None:
            crawler.run(
                f"{SPIDERS}:read",
                urls=[site.url + path for path in paths],
                mode="sequential",
                retries=0,
                max_body=2**21,
            )

        crawl("/gzip", "/big?mb=1")
        before = psutil.Process().memory_info().rss
        crawl(
            "/gzip-bomb?mb=1024",
            "/redirect-bomb?mb=1024",
            "/gzip-chain/20",
            "/endless",
            "/big?mb=300",
            "/length/absurd",
            "/chunk-size?mb=200",
            "/headers/flood?mb=100",
        )
        assert psutil.Process().memory_info().rss - before < 100 * 2**20


# ---- What a practice site can't send ----


def one(url: str, **settings: Any) -> CrawlResult:
    return crawler.run(
        f"{SPIDERS}:read", urls=[url], mode="sequential", retries=0, robots=False, **settings
    )


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br"])
def test_s10_a_coding_that_nobody_asked_for(coding: str) -> None:
    with Script(answer(b"\x1b\x03\x00", f"Content-Encoding: {coding}")) as server:
        (failure,) = one(server.url).failures
    assert failure["kind"] == "decode"
    assert f"'{coding.rpartition(' ')[2]}' was not asked for" in failure["message"]


CODE = ["sys.exit", "os.system", "crawler.worker.run", "__import__('os')._exit(1)"]


@pytest.mark.parametrize("value", CODE)
def test_s12_no_value_of_an_answer_names_code(value: str) -> None:
    names = ["Referrer-Policy", "Content-Language", "Refresh", "Link", "Server", "X-Powered-By"]
    headers = [f"{name}: {value}" for name in [*names, "Set-Cookie"]]
    metas = "".join(f'<meta name="{name}" http-equiv="{name}" content="{value}">' for name in names)
    body = f'{metas}<meta charset="{value}"><title>{value}</title>'.encode()
    with Script(answer(body, *headers, f"Content-Type: text/html; charset={value}")) as server:
        (item,) = one(server.url).items
    assert item["title"] == value


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "declared",
    [f'<!ENTITY l0 "ha">{LAUGHS}', '<!ENTITY l9 SYSTEM "file:///etc/hostname">'],
    ids=["billion laughs", "a file"],
)
def test_s18_entities_are_not_expanded(declared: str) -> None:
    page = f'<?xml version="1.0"?><!DOCTYPE p [{declared}]><p>&l9;</p>'
    assert Response("https://x.test/", page).css("p::text").get() == "&l9;"


@pytest.mark.parametrize("host", ["a" * 100_000, "x." * 50_000, "\u00fc" * 100_000, "a" * 254])
def test_l20_a_host_is_refused_by_its_length_first(host: str) -> None:
    (failure,) = one(f"http://{host}/").failures
    assert failure["kind"] == "url"


# ---- Where links may lead ----


@pytest.fixture
def other_host() -> Iterator[PracticeSite]:
    """A site on another address of this machine, which counts."""
    with demo.start(port=0, host="127.0.0.2") as site:
        yield site


LINKS_IN_DISGUISE = [
    ("{site}/x/%2e%2e/private/1", "robots"),
    ("{site}/x/.%2e/private/2", "robots"),
    ("\\private\\3", "robots"),
    ("/x\\..\\private/4", "robots"),
    ("http://127.0.0.2:9\\@127.0.0.1/5", "scope"),
    ("\\\\127.0.0.2:9\\6", "scope"),
]


@pytest.mark.parametrize("link", LINKS_IN_DISGUISE, ids=lambda link: link[0])
def test_a_link_is_judged_as_it_is_fetched(site: PracticeSite, link: tuple[str, str]) -> None:
    """A browser reads a backslash as a slash, and `%2e%2e` as two dots."""
    text, why = link
    start = f"{site.url}/html/titled?text={quote(text.format(site=site.url))}"
    result = crawler.run(f"{SPIDERS}:follow", urls=[start], mode="sequential", retries=0)
    assert [item["url"] for item in result.items] == [start]
    assert (result.stats.skipped, result.failures) == ({why: 1}, [])


def hits(site: PracticeSite) -> int:
    (item,) = crawler.run(
        f"{SPIDERS}:count", urls=[f"{site.url}/stats"], mode="sequential", robots=False
    ).items
    return int(item["requests"])


# Each gets a path of its own: those that are the same address would be duplicates.
INSIDE = {
    "127.0.0.2": "127.0.0.2",
    "0x7f000002": "127.0.0.2",
    "2130706434": "127.0.0.2",
    "127.2": "127.0.0.2",
    "0177.0.0.2": "127.0.0.2",
    "localhost": "localhost",
    "[::1]": "[::1]",
    "[::ffff:127.0.0.2]": "[::ffff:7f00:2]",
}
"""How a link writes a host, and how it is asked for."""


@pytest.mark.parametrize("way", ["link", "redirect"])
@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_t1_a_private_start_opens_its_own_host_only(
    site: PracticeSite, other_host: PracticeSite, mode: str, way: str
) -> None:
    port = other_host.url.rpartition(":")[2]
    own = [f"{site.url}/empty"]
    links = [*(f"http://{host}:{port}/empty?{host}" for host in INSIDE), *own]
    inside = [f"http://{host}:{port}/empty?{name}" for name, host in INSIDE.items()]
    if way == "redirect":
        links = [f"{site.url}/redirect-to?url={quote(target, safe='')}" for target in links]
    start = f"{site.url}/html/titled?text={quote(' '.join(links))}"
    result = crawler.run(f"{SPIDERS}:follow", urls=[start], mode=mode, retries=0, allow_hosts=["*"])
    assert [item["url"] for item in result.items] == [start, *own]
    assert [(failure["url"], failure["kind"]) for failure in result.failures] == [
        (target, "address") for target in inside
    ]
    assert hits(other_host) == 0


def test_t1_the_user_decides(site: PracticeSite, other_host: PracticeSite) -> None:
    start = f"{site.url}/html/titled?text={other_host.url}/empty"
    for rule, pages in (("auto", 1), ("allow", 2), ("deny", 0)):
        result = crawler.run(
            f"{SPIDERS}:follow",
            urls=[start],
            mode="sequential",
            allow_hosts=["*"],
            private_addresses=rule,
        )
        assert len(result.items) == pages
    assert hits(other_host) == 2, "its robots.txt and its page"


def test_t2_a_public_start_that_moves_inside_is_not_followed_there(
    site: PracticeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name has a public address first (which leads to the practice site here), then not."""
    port = int(site.url.rpartition(":")[2])
    lookups = []
    connect = socket.socket.connect

    def look_up(host: str, *_: Any) -> Any:
        assert host == "moving.example"
        lookups.append(host)
        address = "1.1.1.1" if len(lookups) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def dial(self: socket.socket, address: Any) -> None:
        assert lookups == ["moving.example"], "it was refused before"
        connect(self, ("127.0.0.1", port))

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket.socket, "connect", dial)
    start = f"http://moving.example:{port}"
    result = crawler.run(
        f"{SPIDERS}:follow",
        urls=[f"{start}/html/titled?text=/close%20/empty", f"{start}/close"],
        mode="sequential",
        retries=0,
    )
    assert len(result.items) == 1
    kinds = [(failure["url"], failure["kind"]) for failure in result.failures]
    assert kinds == [(f"{start}/close", "connection"), (f"{start}/empty", "address")]
    assert len(lookups) == 2


# ---- What spiders do, in processes ----

DEEDS = {
    "recursion": ("spider", "RecursionError"),
    "error": ("spider", "ValueError: broken"),
    "exit": ("spider", "SystemExit: 3"),
    "os-exit": ("worker", "twice (exit code 0)"),
    "sigkill": ("worker", "twice (killed by SIGKILL)"),
    "segfault": ("worker", "twice (killed by SIGSEGV)"),
    "regex": ("page-timeout", "its process was killed"),
    "sleep": ("page-timeout", "its process was killed"),
    "items": ("too-large", "the page gave more than 1,000 items (max_page_items)"),
    "links": ("too-large", "the page gave more than 2,000 links (max_page_links)"),
    "bytes": ("spider", "MemoryError"),
    "memory": ("spider", "MemoryError"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_f15_f29_a_spider_that_fails_at_one_page_in_five_costs_these_pages(
    site: PracticeSite, deed: str
) -> None:
    does = [deed if number % 5 == 2 else "good" for number in range(10)]
    urls = [f"{site.url}/gzip?{name}{number}" for number, name in enumerate(does)]
    result = crawler.run(
        f"{SPIDERS}:misbehave",
        urls=urls,
        mode="processes",
        workers=2,
        concurrency=6,
        page_timeout=3.0 if DEEDS[deed][0] == "page-timeout" else 60.0,
        max_page_items=1_000,
        max_page_links=2_000,
        worker_memory="300M",
    )
    kind, message = DEEDS[deed]
    assert [failure["url"] for failure in result.failures] == [u for u in urls if deed in u]
    assert {failure["kind"] for failure in result.failures} == {kind}
    assert all(message in failure["message"] for failure in result.failures)
    assert len(result.items) == 8
