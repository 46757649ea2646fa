"""What runs on a worker: fetch, spider, plain items; and whatever goes wrong is a Failure."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crawler import Request, Response, demo, spider, worker
from crawler.demo import PracticeSite
from crawler.errors import FetchError
from crawler.loader import load_spider
from crawler.result import Failure, Result
from crawler.worker import WorkerSettings

SETTINGS = WorkerSettings(timeout=5, max_body=2**20, user_agent="test/1.0")


@dataclass
class Diary:
    """A monitor that remembers what it was told."""

    entries: list[Any] = field(default_factory=list)

    def seat(self, index: int) -> Diary:
        self.entries.append(("seat", index))
        return self

    def fetching(self, url: str) -> None:
        self.entries.append(("fetching", url))

    def parsing(self) -> None:
        self.entries.append("parsing")

    def idle(self) -> None:
        self.entries.append("idle")

    def done(self, *, items: int, body_bytes: int, failed: bool) -> None:
        self.entries.append(("done", items, body_bytes > 0, failed))


def work(
    function: Callable[..., Any],
    where: str | Request,
    *,
    settings: WorkerSettings = SETTINGS,
    monitor: Diary | None = None,
) -> Result:
    """One request on a worker set up for it."""
    worker.prepare(0, settings, monitor or Diary())
    request = where if isinstance(where, Request) else Request(where)
    return worker.run(load_spider(function).reference, request)


@pytest.fixture
def page(site: PracticeSite) -> str:
    """A good page."""
    return site.url + "/gzip"


def never(url: str) -> None:
    raise AssertionError("the spider must not see this")


@spider()
def never_marked(response: Response) -> None:
    raise AssertionError("the spider must not see this")


def failure_of(result: Result) -> Failure:
    assert result.failure is not None, result
    assert result.items == []
    assert result.redirect is None
    return result.failure


# ---- What a spider gets ----


def test_a_spider_gets_the_page(page: str) -> None:
    seen: list[Response] = []
    request = Request(page, meta={"page": 7}, history=("http://before/",))
    result = work(seen_by(seen), request)
    (response,) = seen
    assert (response.url, response.status, response.meta) == (page, 200, {"page": 7})
    assert response.history == ("http://before/",)
    assert response.css("h1::text").get() == "A page"
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert (result.status, result.body_bytes) == (200, len(response.body))
    assert result.fetch_seconds > 0
    assert result.spider_seconds >= 0


def seen_by(seen: list[Response]) -> Callable[[Response], None]:
    def look(response: Response) -> None:
        seen.append(response)

    return look


def test_a_bare_function_gets_the_url_and_nothing_is_fetched() -> None:
    with demo.start(port=0) as site:
        diary = Diary()
        result = work(lambda url: {"url": url}, site.url + "/text/", monitor=diary)
        assert result.items == [{"url": site.url + "/text/"}]
        assert (result.status, result.body_bytes) == (None, 0)
        told = [("fetching", site.url + "/text/"), "parsing", ("done", 1, False, False)]
        assert diary.entries == [("seat", 0), *told]
        counted: list[Any] = []
        work(lambda response: counted.append(response.json()), site.url + "/stats")
    assert counted[0]["requests"] == 0


def test_a_spider_gets_its_arguments(page: str) -> None:
    def posts(response: Response, tag: str, *, limit: int = 1) -> dict[str, Any]:
        return {"tag": tag, "limit": limit}

    settings = WorkerSettings(5, 2**20, "test/1.0", {"tag": "art", "limit": 3})
    assert work(posts, page, settings=settings).items == [{"tag": "art", "limit": 3}]


def test_the_request_goes_out_as_it_is(site: PracticeSite) -> None:
    request = Request(site.url + "/echo", "POST", headers={"X-Mine": "1"}, body=b"a=b")
    (item,) = work(lambda response: response.json(), request).items
    assert (item["method"], item["body"]) == ("POST", "a=b")
    assert dict(item["headers"])["x-mine"] == "1"
    assert dict(item["headers"])["user-agent"] == "test/1.0"


# ---- What a spider returns ----


@pytest.mark.parametrize(
    ("returned", "items"),
    [
        (None, []),
        ({"a": 1}, [{"a": 1}]),
        ({}, [{}]),
        ([], []),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
        (({"a": n} for n in range(3)), [{"a": 0}, {"a": 1}, {"a": 2}]),
        (iter([]), []),
        (({"a": (1, 2)},), [{"a": [1, 2]}]),
    ],
    ids=["None", "dict", "empty dict", "empty list", "list", "generator", "iterator", "tuple"],
)
def test_items(returned: Any, items: list[dict[str, Any]]) -> None:
    result = work(lambda url: returned, "http://x/")
    assert (result.items, result.failure) == (items, None)


async def coroutine() -> dict[str, Any]:
    return {}


async def async_generator() -> Any:
    yield {}


def mixed() -> Iterator[Any]:
    yield {"a": 1}
    yield "text"


ADVICE = "return a dict or a list of dicts, or yield dicts"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "text", f"the spider returned a str; {ADVICE}"),
        (lambda: b"bytes", f"the spider returned a bytes; {ADVICE}"),
        (lambda: 3, f"the spider returned an int; {ADVICE}"),
        (lambda: True, f"the spider returned a bool; {ADVICE}"),
        (lambda: ["a", "b"], "item[0] is a str; "),
        (lambda: [{"a": 1}, None], "item[1] is a NoneType; "),
        (mixed, "item[1] is a str; "),
        (coroutine, "the spider is an async function; write a plain one: def, not async def"),
        (async_generator, "the spider is an async function; write a plain one: def, not async"),
        (lambda: Response("http://x/"), f"the spider returned a Response; {ADVICE}"),
        (
            lambda: {"day": date(2026, 1, 1)},
            "item['day'] is a datetime.date, which JSON can't hold; use its .isoformat()",
        ),
        (
            lambda: [{}, {"tags": [{"x": {1}}]}],
            "item[1]['tags'][0]['x'] is a set, which JSON can't hold; sort it into a list",
        ),
        (lambda: {1: 2}, "item has the key 1 of type int; keys are strings"),
    ],
)
def test_what_is_no_item_is_a_failure_that_says_what_to_do(
    make: Callable[[], Any], message: str
) -> None:
    failure = failure_of(work(lambda url: make(), "http://x/"))
    assert (failure.kind, failure.retryable) == ("item", False)
    assert failure.message.startswith(message)


def endless_items(response: Response) -> Iterator[Any]:
    while True:
        yield {"again": True}


def endless_links(response: Response) -> Iterator[Any]:
    while True:
        yield response.follow("/empty")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (endless_items, "the page gave more than 3 items (max_page_items)"),
        (endless_links, "the page gave more than 4 links (max_page_links)"),
        (lambda response: [{}] * 4, "the page gave more than 3 items (max_page_items)"),
    ],
    ids=["items", "links", "list"],
)
def test_a_page_that_gives_too_much_fails(
    page: str, function: Callable[..., Any], message: str
) -> None:
    settings = replace(SETTINGS, max_page_items=3, max_page_links=4)
    failure = failure_of(work(function, page, settings=settings))
    assert (failure.kind, failure.message, failure.retryable) == ("too-large", message, False)


def test_a_page_may_give_all_it_may(page: str) -> None:
    def give(response: Response) -> Iterator[Any]:
        yield from [{}, {}, {}]
        yield from map(response.follow, "1234")

    settings = replace(SETTINGS, max_page_items=3, max_page_links=4)
    result = work(give, page, settings=settings)
    assert (len(result.items), len(result.follow), result.failure) == (3, 4, None)


# ---- What a spider raises ----


def broken(response: Response) -> None:
    raise KeyError("title")


def broken_half_way(response: Response) -> Iterator[dict[str, Any]]:
    yield {"a": 1}
    yield {"a": 1 / 0}


def leaves(response: Response) -> None:
    raise SystemExit(3)


class Unspeakable(Exception):  # noqa: N818
    """An exception that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def unspeakable(response: Response) -> None:
    raise Unspeakable


def cancelled(response: Response) -> None:
    raise asyncio.CancelledError


def recursive(response: Response) -> None:
    recursive(response)


def raises_many_lines(response: Response) -> None:
    raise ValueError("first\nsecond")


@pytest.mark.parametrize(
    ("function", "headline"),
    [
        (broken, "KeyError: 'title'"),
        (broken_half_way, "ZeroDivisionError: division by zero"),
        (leaves, "SystemExit: 3"),
        (unspeakable, "Unspeakable"),
        (cancelled, "CancelledError"),
        (recursive, "RecursionError: maximum recursion depth exceeded"),
        (raises_many_lines, "ValueError: first"),
    ],
)
def test_whatever_a_spider_raises_is_a_failure_of_its_page(
    page: str, function: Callable[..., Any], headline: str
) -> None:
    result = work(function, page)
    failure = failure_of(result)
    assert (failure.kind, failure.retryable, failure.status) == ("spider", False, None)
    assert failure.message.startswith(headline)
    assert (result.status, result.body_bytes > 0) == (200, True)


@pytest.mark.parametrize("function", [broken, broken_half_way, leaves])
def test_the_traceback_begins_in_the_spiders_own_file(
    page: str, function: Callable[..., Any]
) -> None:
    trace = failure_of(work(function, page)).traceback
    assert trace is not None
    first, second, third, *_ = trace.splitlines()
    assert first == "Traceback (most recent call last):"
    assert second.startswith(f'  File "{__file__}", line ')
    assert second.endswith(f", in {function.__name__}")
    assert "raise" in third or "yield" in third
    assert worker.__file__ not in trace


def test_a_call_with_the_wrong_arguments_has_a_traceback_too() -> None:
    failure = failure_of(work(lambda: None, "http://x/"))
    assert failure.kind == "spider"
    assert "takes 0 positional arguments but 1 was given" in failure.message
    assert "TypeError" in (failure.traceback or "")


def test_ctrl_c_in_a_spider_is_for_the_engine(page: str) -> None:
    def interrupted(response: Response) -> None:
        raise KeyboardInterrupt

    diary = Diary()
    with pytest.raises(KeyboardInterrupt):
        work(interrupted, page, monitor=diary)
    assert diary.entries[-1] == ("done", 0, False, True)


def out_of_memory(response: Response) -> None:
    taken = [bytes(1000)]
    raise MemoryError(len(taken))


def test_f15_a_lack_of_memory_is_worth_another_attempt(page: str) -> None:
    failure = failure_of(work(out_of_memory, page))
    assert (failure.kind, failure.message, failure.retryable) == ("spider", "MemoryError: 1", True)
    assert "in out_of_memory" in (failure.traceback or "")


def test_f15_there_may_be_too_little_memory_to_tell_of_it(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> str:
        raise MemoryError

    monkeypatch.setattr("crawler.worker._users_traceback", fail)
    failure = failure_of(work(out_of_memory, page))
    assert (failure.kind, failure.traceback) == ("spider", None)


def test_f15_a_spider_may_need_too_much_memory_to_be_loaded(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("crawler.worker.load_function", fail)
    assert failure_of(work(never_marked, page)).message == "MemoryError"


def test_the_spider_is_not_run_again_by_its_own_fetch_errors(page: str) -> None:
    def fetches_by_itself(response: Response) -> None:
        raise FetchError(Failure("timeout", "mine", retryable=True))

    failure = failure_of(work(fetches_by_itself, page))
    assert (failure.kind, failure.retryable) == ("spider", False)


# ---- What the site answers ----


@pytest.mark.parametrize(
    ("path", "status", "retryable", "retry_after"),
    [
        ("/status/404", 404, False, None),
        ("/status/403", 403, False, None),
        ("/status/410", 410, False, None),
        ("/status/408", 408, True, None),
        ("/status/429", 429, True, None),
        ("/status/500", 500, True, None),
        ("/status/503?retry_after=7", 503, True, 7.0),
        ("/status/429?retry_after=-5", 429, True, None),
        ("/status/503?retry_after=Mon,+01+Jan+99999999999+00:00:00+GMT", 503, True, None),
        ("/status/501", 501, False, None),
        ("/status/304", 304, False, None),
        ("/partial", 206, False, None),
        ("/bad-redirect/missing", 302, False, None),
        ("/basic-auth", 401, False, None),
    ],
)
def test_h28_a_status_that_is_no_page_is_a_failure(
    site: PracticeSite, path: str, status: int, retryable: bool, retry_after: float | None
) -> None:
    result = work(never_marked, site.url + path)
    failure = failure_of(result)
    assert (failure.kind, failure.status, result.status) == ("status", status, status)
    assert failure.message.startswith(f"the server answered {status}")
    assert (failure.retryable, failure.retry_after) == (retryable, retry_after)


def test_a_date_to_come_back_at_is_seconds_from_now(site: PracticeSite) -> None:
    failure = failure_of(work(never_marked, site.url + "/status/503?retry_after=date"))
    assert failure.retry_after is not None
    assert 0 <= failure.retry_after <= 2


@pytest.mark.parametrize("path", ["/empty", "/no-content"])
def test_h29_an_empty_page_is_a_page(site: PracticeSite, path: str) -> None:
    result = work(lambda response: {"size": len(response.body)}, site.url + path)
    assert (result.items, result.failure) == ([{"size": 0}], None)


def test_a_part_that_was_asked_for_is_a_page(site: PracticeSite) -> None:
    request = Request(site.url + "/partial", headers={"range": "bytes=0-99"})
    assert work(lambda response: {"ok": True}, request).items == [{"ok": True}]


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/redirect/3", "/redirect/2"),
        ("/redirect-to?url=file:///etc/hostname", "file:///etc/hostname"),
        ("/redirect-to?url=/a&status=308", "/a"),
        ("/bad-redirect/latin-1", "/status/200?caf\xe9"),
        ("/bad-redirect/empty", ""),
        ("/bad-redirect/bracket", "http://[::1/"),
    ],
)
def test_a_redirect_is_passed_on_unjudged(site: PracticeSite, path: str, location: str) -> None:
    result = work(never_marked, site.url + path)
    assert (result.redirect, result.failure, result.items) == (location, None, [])
    assert result.status in (302, 308)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/gzip/truncated", "truncated"), ("/close", "connection"), ("/big?mb=2", "too-large")],
)
def test_a_fetch_that_fails_is_a_failure(site: PracticeSite, path: str, kind: str) -> None:
    result = work(never_marked, site.url + path)
    assert failure_of(result).kind == kind
    assert result.status is None


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "file:///etc/hostname", "http://[bad", "http://a b/", "http://x:99999/"]
)
def test_a_url_that_can_not_be_fetched_is_a_failure(url: str) -> None:
    assert failure_of(work(never_marked, url)).kind == "url"


@pytest.mark.parametrize(
    ("rule", "private", "is_fetched"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("allow", False, True),
        ("deny", True, False),
    ],
)
def test_t1_who_may_go_to_a_private_address(
    page: str, rule: str, private: bool, is_fetched: bool
) -> None:
    worker.prepare(0, replace(SETTINGS, private_addresses=rule), Diary())
    reference = load_spider(lambda response: {"ok": True}).reference
    result = worker.run(reference, Request(page), private=private)
    assert result.is_private is is_fetched
    if is_fetched:
        assert result.items == [{"ok": True}]
    else:
        assert failure_of(result).kind == "address"


# ---- Spiders by their references ----


def by_reference(reference: str, url: str = "http://x/") -> Result:
    worker.prepare(0, SETTINGS, Diary())
    return worker.run(reference, Request(url))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("no_such_module:posts", "there is no module no_such_module"),
        ("crawler.spider:nothing", "crawler.spider has no function nothing"),
        ("local:0", "neither another process nor a resumed crawl can load"),
    ],
)
def test_a_spider_that_can_not_be_loaded_is_a_failure(reference: str, message: str) -> None:
    failure = failure_of(by_reference(reference))
    assert failure.kind == "spider"
    assert message in failure.message


@pytest.mark.parametrize("text", ["1 / 0", "raise SystemExit"])
def test_a_spider_that_can_not_be_imported_is_a_failure(tmp_path: Path, text: str) -> None:
    file = tmp_path / "posts.py"
    file.write_text(textwrap.dedent(text))
    failure = failure_of(by_reference(f"{file}:posts"))
    assert failure.kind == "spider"
    assert f'File "{file}", line 1' in failure.message


def test_a_callable_that_does_not_tell_its_parameters_runs() -> None:
    assert failure_of(work(dict, "http://x/")).message.startswith("ValueError: ")


# ---- What onlookers are told ----


@pytest.mark.parametrize(
    ("path", "function", "told"),
    [
        ("/gzip", lambda response: [{}, {}], ["parsing", ("done", 2, True, False)]),
        ("/gzip", broken, ["parsing", ("done", 0, True, True)]),
        ("/status/404", never_marked, [("done", 0, True, True)]),
        ("/redirect/1", never_marked, [("done", 0, False, False)]),
        ("/close", never_marked, [("done", 0, False, True)]),
    ],
    ids=["items", "spider error", "status", "redirect", "fetch error"],
)
def test_the_monitor_is_told(
    site: PracticeSite, path: str, function: Callable[..., Any], told: Iterable[Any]
) -> None:
    diary = Diary()
    url = site.url + path
    work(function, url, monitor=diary)
    assert diary.entries == [("seat", 0), ("fetching", url), *told]


def test_a_seat_keeps_its_connection() -> None:
    with demo.start(port=0) as site:
        worker.prepare(0, SETTINGS, Diary())
        reference = load_spider(lambda response: None).reference
        for _ in range(3):
            worker.run(reference, Request(site.url + "/gzip"))
        counted: list[Any] = []
        look = load_spider(lambda response: counted.append(response.json())).reference
        worker.run(look, Request(site.url + "/stats"))
    assert (counted[0]["connections"], counted[0]["requests"]) == (1, 3)
