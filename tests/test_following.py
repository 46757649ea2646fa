"""Following links: the same pages in the same order for any timing, in every mode."""

from __future__ import annotations

import heapq
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crawler
from command_line import crawl, spider_file
from crawler import Request, Response, spider
from crawler.demo import PracticeSite
from crawler.errors import UsageError
from crawler.result import Failure, Result
from static_site import served
from test_engine import Shuffled, make_engine, number_of

GONE = Failure("status", "the server answered 404", status=404)
BUSY = Failure("status", "the server answered 503", status=503, retryable=True)


@dataclass(frozen=True)
class Page:
    """A page of a made-up site: links, or a redirect, or an error; fails so often before."""

    links: tuple[int, ...]
    moved_to: int | None
    is_gone: bool
    failures: int
    priority: int = 0
    """Of the links that lead to it."""

    def follow(self, site: list[Page]) -> list[Request]:
        """Its links as requests."""
        return [Request(url(number), priority=site[number].priority) for number in self.links]


def url(number: int) -> str:
    return f"http://site.test/{number}"


pages = st.builds(
    Page,
    links=st.lists(st.integers(0, 19), max_size=6).map(tuple),
    moved_to=st.none() | st.none() | st.none() | st.integers(0, 19),
    is_gone=st.sampled_from([False, False, False, False, True]),
    failures=st.sampled_from([0, 0, 0, 1, 2]),
    priority=st.sampled_from([0, 0, 0, 0, 1, 2, -1]),
)
sites = st.lists(pages, min_size=20, max_size=20)


def sequentially(
    site: list[Page], starts: list[int], max_pages: int | None, max_depth: int | None
) -> tuple[list[Any], list[str]]:
    """What a plain crawl with a queue finds: (items, URLs that failed)."""
    queue = [(-(10**9), place, number, 0) for place, number in enumerate(starts)]
    found = len(queue)
    seen = set(starts)
    items, failed, asked = [], [], 0
    while queue and asked != max_pages:
        turn, _, number, depth = heapq.heappop(queue)
        is_start = turn == -(10**9)
        asked += 1
        passed = [number]
        while (next_one := site[passed[-1]].moved_to) not in (None, passed[-1]):
            if next_one is None or len(passed) > 20:
                break
            passed.append(next_one)
        last = passed[-1]
        if len(passed) > 1:
            is_new = last not in seen
            seen.add(last)
            if not is_new and not is_start:
                asked -= 1  # it was no page
                continue
        if site[last].is_gone or site[last].moved_to is not None:
            failed.append(url(last))
            continue
        number = last
        items.append({"n": number})
        for link in site[number].links:
            if (max_depth is None or depth < max_depth) and link not in seen:
                seen.add(link)
                found += 1
                heapq.heappush(queue, (-site[link].priority, found, link, depth + 1))
    return items, failed


@given(
    site=sites,
    starts=st.lists(st.integers(0, 19), min_size=1, max_size=4),
    max_pages=st.none() | st.integers(1, 12),
    max_depth=st.none() | st.integers(0, 3),
    slots=st.integers(1, 8),
    window=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_any_site_is_crawled_in_the_order_of_a_queue(
    site: list[Page],
    starts: list[int],
    max_pages: int | None,
    max_depth: int | None,
    slots: int,
    window: int,
    seed: int,
) -> None:
    """Cycles, duplicates, redirects, errors, answers in any order: the result is one."""
    asked: dict[int, int] = {}

    def answer(request: Request) -> Result:
        number = number_of(request)
        page = site[number]
        asked[number] = asked.get(number, 0) + 1
        if asked[number] <= page.failures:
            return Result(failure=BUSY, status=503)
        if page.moved_to is not None:
            return Result(redirect=url(page.moved_to), status=302)
        if page.is_gone:
            return Result(failure=GONE, status=404)
        return Result(items=[{"n": number}], follow=page.follow(site))

    engine, sink = make_engine(
        Shuffled(answer, seed),
        iter([Request(url(number)) for number in starts]),
        slots=slots,
        window=window,
        retries=10,
        max_pages=max_pages,
        max_depth=max_depth,
    )
    assert engine.crawl()
    items, failed = sequentially(site, starts, max_pages, max_depth)
    assert sink.items == items
    assert [record["url"] for record in sink.failures] == failed
    assert [record["rank"] for record in sink.failures] == sorted(
        record["rank"] for record in sink.failures
    )


@given(
    last=st.integers(0, 6),
    links=st.lists(st.lists(st.integers(0, 14), max_size=4), min_size=15, max_size=15),
    slots=st.integers(1, 8),
    window=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_pages_behind_the_end_are_followed_like_any_others(
    last: int, links: list[list[int]], slots: int, window: int, seed: int
) -> None:
    """`until-empty` asks for pages behind the end, more or fewer; links may lead there too."""

    def answer(request: Request) -> Result:
        number = number_of(request)
        if number == last and "start" in request.meta:
            return Result(status=200)
        return Result(items=[{"n": number}], follow=[Request(url(n)) for n in links[number]])

    starts = (Request(url(number), meta={"start": True}) for number in range(15))
    engine, sink = make_engine(
        Shuffled(answer, seed), starts, slots=slots, window=window, until_empty=True
    )
    assert engine.crawl()
    expected = list(range(last))
    for number in expected:
        expected += [n for n in dict.fromkeys(links[number]) if n not in expected and n != last]
    assert [item["n"] for item in sink.items] == expected


@spider(url="http://127.0.0.1:1/graph/7/60/")
def graph(response: Response) -> Any:
    """All pages of the practice site's link graph."""
    yield {"url": response.url, "title": response.css("title::text").get()}
    yield from response.follow_all(css="a")


WAYS: list[dict[str, Any]] = [
    {"mode": "sequential"},
    {"mode": "threads", "workers": 2, "window": 3},
    {"mode": "threads", "workers": 12},
    {"mode": "processes", "workers": 2, "concurrency": 8},
    {"mode": "processes", "workers": 2, "concurrency": 8, "fetcher": "requests"},
    {"mode": "async", "concurrency": 16},
]


def test_every_mode_crawls_a_graph_alike(site: PracticeSite) -> None:
    results = [crawler.run(graph, site=site.url, deny="/stats", **way) for way in WAYS]
    first = results[0]
    assert len({item["url"] for item in first.items}) == len(first.items) >= 60
    for result in results[1:]:
        assert result.items == first.items
        assert result.stats.skipped == first.stats.skipped
        assert [f["url"] for f in result.failures] == [f["url"] for f in first.failures]


def detail(response: Response) -> dict[str, Any]:
    return {"detail": response.css("h1::text").get(), "list": response.meta["list"]}


@spider(url="http://127.0.0.1:1/chain/4/5/list/1")
def chain(response: Response, *, stop: int = 99) -> Any:
    """Lists that are chained by "next", with details on each."""
    number = int(response.url.rpartition("/")[2])
    for link in response.css("a[href*=detail]"):
        yield response.follow(link, callback=detail, meta={"list": number})
    if number < stop:
        yield from response.follow_all(css="a[rel=next]")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_callbacks_get_the_pages_that_are_theirs(way: dict[str, Any], site: PracticeSite) -> None:
    result = crawler.run(chain, site=site.url, **way)
    assert not result.failures
    # Breadth first: a list's details come before those of the next list.
    assert [item["list"] for item in result.items] == [n for n in (1, 2, 3, 4) for _ in range(5)]
    short = crawler.run(chain, site=site.url, arguments={"stop": 2}, **way)
    assert [item["list"] for item in short.items] == [1] * 5 + [2] * 5


def test_limits_cut_at_the_same_place_in_every_mode(site: PracticeSite) -> None:
    whole = crawler.run(graph, site=site.url, deny="/stats").items
    for way in WAYS:
        assert (
            crawler.run(graph, site=site.url, deny="/stats", max_items=17, **way).items
            == whole[:17]
        )
        few = crawler.run(graph, site=site.url, deny="/stats", max_pages=13, **way)
        assert few.stats.pages + few.stats.failed == 13
        assert few.items == whole[: len(few.items)]
        assert crawler.run(graph, site=site.url, max_depth=0, **way).stats.requests == 1


def test_without_an_order_the_same_pages_are_found(site: PracticeSite) -> None:
    whole = crawler.run(graph, site=site.url, deny="/stats")
    for way in WAYS:
        result = crawler.run(graph, site=site.url, deny="/stats", order="completion", **way)
        assert sorted(item["url"] for item in result.items) == sorted(
            item["url"] for item in whole.items
        )


def test_without_an_order_nobody_waits_for_a_slow_page(site: PracticeSite) -> None:
    def where(response: Response) -> dict[str, str]:
        return {"url": response.url}

    urls = [f"{site.url}/delay/0.5", f"{site.url}/empty", f"{site.url}/headers"]
    result = crawler.run(where, urls=urls, order="completion", workers=3)
    assert result.items[-1] == {"url": urls[0]}
    with pytest.raises(UsageError, match="until-empty needs an order"):
        crawler.run(graph, site=site.url, pages="until-empty", order="completion")


def test_links_leave_the_start_hosts_only_when_allowed(site: PracticeSite) -> None:
    def outside(response: Response) -> Any:
        yield {"url": response.url}
        yield response.follow("/empty")
        yield response.follow("http://127.0.0.2:9/elsewhere")

    start = [f"{site.url}/headers"]
    result = crawler.run(outside, urls=start)
    assert [item["url"] for item in result.items] == [f"{site.url}/headers", f"{site.url}/empty"]
    assert result.stats.skipped == {"scope": 1, "duplicate": 2}
    allowed = crawler.run(outside, urls=start, allow_hosts=["127.0.0.2"], retries=0)
    assert [f["url"] for f in allowed.failures] == ["http://127.0.0.2:9/elsewhere"]


def test_a_link_that_can_not_be_a_request_says_so() -> None:
    page = Response("https://x.test/", "<a href='/a'>a</a><a href='mailto:m'>m</a><b>no link</b>")
    assert [r.url for r in page.follow_all(css="a")] == ["https://x.test/a"]
    assert page.follow(page.css("a")[0]).url == "https://x.test/a"
    assert page.follow(page.css("a::attr(href)")[0], meta={"k": 1}).meta == {"k": 1}
    with pytest.raises(ValueError, match="<b> has neither href nor src"):
        page.follow(page.css("b")[0])
    with pytest.raises(TypeError, match="either css= or xpath="):
        list(page.follow_all(css="a", xpath="//a"))


def test_a_callback_that_is_not_there_fails_the_page(site: PracticeSite) -> None:
    def wrong(response: Response) -> Any:
        yield response.follow("/empty", callback="nosuch")

    result = crawler.run(wrong, urls=[f"{site.url}/headers"])
    assert "nosuch" in result.failures[0]["message"]


def test_from_the_command_line(tmp_cwd: Path, site: PracticeSite) -> None:
    file = spider_file(
        tmp_cwd / "walk.py",
        f"@spider(url='{site.url}/graph/3/30/')\n"
        "def walk(response):\n"
        "    yield {'url': response.url}\n"
        "    yield from response.follow_all(xpath='//a')\n",
    )
    done = crawl("run", str(file), "--max-pages", "9", "--deny", "/stats", "--deny", "moved")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(Path("output/walk.json").read_text())) == 9


@spider(url="http://127.0.0.1:1/headers")
def with_a_closure(response: Response) -> Any:
    """A callback that other processes can't find."""

    def inner(response: Response) -> dict[str, str]:
        return {"url": response.url}

    yield response.follow("/empty", callback=inner)


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_a_callback_that_a_resumed_crawl_could_not_find_is_refused(
    site: PracticeSite, mode: str
) -> None:
    result = crawler.run(with_a_closure, site=site.url, mode=mode)
    assert "write a function (def) at the top of the module" in result.failures[0]["message"]


def test_a_spider_without_a_name_may_have_such_callbacks(site: PracticeSite) -> None:
    """As in a notebook; nobody else can find the spider itself, so such a run isn't resumed."""

    def outer(response: Response) -> Any:
        yield response.follow("/empty", callback=lambda page: {"url": page.url})

    (item,) = crawler.run(outer, urls=[f"{site.url}/headers"]).items
    assert item == {"url": f"{site.url}/empty"}


def test_a_callback_of_any_kind_fails_its_page_only(site: PracticeSite) -> None:
    def outer(response: Response) -> Any:
        yield response.follow("/empty", callback=dict)
        yield response.follow("/headers?2", callback=lambda page: {"url": page.url})

    result = crawler.run(outer, urls=[f"{site.url}/headers"])
    assert [failure["kind"] for failure in result.failures] == ["spider"]
    assert len(result.items) == 1


@given(seed=st.integers(0, 1000), slots=st.integers(1, 4))
def test_requests_that_are_equal_but_not_the_same_are_told_apart(seed: int, slots: int) -> None:
    """Two pages link to a third with other meta; the first in rank wins, not the first to come."""

    def answer(request: Request) -> Result:
        number = number_of(request)
        meta: Any = {0: 1, 1: True}.get(number)
        follow = [Request(url(2), meta={"k": meta})] if number < 2 else []
        return Result(items=[{"n": number, "meta": repr(request.meta)}], follow=follow)

    starts = iter([Request(url(0)), Request(url(1))])
    engine, sink = make_engine(Shuffled(answer, seed), starts, slots=slots)
    assert engine.crawl()
    assert sink.items[2] == {"n": 2, "meta": "{'k': 1}"}


def test_a_stuck_page_behind_the_end_does_not_hold_up_the_crawl() -> None:
    stuck, release = threading.Event(), threading.Event()

    def page(url: str) -> dict[str, str]:
        if url.endswith("/3"):
            stuck.set()
            release.wait(60)
        assert stuck.wait(20)
        return {"url": url}

    try:
        result = crawler.run(page, urls="http://x.test/{1..3}", max_items=2)
        assert [item["url"][-1] for item in result.items] == ["1", "2"]
        assert not release.is_set()
    finally:
        release.set()


def test_what_makes_two_urls_the_same_can_be_set(site: PracticeSite) -> None:
    @spider()
    def listing(response: Response) -> Any:
        yield {"url": response.url.partition("/empty")[2]}
        if response.url.endswith("/empty"):
            for end in ("#a", "#b", "?utm_source=x", "?sid=1", "?sid=2"):
                yield response.follow(f"/empty{end}")

    def found(**settings: Any) -> list[str]:
        items = crawler.run(listing, urls=[f"{site.url}/empty"], **settings).items
        return [item["url"] for item in items]

    assert found() == ["", "?utm_source=x", "?sid=1", "?sid=2"]
    assert found(keep_fragments=True) == ["", "#a", "#b", "?utm_source=x", "?sid=1", "?sid=2"]
    assert found(drop_parameters="tracking") == ["", "?sid=1", "?sid=2"]
    assert found(drop_parameters=["s*", "tracking"]) == [""]


def test_follow_all_keeps_fragments_when_the_crawl_does(tmp_path: Path) -> None:
    @spider()
    def pages(response: Response) -> Any:
        yield {"end": response.url.rpartition("/")[2]}
        yield from response.follow_all()

    (tmp_path / "app").write_text('<a href="#1">1</a> <a href="#2">2</a> <a href="#1">1</a>')

    def found(**settings: Any) -> list[str]:
        items = crawler.run(pages, urls=[f"{url}/app"], **settings).items
        return [item["end"] for item in items]

    with served(tmp_path) as url:
        assert found() == ["app"]
        assert found(keep_fragments=True) == ["app", "app#1", "app#2"]


def test_what_was_left_out_can_be_listed(site: PracticeSite, tmp_cwd: Path) -> None:
    spider_file(
        tmp_cwd / "walk.py",
        "@spider()\ndef walk(response):\n"
        "    yield {}\n"
        "    for href in ['/a', '/a', 'http://other.test/', '/no', '/private']:\n"
        "        yield response.follow(href)\n",
    )
    done = crawl(
        "run", "walk.py", "--urls", f"{site.url}/empty", "--deny", "/no", "--log-skipped", "-q"
    )
    assert done.returncode == 3, "there is no page /a"
    (listed,) = tmp_cwd.glob("output/runs/walk/2*/skipped.jsonl")
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    assert sorted((line["reason"], line["url"].removeprefix(site.url)) for line in lines) == [
        ("deny", "/no"),
        ("duplicate", "/a"),
        ("robots", "/private"),
        ("scope", "http://other.test/"),
    ]
    assert {line["parent"] for line in lines} == {0}


@pytest.mark.parametrize("mode", ["sequential", "threads", "processes", "async"])
def test_urgent_links_come_first_in_every_mode(
    site: PracticeSite, mode: str, tmp_cwd: Path
) -> None:
    """As in a sequential crawl: what is asked for next is the most urgent of what is known."""
    body = """
@spider()
def walk(response):
    name = response.url.partition("/empty?")[2]
    yield {"name": name}
    links = {"": [("a", 0), ("b", 0), ("c", -1)], "a": [("d", 5), ("e", 0)], "d": [("f", 9)],
             "b": [("g", 1)]}
    for child, priority in links.get(name, []):
        yield response.follow(f"/empty?{child}", priority=priority)
"""
    file = spider_file(tmp_cwd / "walk.py", body)
    result = crawler.run(str(file), urls=[f"{site.url}/empty"], mode=mode, max_pages=7)
    assert "".join(item["name"] for item in result.items) == "adfbge"


def test_a_priority_is_a_whole_number(site: PracticeSite) -> None:
    @spider()
    def walk(response: Response) -> Any:
        yield response.follow("/a", priority=1.5)

    (failure,) = crawler.run(walk, urls=[f"{site.url}/empty"]).failures
    assert "the priority 1.5 is no whole number" in failure["message"]


FORBIDDEN_FIRST = """
@spider()
def forbidden_first(response):
    yield {"url": response.url}
    if response.url.endswith("/empty"):
        for number in range(20):
            yield response.follow(f"/private/{number}")
        for number in range(20):
            yield response.follow(f"/empty?{number}")
"""


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_links_that_robots_txt_forbids_leave_room_for_pages(
    way: dict[str, Any], site: PracticeSite, tmp_cwd: Path
) -> None:
    file = spider_file(tmp_cwd / "forbidden_first.py", FORBIDDEN_FIRST)
    result = crawler.run(str(file), urls=[f"{site.url}/empty"], max_pages=10, **way)
    assert [item["url"] for item in result.items] == [
        f"{site.url}/empty",
        *(f"{site.url}/empty?{number}" for number in range(9)),
    ]
    assert result.stats.skipped == {"robots": 20}
