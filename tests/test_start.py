"""Where a crawl begins: the URL template, the start, or `--urls`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import crawler
from crawler import Request, Response, spider
from crawler.errors import UsageError
from crawler.pages import parse_pages
from crawler.spider import Spider, options_of
from crawler.start import start_requests


def spider_of(function: Callable[..., Any]) -> Spider:
    return Spider("posts", "tests:posts", function, options_of(function))


def template(url: str, **settings: Any) -> Spider:
    @spider(url, **settings)
    def posts(response: Response, tag: str = "art", *, width: int = 3, needed: Any) -> None: ...

    return spider_of(posts)


def starting(start: Any) -> Spider:
    @spider("https://not-this/", start=start)
    def posts(response: Response) -> None: ...

    return spider_of(posts)


def begin(
    of: Spider,
    *,
    pages: str | None = None,
    urls: Iterable[str | Request] | None = None,
    arguments: dict[str, Any] | None = None,
    site: Callable[[], str] | None = None,
) -> tuple[list[str], int | None]:
    requests, total = start_requests(
        of,
        pages=None if pages is None else parse_pages(pages),
        urls=urls,
        arguments=arguments or {},
        site=site,
    )
    return [request.url for request in itertools.islice(requests, 5)], total


# ---- The template ----


@pytest.mark.parametrize(
    ("url", "pages", "arguments", "expected"),
    [
        ("https://x/", None, {}, (["https://x/"], 1)),
        ("https://x/{page}", "2-3", {}, (["https://x/2", "https://x/3"], 2)),
        ("https://x/{page:0{width}d}", "7-7", {}, (["https://x/007"], 1)),
        ("https://x/{tag}/", None, {}, (["https://x/art/"], 1)),
        ("https://x/{tag}/", None, {"tag": "new"}, (["https://x/new/"], 1)),
        ("https://x/{{page}}", None, {}, (["https://x/{page}"], 1)),
        (
            "https://x/{page}",
            "until-empty",
            {},
            ([f"https://x/{number}" for number in range(1, 6)], None),
        ),
    ],
)
def test_a_template_is_filled_in(
    url: str, pages: str | None, arguments: dict[str, Any], expected: tuple[list[str], int | None]
) -> None:
    assert begin(template(url), pages=pages, arguments=arguments) == expected


def test_pagination_puts_the_page_into_meta() -> None:
    requests, _ = start_requests(
        template("https://x/{page}"), pages=parse_pages("2-3"), urls=None, arguments={}
    )
    assert [request.meta for request in requests] == [{"page": 2}, {"page": 3}]


def with_page(response: object, *, page: int) -> None: ...


def test_the_number_of_the_page_is_no_argument() -> None:
    complaint = 'so no argument can be called page: .* the number is in response.meta."page".'
    numbered = spider("https://x/{page}")(with_page)
    with pytest.raises(UsageError, match=complaint):
        crawler.run(numbered, pages=2)
    with pytest.raises(UsageError, match=complaint):
        begin(template("https://x/{page}"), pages="2", arguments={"page": 3})
    assert begin(template("https://x/{tag}"), arguments={"page": 3}) == (["https://x/art"], 1)


@pytest.mark.parametrize(
    ("url", "pages", "complaint"),
    [
        ("https://x/{page}", None, "say which pages of https://x/{page}: --pages 4, 2-9"),
        ("https://x/", "2-3", "--pages has no meaning here: the url 'https://x/' has no {page}"),
        ("https://x/{number}", None, "names number, which is neither {page} nor an argument"),
        ("https://x/{needed}", None, "names needed, which is neither"),
        ("https://x/{a}/{b}", None, "names a, b, which"),
        ("https://x/{page", None, "is no template"),
        ("https://x/{page:q}", "2-3", "can't be filled in: Unknown format code 'q'"),
        ("https://x/{page:{wide}}", "2-3", "can't be filled in: 'wide'"),
    ],
)
def test_what_is_wrong_with_a_template_is_told_before_anything_is_fetched(
    url: str, pages: str | None, complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        begin(template(url), pages=pages)
    assert complaint in str(caught.value)


# ---- The spider's own start ----


def a_list() -> list[str]:
    return ["https://x/1", "https://x/2"]


def a_generator() -> Iterator[str | Request]:
    yield "https://x/1"
    yield Request("https://x/2")


def with_arguments(count: int = 1) -> list[str]:
    return [f"https://x/{number}" for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("start", "total"),
    [
        (["https://x/1", Request("https://x/2")], 2),
        ("https://x/{1..2}", 2),
        (a_list, 2),
        (a_generator, None),
        (with_arguments, 2),
        (lambda: "https://x/{1,2}", 2),
    ],
)
def test_a_start_may_be_urls_or_a_function(start: Any, total: int | None) -> None:
    arguments = {"count": 2, "others": "are not for it"}
    assert begin(starting(start), arguments=arguments) == (["https://x/1", "https://x/2"], total)


def test_an_endless_start_is_taken_as_it_goes() -> None:
    urls, total = begin(starting(lambda: (f"https://x/{n}" for n in itertools.count())))
    assert (urls[-1], total) == ("https://x/4", None)


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        (lambda: None, "the start of the spider posts is a NoneType; it must be URLs or Requests"),
        (3, "the start of the spider posts is an int"),
        ([], "there are no URLs to crawl"),
    ],
)
def test_a_start_that_is_none_is_an_error(start: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        begin(starting(start))


# ---- URLs given from outside ----


def test_given_urls_win_over_the_spiders_own() -> None:
    given: list[str | Request] = ["https://y/?q={a,b}", Request("https://z/")]
    expected = (["https://y/?q={a,b}", "https://z/"], 2)  # a list holds URLs, no patterns
    assert begin(starting(["https://x/"]), urls=given) == expected
    assert begin(template("https://x/"), urls=given) == expected


def test_urls_from_a_stream_are_read_as_they_are_needed() -> None:
    lines = iter(["https://y/1", "https://y/2"])
    requests, total = start_requests(template("https://x/"), pages=None, urls=lines, arguments={})
    assert (next(requests).url, total) == ("https://y/1", None)
    assert next(lines) == "https://y/2"


def test_no_urls_at_all_is_an_error() -> None:
    with pytest.raises(UsageError, match="there are no URLs to crawl"):
        begin(template("https://x/"), urls=[])


def test_a_spider_without_a_start_says_how_to_give_one() -> None:
    def bare(url: str) -> None: ...

    with pytest.raises(
        UsageError, match=r"names no start: give --urls .*, or mark it with @spider"
    ):
        begin(spider_of(bare))


# ---- Another site in its place ----


def test_all_requests_may_go_to_another_site() -> None:
    def site() -> str:
        return "http://127.0.0.1:8642"

    moved = begin(template("https://x/{page}?a=b"), pages="2-2", site=site)
    assert moved == (["http://127.0.0.1:8642/2?a=b"], 1)
    assert begin(template("https://x/"), urls=["http://[bad"], site=site)[0] == ["http://[bad"]


def test_the_other_site_is_asked_for_only_when_it_is_needed() -> None:
    asked = []

    def site() -> str:
        asked.append(True)
        return "http://y"

    requests, _ = start_requests(
        template("https://x/"), pages=None, urls=None, arguments={}, site=site
    )
    assert asked == []
    assert [request.url for request in requests] == ["http://y/"]
    assert asked == [True]
