"""Endless sites come to an end by themselves; sites that are only large are crawled whole."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crawler
from command_line import crawl, spider_file
from crawler import Request, Response, spider, traps
from crawler.demo import PracticeSite
from crawler.engine import Stats
from crawler.errors import CrawlError
from crawler.journal import Journal
from crawler.ranks import Ranks, Skipped
from crawler.result import Result
from crawler.scope import Scope
from crawler.traps import ADVICE, Families, catches, family
from crawler.url import MAX_URL_LENGTH
from journals import journal_in_memory
from test_engine import Lists, Shuffled, make_engine
from test_following import WAYS

# ---- What is judged by the link alone ----


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", None),
        ("/", None),
        ("/" + "/".join(f"level{n}" for n in range(15)), None),
        ("/" + "/".join(f"level{n}" for n in range(20)), None),
        ("/" + "/".join(f"level{n}" for n in range(20)) + "/", None),
        ("/" + "/".join(f"level{n}" for n in range(21)), "trap-path"),
        ("/a" + "/" * 30 + "b", "trap-path"),
        ("/?" + "a/" * 30, None),
        ("/#" + "a/" * 30, None),
        ("/a/a", None),
        ("/a/a/a", "trap-repeats"),
        ("/a/a/a/?b#c", "trap-repeats"),
        ("/x/a/a/a/y", "trap-repeats"),
        ("/a/b/a/b", None),
        ("/a/b/a/b/a", None),
        ("/a/b/a/b/a/b", "trap-repeats"),
        ("/x/a/b/a/b/a/b/y", "trap-repeats"),
        ("/a/b/c/a/b/c/a/b/c", "trap-repeats"),
        ("/a/1/a/1/a/1", "trap-repeats"),
        ("/a/b/a/c/a/d/a", None),
        ("/a/b/a/c/a/d/a/e/a", "trap-repeats"),
        ("/content/1/1/1", None),
        ("/2001/01/01/01/01/01", None),
        ("/tiles/1/2/1/2/1/2", None),
        ("/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1/1", "trap-path"),
        ("/css/css/css.css", None),
        ("/a/A/a/A", None),
    ],
)
def test_b1_a_path_without_an_end_is_known_by_its_look(path: str, rule: str | None) -> None:
    assert catches(f"https://x.example{path}", 1) == rule


def test_b1_a_link_is_too_deep_only_far_below_any_list() -> None:
    assert catches("http://x.example/", 2_000) is None
    assert catches("http://x.example/", traps.MAX_DEPTH) is None
    assert catches("http://x.example/", traps.MAX_DEPTH + 1) == "trap-depth"
    assert catches("http://x.example/", None) is None


@given(st.text() | st.text("ab/:?#").map("http://x/".__add__), st.none() | st.integers(0, 20_000))
def test_b1_any_text_is_judged(url: str, depth: int | None) -> None:
    assert catches(url, depth) in {None, *ADVICE}
    assert isinstance(family(url), int)
    assert len(Families().going_nowhere(url, [{"url": url}], [url, ""])) == 2


LONG = MAX_URL_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        "/" * LONG,
        "/a" * (LONG // 2),
        "/a/b" * (LONG // 4),
        "/1" * (LONG // 2),
        "/" + "1" * LONG + "a",
        "/" + "1." * (LONG // 2) + "a",
        ("/" + "1" * 400 + "a") * (LONG // 402),
        ";" * LONG,
        "/;a" * (LONG // 3),
        "?" + "1a" * (LONG // 2),
        "a" * LONG,
    ],
    ids=lambda text: f"{text[:12]}...",
)
def test_b1_a_long_url_takes_little_time(text: str) -> None:
    took = []
    for _ in range(3):
        began = time.process_time()
        url = f"http://x{text}"
        catches(url, 1)
        Families().going_nowhere(url, [{"url": url, "text": text * 10}], [url])
        took.append(time.process_time() - began)
    assert min(took) < 0.05


# ---- What is judged by what the pages gave ----


@pytest.mark.parametrize(
    "urls",
    [
        ["http://x/calendar/2026/11/", "http://x/calendar/2026/11/05", "http://x/calendar/1999"],
        [
            "http://x/viewtopic.php?t=1",
            "http://x/viewtopic.php?t=2&sid=abc",
            "http://x/viewtopic.php",
        ],
        ["http://x/list/page-2", "http://x/list/page-17/"],
        ["http://x/2026-11-05.html", "http://x/1-1-1.html"],
        ["http://x/a;jsessionid=1F/b", "http://x/a;jsessionid=2E/b?c"],
    ],
)
def test_b1_urls_that_differ_in_numbers_are_a_family(urls: list[str]) -> None:
    assert len(set(map(family, urls))) == 1


def test_b1_other_pages_are_other_families() -> None:
    urls = ["http://x/", "http://x/a", "http://x/b", "http://x/a/b", "http://y/a", "http://x/a/7"]
    assert len({family(url) for url in [*urls, "https://x/a", "http://x:81/a"]}) == 8


@contextmanager
def patience(pages: int, *, depth: int = traps.MAX_DEPTH) -> Iterator[None]:
    """The rules with smaller numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traps, "MAX_FRUITLESS", pages)
        patch.setattr(traps, "MAX_DEPTH", depth)
        yield


Pages = Callable[[str], tuple[list[dict[str, Any]], list[str]]]
"""A made-up site: what a spider gets from a URL, items and links."""


def walk(pages: Pages, *starts: str, **settings: Any) -> tuple[list[str], list[Skipped]]:
    """What a crawl asks for, and what it leaves out but for duplicates."""
    skipped: list[Skipped] = []
    journal = journal_in_memory()
    start = iter([Request(url) for url in starts])
    ranks = Ranks(start, journal=journal, scope=Scope(), skip=skipped.append, **settings)
    asked = []
    while (entry := ranks.next()) is not None:
        asked.append(entry.request.url)
        items, links = pages(entry.request.url)
        result = Result(items=items, follow=[Request(link) for link in links])
        ranks.committed(entry, result)
        ranks.follow(entry, result.follow, items=result.items)
        ranks.done(entry, result, items=len(items), left_out=None)
    journal.close()
    return asked, [each for each in skipped if each["reason"] != "duplicate"]


def number_in(url: str) -> int:
    return int(url.rpartition("=")[2])


def forum(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """100,000 threads under one path, on lists that are chained by "next"."""
    number = number_in(url)
    if "viewtopic" in url:
        return [{"thread": number}], [f"http://x/viewtopic.php?t={(number + 1) % 100_000}"]
    here = range(number * 100, number * 100 + 100)
    after = [f"http://x/viewforum.php?page={number + 1}"] if number < 999 else []
    return [], after + [f"http://x/viewtopic.php?t={topic}" for topic in here]


def shop(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """20,000 products, each with links to others, all on one list."""
    if url.endswith("/all"):
        return [], [f"http://x/product/{number}" for number in range(20_000)]
    number = int(url.rpartition("/")[2])
    others = [(number * 7 + step) % 20_000 for step in range(3)]
    return [{"id": number}], [f"http://x/product/{other}" for other in others]


def pagination(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """2,000 pages that are chained by "next" and give nothing that could be told apart."""
    number = number_in(url)
    return [{"page": number}], [f"http://x/?page={number + 1}"] if number < 2_000 else []


def comic(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """7,000 pages that are chained by "next", each with something of its own."""
    number = number_in(url)
    return [{"title": hex(number * 31)}], [f"http://x/?id={number + 1}"] if number < 7_000 else []


def silent(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """A binary tree of 30,000 pages of one family, for a spider that gives no items."""
    number = number_in(url)
    after = [number * 2, number * 2 + 1]
    return [], [f"http://x/?id={other}" for other in after if other <= 30_000]


def documentation(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Paths of 15 levels."""
    depth = url.count("/") - 2
    names = ("part", "chapter") if depth < 8 else ("section",)
    return [{"url": url}], [f"{url}/{name}-{depth}" for name in names] if depth < 15 else []


@pytest.mark.parametrize(
    ("pages", "start", "count"),
    [
        (forum, "http://x/viewforum.php?page=0", 101_000),
        (shop, "http://x/all", 20_001),
        (pagination, "http://x/?page=1", 2_000),
        (comic, "http://x/?id=1", 7_000),
        (silent, "http://x/?id=1", 30_000),
        (documentation, "http://x/docs", 2**7 - 1 + 8 * 2**7),
    ],
    ids=["forum", "shop", "pagination", "comic", "silent", "documentation"],
)
def test_b1_a_site_that_is_only_large_is_crawled_whole(
    pages: Pages, start: str, count: int
) -> None:
    asked, left_out = walk(pages, start)
    assert not left_out
    assert len(asked) == len(set(asked)) == count


def behind_the_end(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """40 real pages; behind them the last one comes again and again."""
    number = number_in(url)
    names = ["one", "two", "three"]
    real = [{"name": f"{name} of {min(number, 40) * 1000}"} for name in names]
    return real, [f"http://x/?page={number + 1}", "http://x/about?page=0"]


def topics(url: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Five topics, whose links carry another number each time."""
    topic, _, session = url.partition("&s=")
    found = [f"http://x/?t={number}&s={int(session or 7) * 31 + number}" for number in range(5)]
    return [{"url": url, "topic": "abcde"[int(topic[-1])]}], found


@pytest.mark.parametrize(
    ("pages", "start", "least", "most"),
    [
        (behind_the_end, "http://x/?page=1", 41, 110),
        (topics, "http://x/?t=0", 50, 300),
        (lambda url: ([], [f"{url}a", f"{url}b"]), "http://x/?", 1_000, 2_100),
    ],
    ids=["behind the end", "topics", "no items at all"],
)
def test_b1_pages_that_give_nothing_new_are_followed_for_a_while(
    pages: Pages, start: str, least: int, most: int
) -> None:
    with patience(50):
        asked, left_out = walk(pages, start)
    assert least <= len(asked) <= most
    assert {each["reason"] for each in left_out} == {"trap-variants"}


def test_b1_a_trap_does_not_hide_the_real_pages_beside_it() -> None:
    """Every page of an endless calendar links to one of 300 articles, in an order of its own."""

    def site(url: str) -> tuple[list[dict[str, Any]], list[str]]:
        if "article" in url:
            return [{"text": hex(number_in(url) * 77)}], []
        month = number_in(url)
        article = f"http://x/article?id={month * 7 % 300}"
        return [{"month": month}], [f"http://x/calendar?month={month + 1}", article]

    with patience(20):
        asked, left_out = walk(site, "http://x/calendar?month=1")
    assert sum("article" in url for url in asked) == 300
    assert len(asked) < 700
    assert left_out[-1]["reason"] == "trap-variants"


def test_b1_what_one_page_may_not_lead_to_another_may() -> None:
    """The links of an endless family are not taken for seen: the list still leads to them."""

    def site(url: str) -> tuple[list[dict[str, Any]], list[str]]:
        number = number_in(url)
        if "list" in url:
            after = [f"http://x/list?page={number + 1}"] if number < 60 else []
            return [{"of": hex(number * 99)}], [*after, f"http://x/item?id={number}"]
        return [{"empty": True}], [f"http://x/item?id={number + 1000}"]

    with patience(10):
        asked, left_out = walk(site, "http://x/list?page=1")
    assert {f"http://x/item?id={number}" for number in range(1, 61)} <= set(asked)
    assert 40 < len(left_out) < 61
    assert len(asked) < 140


def test_b1_who_says_how_deep_a_site_is_gets_it() -> None:
    def chain(url: str) -> tuple[list[dict[str, Any]], list[str]]:
        number = number_in(url)
        return [{"title": hex(number * 31)}], [f"http://x/?id={number + 1}"]

    with patience(50, depth=30):
        asked, left_out = walk(chain, "http://x/?id=1")
        assert (len(asked), [each["reason"] for each in left_out]) == (31, ["trap-depth"])
        asked, left_out = walk(chain, "http://x/?id=1", max_depth=70)
        assert (len(asked), [each["reason"] for each in left_out]) == (71, ["depth"])


def test_b1_what_is_asked_for_again_on_purpose_is_no_trap() -> None:
    """A spider that watches a page asks for it over and over."""
    seen = 0
    journal = journal_in_memory()
    ranks = Ranks(iter([Request("http://x/a/a/a")]), journal=journal, scope=Scope())
    with patience(5, depth=5):
        while seen < 100 and (entry := ranks.next()) is not None:
            seen += 1
            again = Request("http://x/a/a/a", dont_filter=True)
            ranks.committed(entry, Result())
            ranks.follow(entry, [again], items=[])
            ranks.done(entry, Result(), items=0, left_out=None)
    assert seen == 100
    assert not ranks.skipped


visits = st.lists(
    st.tuples(
        st.integers(0, 5).map("http://x/{}".format) | st.sampled_from(["http://x/a", "http://x/b"]),
        st.lists(st.fixed_dictionaries({"n": st.integers(0, 9)}), max_size=2),
        st.lists(st.integers(0, 5).map("http://x/a?{}".format) | st.just("http://x/b"), max_size=3),
    ),
    max_size=30,
)


@given(before=visits, after=visits)
def test_b1_what_was_counted_survives_a_checkpoint(before: list[Any], after: list[Any]) -> None:
    with patience(2):
        whole, first, second = Families(), Families(), Families()
        for visit in before:
            assert whole.going_nowhere(*visit) == first.going_nowhere(*visit)
        second.resume(json.loads(json.dumps(first.state())))
        for visit in after:
            assert whole.going_nowhere(*visit) == second.going_nowhere(*visit)
        assert whole.state() == second.state()


def test_b1_what_is_counted_takes_little_room() -> None:
    families = Families()
    for number in range(5_000):
        slug = hex(number).translate(str.maketrans("0123456789", "ghijklmnop"))
        families.going_nowhere(f"http://x/{slug}", [{"a": slug}], [f"http://x/{slug}?more"])
        families.going_nowhere(f"http://x/{slug}", [], [f"http://x/{slug}?b", "http://x/c?d"])
    assert len(json.dumps(families.state())) < 50_000
    counts = dict(families.state()["fruitless"])
    assert counts[family("http://x/c")] == 5_000, "the highest counts are kept"


# ---- Whole crawls ----


@spider()
def links(response: Response) -> Any:
    """An item for every page, and all its links."""
    yield {"url": response.url, "title": response.css("h1::text").get()}
    yield from response.follow_all(css="a")


TRAPS = [
    ("/calendar/2026/11/", "trap-variants", 150),
    ("/mirror/", "trap-repeats", 150),
    ("/session-links/1", "trap-variants", 250),
    ("/endless-pages", "trap-variants", 60),
]


@pytest.mark.parametrize(("path", "rule", "most"), TRAPS, ids=[path for path, *_ in TRAPS])
def test_b1_a_trap_of_the_practice_site_ends_alike_in_every_mode(
    path: str, rule: str, most: int, site: PracticeSite, tmp_cwd: Path
) -> None:
    real = [f"{site.url}/graph/7/40/"]
    results = []
    with patience(40):
        for number, way in enumerate(WAYS):
            results.append(
                crawler.run(
                    links,
                    urls=[site.url + path, *real],
                    deny="/(stats|requests)",
                    output=f"{number}.json",
                    **way,
                )
            )
    first = results[0]
    graph = [item["url"] for item in first.items if "/graph/" in item["url"]]
    assert {f"{site.url}/graph/7/40/page/{page}" for page in range(1, 40)} <= set(graph)
    assert first.stats.skipped[rule] >= 1
    assert 5 <= first.stats.pages - len(graph) <= most
    if path.startswith("/session-links"):  # each crawl gets ids of its own
        titles = [{item["title"] for item in result.items} for result in results]
        assert {f"Topic {number}" for number in range(1, 6)} <= titles[0]
        assert titles[1:] == titles[:-1]
        return
    for number, result in enumerate(results):
        assert Path(f"{number}.json").read_bytes() == Path("0.json").read_bytes()
        assert result.stats.skipped == first.stats.skipped


def test_b1_session_ids_of_the_usual_names_are_one_page(site: PracticeSite) -> None:
    @spider()
    def visits(response: Response) -> Any:
        yield {"url": response.url.removeprefix(site.url)}
        if "echo" not in response.url:
            for end in ("?PHPSESSID=1", "?PHPSESSID=2", ";jsessionid=3", "?sid=4", "?sid=5"):
                yield response.follow(f"/echo{end}")

    def found(**settings: Any) -> list[str]:
        result = crawler.run(visits, urls=[f"{site.url}/empty"], **settings)
        asked = [item["url"] for item in result.items] + [f["url"] for f in result.failures]
        return sorted(url.rpartition("/")[2] for url in asked[1:])

    # What is fetched is the URL as it was found, session and all.
    assert "echo?PHPSESSID=1" in found()
    assert len(found()) == 3
    assert len(found(drop_parameters=["session", "sid"])) == 1
    assert len(found(drop_parameters=[])) == 5


def test_b1_the_first_link_of_a_trap_is_told_with_what_to_do(
    site: PracticeSite, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="crawler.ranks"):
        result = crawler.run(links, urls=[f"{site.url}/mirror/"], allow="mirror")
    assert result.stats.skipped["trap-repeats"] > 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"trap-repeats: {site.url}/mirror/a/a/a/ is not followed: ")
    assert message.endswith("--no-traps follows it")


def test_b1_traps_are_followed_if_asked(tmp_cwd: Path, site: PracticeSite) -> None:
    spider_file(
        tmp_cwd / "walk.py",
        f"@spider(url='{site.url}/mirror/', allow='mirror', max_depth=3)\n"
        "def walk(response):\n"
        "    yield {'url': response.url}\n"
        "    yield from response.follow_all(css='a')\n",
    )
    assert crawl("run", "walk.py", "-q").returncode == 0
    items = json.loads(Path("output/walk.json").read_text())
    assert not any(item["url"].endswith("/a/a/a/") for item in items)
    assert crawl("run", "walk.py", "-q", "--no-traps").returncode == 0
    items = json.loads(Path("output/walk.json").read_text())
    assert any(item["url"].endswith("/a/a/a/") for item in items)


# ---- Resuming ----


def endless(request: Request) -> Result:
    """A list of 12 real pages, each with a detail, that goes on for ever without any."""
    number = number_in(request.url)
    if "/detail" in request.url:
        return Result(items=[{"text": hex(number * 99)}])
    follow = [Request(f"http://x/list?page={number + 1}"), Request(f"http://x/list?s={number}")]
    if number < 12:
        follow.append(Request(f"http://x/detail?id={number}"))
    return Result(items=[{"page": number}], follow=follow)


@pytest.mark.parametrize("slots", [1, 6])
def test_b1_a_crash_anywhere_in_a_trap_changes_nothing(slots: int, tmp_path: Path) -> None:
    def session(journal: Journal, sink: Lists, crash_after: int | None, seed: int) -> Stats:
        asked = 0

        def answer(request: Request) -> Result:
            nonlocal asked
            asked += 1
            if crash_after is not None and asked > crash_after:
                raise RuntimeError
            return endless(request)

        engine, _ = make_engine(
            Shuffled(answer, seed),
            iter([Request("http://x/list?page=0")]),
            slots=slots,
            journal=journal,
            sink=sink,
            checkpoint_every=0,
        )
        sink.cut((journal.state() or {}).get("offsets", {}))
        engine.resume()
        assert engine.crawl()
        return engine.stats

    with patience(15):
        calm = Lists()
        expected = session(journal_in_memory(), calm, None, 0)
        assert expected.skipped["trap-variants"] >= 1
        assert sum("text" in item for item in calm.items) == 12
        assert expected.pages < 120
        for crash_after in (5, 11, 23, 40):
            path = tmp_path / f"{crash_after}.sqlite"
            sink, stats, sessions = Lists(), Stats(), 0
            while not stats.pages:
                journal = Journal.open(path) if path.exists() else Journal.create(path)
                sessions += 1
                try:
                    stats = session(journal, sink, None if sessions > 6 else crash_after, sessions)
                except CrawlError:
                    assert sessions <= 6
                finally:
                    journal.close()
            assert sessions > 1
            assert sink.items == calm.items
            assert asdict(stats)["skipped"] == expected.skipped
